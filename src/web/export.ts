import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { Access, AuditEvent, AuditQuery } from '../http/access.js';
import type { FindQuery, TaskReader } from '../tasks/source.js';
import type { TaskSummary } from '../tasks/types.js';

/** The formats of an export. */
export type ExportFormat = 'csv' | 'ndjson';

/** Rows of a page. The next page is read after the client has taken this one. */
const pageSize = 500;

/** The media type of each format. */
export const exportTypes: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

/** The cells of a row, by the name of the column. */
type Columns<T> = Readonly<Record<string, (row: T) => unknown>>;

const taskColumns: Columns<TaskSummary> = {
  id: ({ id }) => id,
  name: ({ name }) => name,
  status: ({ status }) => status,
  queue: ({ queue }) => queue,
  priority: ({ priority }) => priority,
  createdAt: ({ createdAt }) => createdAt,
  startedAt: ({ startedAt }) => startedAt,
  endedAt: ({ endedAt }) => endedAt,
  duration: ({ duration }) => duration,
  attempt: ({ attempt }) => attempt,
  error: ({ error }) => error && `${error.name}: ${error.message}`,
};

const auditColumns: Columns<AuditEvent> = {
  at: ({ at }) => at,
  actor: ({ actor }) => actor,
  action: ({ action }) => action,
  outcome: ({ outcome }) => outcome,
  ip: ({ ip }) => ip,
  requestId: ({ requestId }) => requestId,
  tasks: ({ tasks = [] }) => tasks.join(' '),
  detail: ({ detail = {} }) =>
    Object.entries(detail)
      .map(([key, value]) => `${key}: ${value}`)
      .join(', '),
  strategy: ({ strategy }) => strategy,
};

/** Milliseconds between two reads of an incomplete list, and until an export stops waiting. */
const completion = { interval: 250, limit: 30_000 };

/**
 * Waits until a list is as complete as it becomes: a process that has just started to read knows
 * only the newest tasks. Returns how many tasks were searched if the list still lacks older ones.
 */
export async function searchedOf(tasks: TaskReader, query: FindQuery): Promise<number | undefined> {
  const end = performance.now() + completion.limit;
  let look = await tasks.find({ ...query, limit: 1, counted: false });
  for (let before: number | undefined; look.limited; ) {
    if (look.searched === before || performance.now() > end) return look.searched;
    before = look.searched;
    await wait(completion.interval);
    // An engine waits for older tasks before it answers with the oldest ones first.
    look = await tasks.find({ ...query, sort: 'createdAt', limit: 1, counted: false });
  }
  return undefined;
}

/** Returns the whole filtered list of tasks as a stream. */
export function exportTasks(tasks: TaskReader, query: FindQuery, format: ExportFormat): Readable {
  const find = async (cursor: string | undefined) =>
    tasks.find({ ...query, limit: pageSize, counted: false, cursor });
  return exportStream(pages(find), taskColumns, format);
}

/** Returns the whole filtered audit as a stream. */
export function exportAudit(
  audit: NonNullable<Access['audit']>,
  query: AuditQuery,
  format: ExportFormat,
): Readable {
  const find = async (cursor: string | undefined) => audit({ ...query, limit: pageSize, cursor });
  return exportStream(pages(find), auditColumns, format);
}

/** Returns rows as a stream, with at most one page in memory. */
function exportStream<T>(
  rows: AsyncIterable<readonly T[]>,
  columns: Columns<T>,
  format: ExportFormat,
): Readable {
  return Readable.from(format === 'csv' ? csvPages(rows, columns) : ndjsonPages(rows), {
    objectMode: true,
    highWaterMark: 1,
  });
}

async function* csvPages<T>(
  rows: AsyncIterable<readonly T[]>,
  columns: Columns<T>,
): AsyncGenerator<string> {
  yield csvRow(Object.keys(columns));
  const cells = Object.values(columns);
  for await (const page of rows)
    yield page.map((row) => csvRow(cells.map((cell) => cell(row)))).join('');
}

async function* ndjsonPages(rows: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  for await (const page of rows) yield page.map((row) => `${JSON.stringify(row)}\n`).join('');
}

async function* pages<T>(
  find: (cursor: string | undefined) => Promise<{ items: readonly T[]; nextCursor: string | null }>,
): AsyncGenerator<readonly T[]> {
  let cursor: string | undefined;
  do {
    const { items, nextCursor } = await find(cursor);
    if (items.length > 0) yield items;
    cursor = nextCursor ?? undefined;
  } while (cursor !== undefined);
}

/** Returns a row as RFC 4180 describes it. */
function csvRow(cells: readonly unknown[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

/**
 * Returns a cell that a spreadsheet shows and does not run. Text that begins like a formula gets an
 * apostrophe in front (CWE-1236). The same goes for full-width characters, which some spreadsheets
 * read like the ASCII ones.
 */
export function csvCell(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  const safe =
    typeof value === 'string' && /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(text)
      ? `'${text}`
      : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
