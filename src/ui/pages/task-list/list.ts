import { batch, computed, effect, type Signal, signal } from '@preact/signals';
import type { TaskList, TaskSummary } from '../../../client/client.js';
import { serverNow } from '../../kit/clock.js';
import { isSignedOut } from '../../kit/notices.js';
import { listen } from '../../live/connection.js';
import { filterOf, type View } from '../../state/address.js';
import { bootstrap, client } from '../../state/bootstrap.js';
import { pageSize } from '../../state/preferences.js';
import {
  ignoredParameters,
  page,
  pagesBefore,
  scrollTarget,
  show,
  view,
} from '../../state/view.js';
import { matches } from './matches.js';
import { clearSelection, selected, unselect } from './selection.js';

/*
 * The state of the task list. `watchList` loads the page of the list whenever the address changes,
 * and listens to the stream. `takeTasks` updates the rows of changed tasks in place. New tasks wait
 * as unseen rows if adding them would move rows that the user works with.
 */

/**
 * A row of the table. When its task changes, its signal changes. The row does not move while it is
 * shown.
 */
export interface TableRow {
  id: string;
  /**
   * Identifies the DOM elements of the row. A new row takes the elements of a row that leaves,
   * because creating elements costs more than filling them.
   */
  elements: number;
  task: Signal<TaskSummary>;
  /** Whether the task was deleted after it was loaded. */
  removed: Signal<boolean>;
}

interface LoadedPage extends Omit<TaskList, 'items'> {
  rows: readonly TableRow[];
}

/** The page of the list that the table shows; `undefined` until it is loaded. */
export const table = signal<LoadedPage | undefined>(undefined);
export const loading = signal(false);
/** The error of the last load. */
export const listError = signal<unknown>(undefined);
/** Tasks that match the filters but are not in the table yet. */
export const unseenRows = signal<ReadonlyMap<string, TaskSummary>>(new Map());
/** The names that the filters offer. */
export const functions = signal<readonly string[]>(
  bootstrap.overview?.hour.functions.map(({ name }) => name) ?? [],
);
export const queues = signal<readonly string[]>(
  bootstrap.overview?.queues.map(({ name }) => name) ?? [],
);

const maxUnseenRows = 500;
/** Minimum number of milliseconds between two loads of the list when the stream drops changes. */
const reloadPause = 1000;
let request = new AbortController();
let lastElements = 0;

/** Whether the page shows the list. */
const listShown = computed(() => page.value === 'tasks' || page.value === 'overview');

/** Returns the tasks in the table in their present state. */
export function shownTasks(): TaskSummary[] {
  return (table.peek()?.rows ?? []).map(({ task }) => task.peek());
}

/** Returns the query of the list in the address. */
function queryOf(shown: View): Parameters<typeof client.list>[0] {
  const { status, tag, ...filter } = filterOf(shown);
  const { sort, cursor } = shown;
  return {
    ...filter,
    status: [...status],
    tag: [...tag],
    ...(sort !== '-createdAt' && { sort }),
    ...(cursor !== undefined && { cursor }),
    limit: pageSize.peek(),
  } as Parameters<typeof client.list>[0];
}

/** Loads the page of the list in the address. The table shows the previous page until then. */
export async function loadList(): Promise<void> {
  request.abort();
  request = new AbortController();
  const { signal: aborted } = request;
  loading.value = true;
  try {
    const found = await findPage(aborted);
    if (aborted.aborted) return;
    batch(() => {
      takePage(found);
      unseenRows.value = new Map();
      listError.value = undefined;
      unselect([...selected.peek()].filter((id) => !found.items.some((task) => task.id === id)));
    });
  } catch (error) {
    if (aborted.aborted) return;
    if (!isSignedOut(error)) listError.value = error;
  }
  loading.value = false;
}

function takePage({ items, ...rest }: TaskList): void {
  table.value = { ...rest, rows: toRows(items) };
  learnNames(items);
}

