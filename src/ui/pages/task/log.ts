import { batch, signal } from '@preact/signals';
import type { LogLevel, LogLine } from '../../../client/client.js';
import { isSignedOut } from '../../kit/notices.js';
import { client } from '../../state/bootstrap.js';
import { lineText } from './log-text.js';

/** Maximum number of lines on the page. A hundred thousand rows would freeze it. */
const windowSize = 500;
/** Greater than the number of any line. */
const lastNumber = 999_999_999;

const levels = ['trace', 'debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[];

/** The filter of the log. */
export interface LogFilter {
  /** The lowest level that is shown. */
  level: LogLevel;
  text: string;
  attempt: number | undefined;
}

/** The shown lines, in order. While the log is followed, they are its last lines. */
export const lines = signal<readonly LogLine[]>([]);
export const filter = signal<LogFilter>({ level: 'trace', text: '', attempt: undefined });
/** Whether new lines are shown as they arrive. */
export const follows = signal(true);
/** Whether there are lines before and after the shown ones. */
export const hasEarlier = signal(false);
export const hasLater = signal(false);
export const logError = signal<unknown>(undefined);
/** The number of the last known line. */
export const lineCount = signal(0);

let task: string | undefined;
let request = new AbortController();

/** Shows the end of a task's log. With `again`, the filter stays. */
export function openLog(id: string | undefined, again = false): void {
  task = id;
  batch(() => {
    lines.value = [];
    lineCount.value = 0;
    logError.value = undefined;
    hasEarlier.value = false;
    hasLater.value = false;
    if (!again) {
      follows.value = true;
      filter.value = { level: 'trace', text: '', attempt: undefined };
    }
  });
  request.abort();
  if (id !== undefined) void loadEnd();
}

export function setFilter(change: Partial<LogFilter>): void {
  filter.value = { ...filter.peek(), ...change };
  void loadEnd();
}

/** Shows the last lines and follows the log. */
export function toEnd(): void {
  follows.value = true;
  if (hasLater.peek()) void loadEnd();
}

async function ask(
  query: { before: number } | { after: number },
): Promise<Awaited<ReturnType<typeof client.logs>> | undefined> {
  request.abort();
  request = new AbortController();
  const { signal: aborted } = request;
  const { level, text, attempt } = filter.peek();
  const conditions = {
    ...(level !== 'trace' && { level }),
    ...(text !== '' && { q: text }),
    ...(attempt !== undefined && { attempt }),
  };
  try {
    const page = await client.logs(
      task ?? '',
      { ...query, ...conditions, limit: windowSize },
      aborted,
    );
    logError.value = undefined;
    return aborted.aborted ? undefined : page;
  } catch (error) {
    if (!aborted.aborted && !isSignedOut(error)) logError.value = error;
    return undefined;
  }
}

async function loadEnd(): Promise<void> {
  const page = await ask({ before: lastNumber });
  if (!page) return;
  batch(() => {
    lines.value = page.items;
    hasEarlier.value = page.nextBefore !== null;
    hasLater.value = false;
    lineCount.value = Math.max(lineCount.peek(), page.items.at(-1)?.n ?? 0);
  });
}

/** Loads the lines before the shown lines, and drops as many at the end. */
export async function loadEarlier(): Promise<void> {
  const first = lines.peek()[0];
  const page = first && (await ask({ before: first.n }));
  if (!page) return;
  batch(() => {
    const all = [...page.items, ...lines.peek()];
    follows.value = false;
    hasLater.value = hasLater.peek() || all.length > windowSize;
    hasEarlier.value = page.nextBefore !== null;
    lines.value = all.slice(0, windowSize);
  });
}

/** Loads the lines after the shown lines, and drops as many at the start. */
export async function loadLater(): Promise<void> {
  const last = lines.peek().at(-1);
  const page = last && (await ask({ after: last.n }));
  if (!page) return;
  batch(() => {
    const all = [...lines.peek(), ...page.items];
    hasEarlier.value = hasEarlier.peek() || all.length > windowSize;
    hasLater.value = page.nextAfter !== null;
    lines.value = all.slice(-windowSize);
  });
}

/** Adds new lines of the log. */
export function takeLines(fresh: readonly LogLine[]): void {
  const known = lineCount.peek();
  const news = fresh.filter(({ n }) => n > known);
  const last = news.at(-1);
  if (!last) return;
  batch(() => {
    lineCount.value = last.n;
    if (hasLater.peek()) return;
    const shown = news.filter(isShown);
    const all = [...lines.peek(), ...shown];
    // If the user reads further up, the shown lines stay. New lines are loaded when the user
    // scrolls down.
    if (!follows.peek() && all.length > windowSize) {
      hasLater.value = true;
      return;
    }
    if (all.length > windowSize) hasEarlier.value = true;
    lines.value = all.slice(-windowSize);
  });
}

function isShown({ level, message, fields, attempt }: LogLine): boolean {
  const wanted = filter.peek();
  const text = wanted.text.toLowerCase();
  return (
    levels.indexOf(level) >= levels.indexOf(wanted.level) &&
    (wanted.attempt === undefined || attempt === null || attempt === wanted.attempt) &&
    (text === '' ||
      `${message} ${fields ? JSON.stringify(fields) : ''}`.toLowerCase().includes(text))
  );
}

/** Returns the complete log as text. */
export async function wholeLog(id: string, onProgress: (n: number) => void): Promise<Blob> {
  const parts: string[] = [];
  let after: number | null = 0;
  while (after !== null) {
    const page: Awaited<ReturnType<typeof client.logs>> = await client.logs(id, {
      after,
      limit: 1000,
    });
    parts.push(page.items.map(lineText).join(''));
    onProgress(page.items.at(-1)?.n ?? after);
    after = page.nextAfter;
  }
  return new Blob(parts, { type: 'text/plain;charset=utf-8' });
}
