import { batch, type Signal, signal } from '@preact/signals';
import type { LogLine, Metrics, Pulse, TaskSummary } from '../client/client.js';
import { ProblemError, type ShownTask } from '../client/client.js';
import { client } from './facts.js';
import { type View, view } from './view.js';

/** A row of the table. Its signal changes in place; the row itself never moves while it is shown. */
export interface TableRow {
  id: string;
  task: Signal<TaskSummary>;
}

interface Loaded {
  rows: readonly TableRow[];
  nextCursor: string | null;
  total: number;
  totalRelation: 'eq' | 'gte';
}

/** The page of the table, once it is loaded. */
export const table = signal<Loaded | undefined>(undefined);
export const loading = signal(false);
/** Tasks that match the filters and came after the table was loaded. */
export const newer = signal<readonly TaskSummary[]>([]);
export const pulse = signal<Pulse | undefined>(undefined);
export const functions = signal<readonly string[]>([]);
/** The task of the panel. */
export const opened = signal<ShownTask | undefined>(undefined);
/** Said to the person, politely (an outcome) or at once (a failure). */
export const notice = signal<{ text: string; failed: boolean } | undefined>(undefined);
/** The session ended, and nothing more can be done until somebody signs in. */
export const signedOut = signal(false);

const pageSize = 50;
let request = new AbortController();

/** Whether a task belongs to what the filters of a view show. */
export function matches(task: TaskSummary, { status, name }: View): boolean {
  return (status.length === 0 || status.includes(task.status)) && (name === undefined || task.name === name);
}

/** Loads the page of the table that the view asks for. */
export async function loadTable(): Promise<void> {
  request.abort();
  request = new AbortController();
  const { signal: aborted } = request;
  const { status, name, cursor } = view.value;
  loading.value = true;
  try {
    const { items, ...rest } = await client.list({ status, name, cursor, limit: pageSize }, aborted);
    batch(() => {
      table.value = { ...rest, rows: items.map(toRow) };
      newer.value = [];
      loading.value = false;
    });
  } catch (error) {
    if (aborted.aborted) return;
    loading.value = false;
    complain(error);
  }
}

function toRow(task: TaskSummary): TableRow {
  return { id: task.id, task: signal(task) };
}

/** Loads the numbers and the names of the functions. */
export async function loadMetrics(): Promise<void> {
  try {
    const metrics: Metrics = await client.metrics();
    functions.value = metrics.functions.map(({ name }) => name);
    const { counts, successRate } = metrics;
    pulse.value ??= { counts, successRate, running: counts.running, pending: counts.pending, perMinute: 0 };
  } catch (error) {
    complain(error);
  }
}

/** Loads the task of the panel; what is open of another one stays until it is there. */
export async function loadTask(id: string | undefined): Promise<void> {
  if (id === undefined) {
    opened.value = undefined;
    return;
  }
  try {
    const task = await client.get(id);
    if (view.value.task === id) opened.value = task;
  } catch (error) {
    opened.value = undefined;
    complain(error);
  }
}

/** Takes in what the stream tells: rows change where they stand, new ones wait or go on top. */
export function takeUpserts(upserts: readonly TaskSummary[], atTop: boolean): void {
  batch(() => {
    const shown = new Map(table.value?.rows.map((row) => [row.id, row.task]));
    const fresh: TaskSummary[] = [];
    for (const task of upserts) {
      const row = shown.get(task.id);
      if (row) row.value = task;
      else if (isNews(task)) fresh.push(task);
      if (!functions.value.includes(task.name)) functions.value = [...functions.value, task.name].sort();
    }
    const changed = upserts.find(({ id }) => id === view.value.task);
    if (changed) takeOpened(changed);
    addNewer(fresh);
    if (atTop) showNewer();
  });
}

/** Whether a task that is not in the table belongs above its first row. */
function isNews(task: TaskSummary): boolean {
  if (!table.value || view.value.cursor !== undefined || !matches(task, view.value)) return false;
  const first = table.value.rows[0];
  return first === undefined || task.id > first.id || newer.value.some(({ id }) => id === task.id);
}

function addNewer(fresh: readonly TaskSummary[]): void {
  if (fresh.length === 0) return;
  const byId = new Map([...newer.value, ...fresh].map((task) => [task.id, task]));
  newer.value = [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, pageSize);
}

/** Puts the tasks that came since on top of the table, and drops as many at its end. */
export function showNewer(): void {
  if (!table.value || newer.value.length === 0) return;
  const rows = [...newer.value.map(toRow), ...table.value.rows].slice(0, pageSize);
  table.value = { ...table.value, rows, total: table.value.total + newer.value.length };
  newer.value = [];
}

/** The open task has changed: what the summary does not hold is asked for. */
function takeOpened(summary: TaskSummary): void {
  const before = opened.value;
  if (before) opened.value = { ...before, ...summary };
  if (before?.status !== summary.status || before.attempt !== summary.attempt) void loadTask(summary.id);
}

/** Adds lines to the log of the open task. */
export function takeLogLines(id: string, lines: readonly LogLine[]): void {
  const task = opened.value;
  if (task?.id !== id) return;
  const last = task.logs.at(-1)?.n ?? 0;
  const fresh = lines.filter(({ n }) => n > last);
  if (fresh.length > 0) opened.value = { ...task, logs: [...task.logs, ...fresh] };
}

/** Retries or cancels a task, and tells how that went. */
export async function act(action: 'retry' | 'cancel', task: TaskSummary): Promise<void> {
  try {
    const changed = await client[action](task.id);
    takeUpserts([changed], false);
    notice.value = {
      text:
        action === 'retry'
          ? `${task.name} is queued again.`
          : `${task.name} is ${changed.status === 'cancelled' ? 'cancelled' : 'asked to stop'}.`,
      failed: false,
    };
  } catch (error) {
    complain(error);
    void loadTask(view.value.task);
  }
}

/** Tells the person what went wrong; without a session there is only one thing left to do. */
function complain(error: unknown): void {
  if (error instanceof ProblemError && error.status === 401) signedOut.value = true;
  else notice.value = { text: error instanceof Error ? error.message : String(error), failed: true };
}