/** Shows the list that came with the page, if it matches the address. */
export function showInitialList(): void {
  const { list } = bootstrap;
  if (
    list &&
    ignoredParameters.length === 0 &&
    pageSize.peek() === 50 &&
    (list.items.length > 0 || list.nextCursor === null)
  )
    takePage(list);
}

/**
 * Loads the first page with tasks. The server searches rare combinations of filters in steps, so an
 * empty page may be followed by pages with tasks.
 */
async function findPage(aborted: AbortSignal): Promise<TaskList> {
  const query = queryOf(view.peek());
  let found = await client.list(query, aborted);
  while (found.items.length === 0 && found.nextCursor !== null)
    found = await client.list({ ...query, cursor: found.nextCursor }, aborted);
  return found;
}

/**
 * Returns the rows of these tasks. Tasks that are already shown keep their rows. The other tasks
 * get the elements of rows that leave.
 */
function toRows(tasks: readonly TaskSummary[]): TableRow[] {
  const leaving = new Map(table.peek()?.rows.map((row) => [row.id, row]));
  const kept = tasks.map((task) => {
    const row = leaving.get(task.id);
    if (row && row.task.peek() !== task) put(row, task);
    leaving.delete(task.id);
    return row;
  });
  // The elements of a row that has the focus or is pressed must not show another task.
  const free = isHeld() ? [] : [...leaving.values()];
  return tasks.map(
    (task, n) =>
      kept[n] ?? {
        id: task.id,
        elements: free.shift()?.elements ?? ++lastElements,
        task: signal(task),
        removed: signal(false),
      },
  );
}

function learnNames(tasks: readonly TaskSummary[]): void {
  learn(functions, tasks, 'name');
  learn(queues, tasks, 'queue');
}

function learn(
  names: Signal<readonly string[]>,
  tasks: readonly TaskSummary[],
  key: 'name' | 'queue',
): void {
  const fresh = new Set(
    tasks.map((task) => task[key]).filter((name) => !names.peek().includes(name)),
  );
  if (fresh.size > 0) names.value = [...names.peek(), ...fresh].sort();
}

/**
 * Updates a row. It also clears `removed`, because BullMQ can add a job with the id of a removed
 * one.
 */
function put(row: TableRow, task: TaskSummary): void {
  row.task.value = task;
  row.removed.value = false;
}

/**
 * Updates the rows of changed tasks in place. New tasks are added at the top, or wait as unseen
 * rows.
 */
export function takeTasks(upserts: readonly TaskSummary[]): void {
  batch(() => {
    const shown = new Map(table.peek()?.rows.map((row) => [row.id, row]));
    const fresh: TaskSummary[] = [];
    for (const task of upserts) {
      const row = shown.get(task.id);
      if (row) put(row, task);
      else if (belongsInTable(task)) fresh.push(task);
    }
    learnNames(upserts);
    if (fresh.length === 0) return;
    const waiting = [
      ...unseenRows.peek(),
      ...fresh.map((task): [string, TaskSummary] => [task.id, task]),
    ];
    unseenRows.value = new Map(waiting.slice(-maxUnseenRows));
    if (isFree()) showUnseenRows();
  });
}

/** Whether new rows can be added without moving rows that the user works with. */
function isFree(): boolean {
  return (
    view.peek().sort === '-createdAt' &&
    selected.peek().size === 0 &&
    view.peek().task === undefined &&
    window.scrollY < 120 &&
    !isHeld()
  );
}

/** Whether the user selects text, or an element in the table has the focus or is pressed. */
function isHeld(): boolean {
  return (
    getSelection()?.isCollapsed === false ||
    document.activeElement?.closest('tbody') !== null ||
    document.querySelector('tbody:active') !== null
  );
}

