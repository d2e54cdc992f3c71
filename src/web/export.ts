import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { Access, AuditEvent, AuditQuery, Page } from '../http/access.js';
import type { FindQuery, TaskReader } from '../tasks/source.js';
import type { TaskSummary } from '../tasks/types.js';
import { pageSize, pagesOf, taskPages } from './pages.js';

/** The formats of an export. */
export type ExportFormat = 'csv' | 'ndjson';

/** The media type of each format. */
export const exportTypes: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

/** The columns of a file, which are members of its rows, and the texts of those that need one. */
interface Table<T> {
  columns: readonly (keyof T & string)[];
  texts: { readonly [K in keyof T]?: (row: T) => unknown };
}

const taskTable: Table<TaskSummary> = {
  columns: [
    'id',
    'name',
    'status',
    'queue',
    'priority',
    'createdAt',
    'startedAt',
    'endedAt',
    'duration',
    'attempt',
    'error',
  ],
  texts: { error: ({ error }) => error && `${error.name}: ${error.message}` },
};

const auditTable: Table<AuditEvent> = {
  columns: ['at', 'actor', 'action', 'outcome', 'ip', 'requestId', 'tasks', 'detail', 'strategy'],
  texts: {
    tasks: ({ tasks = [] }) => tasks.join(' '),
    detail: ({ detail = {} }) =>
      Object.entries(detail)
        .map(([key, value]) => `${key}: ${value}`)
        .join(', '),
  },
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
  return exportStream(taskPages(tasks, query), taskTable, format);
}

/** Returns the whole filtered audit as a stream. */
export function exportAudit(
  audit: NonNullable<Access['audit']>,
  query: AuditQuery,
  format: ExportFormat,
): Readable {
  const pages = pagesOf((cursor) => audit({ ...query, limit: pageSize, cursor }));
  return exportStream(pages, auditTable, format);
}

/** Returns rows as a stream, with at most one page in memory. */
function exportStream<T>(
  pages: AsyncIterable<Page<T>>,
  { columns, texts }: Table<T>,
  format: ExportFormat,
): Readable {
  const csvLine = (row: T): string =>
    csvRow(columns.map((column) => texts[column]?.(row) ?? row[column]));
  const line = format === 'csv' ? csvLine : (row: T) => `${JSON.stringify(row)}\n`;
  const text = async function* (): AsyncGenerator<string> {
    if (format === 'csv') yield csvRow(columns);
    for await (const { items } of pages) if (items.length > 0) yield items.map(line).join('');
  };
  return Readable.from(text(), { objectMode: true, highWaterMark: 1 });
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
