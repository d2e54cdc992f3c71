import type { FindQuery, TaskList, TaskReader } from '../tasks/source.js';

/** Rows of a page. */
export const pageSize = 500;

/** Yields the pages of a list. It reads each page when the caller asks for it. */
export async function* pagesOf<P extends { nextCursor: string | null }>(
  find: (cursor: string | undefined) => Promise<P>,
): AsyncGenerator<P> {
  let cursor: string | undefined;
  do {
    const page = await find(cursor);
    yield page;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

/** Yields the pages of a list of tasks, which is not counted. */
export function taskPages(tasks: TaskReader, query: FindQuery): AsyncGenerator<TaskList> {
  return pagesOf((cursor) => tasks.find({ ...query, limit: pageSize, counted: false, cursor }));
}