/** Whether a task comes before another one in the list, the newest first. */
function isBefore(task: TaskSummary, other: TaskSummary): boolean {
  return task.createdAt === other.createdAt ? task.id > other.id : task.createdAt > other.createdAt;
}

/**
 * Whether a task that is not in the table belongs there. The stream may report an older task after
 * a newer one.
 */
function belongsInTable(task: TaskSummary): boolean {
  const loadedPage = table.peek();
  const shown = view.peek();
  if (!loadedPage || shown.cursor !== undefined || !matches(task, shown, serverNow())) return false;
  if (shown.sort !== '-createdAt' || unseenRows.peek().has(task.id)) return true;
  const { rows, nextCursor } = loadedPage;
  const last = rows.at(-1);
  const isWhole = nextCursor === null && rows.length < pageSize.peek();
  return isWhole || last === undefined || isBefore(task, last.task.peek());
}

/**
 * Adds the unseen rows in order, and drops as many rows at the end. If the list has another order,
 * it is loaded again.
 */
export function showUnseenRows(): void {
  const loadedPage = table.peek();
  if (!loadedPage || unseenRows.peek().size === 0) return;
  if (view.peek().sort !== '-createdAt') return void loadList();
  const fresh = [...unseenRows.peek().values()];
  const ordered = [...fresh, ...shownTasks()].sort((a, b) => (isBefore(a, b) ? -1 : 1));
  const rows = toRows(ordered.slice(0, pageSize.peek()));
  table.value = {
    ...loadedPage,
    rows,
    total: loadedPage.total + fresh.length,
    // If a page is not full, no page follows.
    nextCursor: rows.length < pageSize.peek() ? null : loadedPage.nextCursor,
  };
  unseenRows.value = new Map();
  unselect([...selected.peek()].filter((id) => !rows.some((row) => row.id === id)));
}

function takeRemoved(removed: readonly string[]): void {
  const gone = new Set(removed);
  for (const row of table.peek()?.rows ?? []) if (gone.has(row.id)) row.removed.value = true;
  if (removed.some((id) => unseenRows.peek().has(id)))
    unseenRows.value = new Map([...unseenRows.peek()].filter(([id]) => !gone.has(id)));
  unselect(removed);
}

/** Goes to the next page of the list. */
export function nextPage(): void {
  const { nextCursor } = table.peek() ?? {};
  if (typeof nextCursor === 'string')
    show({ cursor: nextCursor }, { before: [...pagesBefore.peek(), view.peek().cursor ?? null] });
  scrollTarget.value = 0;
}

/**
 * Goes to the previous page of the list. If the user came by a link, the previous pages are
 * unknown, and the first page opens.
 */
export function pageBefore(): void {
  const before = pagesBefore.peek();
  show({ cursor: before.at(-1) ?? undefined }, { before: before.slice(0, -1) });
  scrollTarget.value = 0;
}

/** Loads the list in the address and keeps it up to date. */
export function watchList(): void {
  let asked: string | undefined;
  let isThere = table.peek() !== undefined;
  let filtered: string | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const { sort, cursor } = view.value;
    if (!listShown.value) return;
    const filter = JSON.stringify(filterOf(view.value));
    if (filtered !== undefined && filter !== filtered)
      clearSelection('The selection was cleared because the filter changed.');
    filtered = filter;
    const wanted = JSON.stringify([filter, sort, cursor, pageSize.value]);
    if (wanted !== asked && !isThere) void loadList();
    asked = wanted;
    isThere = false;
  });
  listen({
    tasks({ upserts, removed, dropped }) {
      takeTasks(upserts);
      takeRemoved(removed);
      // The stream drops changes if there are too many. Tasks in the table may be among them.
      if (dropped === 0 || timer !== undefined) return;
      timer = setTimeout(() => {
        timer = undefined;
        if (listShown.peek()) void loadList();
      }, reloadPause);
    },
    reload() {
      if (listShown.peek()) void loadList();
      else asked = undefined;
    },
  });
}
