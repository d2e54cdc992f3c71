import { Readable } from 'node:stream';
import type { TaskQuery, TaskReader } from '../tasks/engine.js';
import type { TaskSummary } from '../tasks/types.js';

/** How a list may be taken away. */
export type ExportFormat = 'csv' | 'ndjson';

/** Tasks asked for at once; the next page is read when the client has taken this one. */
const pageSize = 500;

const columns = ['id', 'name', 'status', 'queue', 'priority', 'createdAt', 'startedAt', 'endedAt', 'duration', 'attempt', 'error'] as const;

/** The media type of each. */
export const exportTypes: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

/** The whole filtered list as a stream: no more than a page of it is ever in memory. */
export function exportStream(tasks: TaskReader, query: TaskQuery, format: ExportFormat): Readable {
  return Readable.from(format === 'csv' ? csvPages(tasks, query) : ndjsonPages(tasks, query), { objectMode: true, highWaterMark: 1 });
}

async function* csvPages(tasks: TaskReader, query: TaskQuery): AsyncGenerator<string> {
  yield csvRow(columns);
  for await (const page of pages(tasks, query)) yield page.map((task) => csvRow(columns.map((column) => cellOf(task, column)))).join('');
}

async function* ndjsonPages(tasks: TaskReader, query: TaskQuery): AsyncGenerator<string> {
  for await (const page of pages(tasks, query)) yield page.map((task) => `${JSON.stringify(task)}\n`).join('');
}

async function* pages(tasks: TaskReader, query: TaskQuery): AsyncGenerator<readonly TaskSummary[]> {
  let after: string | null | undefined;
  do {
    const { items, next }: Awaited<ReturnType<TaskReader['find']>> = await tasks.find({
      ...query,
      limit: pageSize,
      counted: false,
      after: after ?? undefined,
    });
    if (items.length > 0) yield items;
    after = next;
  } while (after !== null);
}

function cellOf(task: TaskSummary, column: (typeof columns)[number]): unknown {
  return column === 'error' ? task.error && `${task.error.name}: ${task.error.message}` : task[column];
}

/** A row as RFC 4180 has it. */
function csvRow(cells: readonly unknown[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

/**
 * A cell that a spreadsheet shows and does not run: text that begins as a formula does gets an apostrophe in front (CWE-1236),
 * the full-width twins too, which some spreadsheets read as the ASCII ones.
 */
export function csvCell(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
