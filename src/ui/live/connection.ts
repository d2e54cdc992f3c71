import { batch, computed, signal } from '@preact/signals';
import { type Change, ProblemError, type StatsSnapshot } from '../../client/client.js';
import { serverNow, setClock } from '../kit/clock.js';
import { observeErrors } from '../kit/notices.js';
import { bootstrap } from '../state/bootstrap.js';
import { paused } from '../state/preferences.js';
import { askToSignIn, endSignIn, signInReason } from '../state/sign-in.js';
import { SharedStream } from './shared-stream.js';

// Connects the page to the stream. SharedStream passes each change to `take`. `take` updates the
// signals below and passes changes of tasks and log lines to the listeners. While the page is
// paused, changed tasks are only counted. While it is hidden, the page only notes that data is out
// of date. When it resumes or becomes visible, the listeners reload their data.

/** The state of the stream. */
const state = signal<'connecting' | 'live' | 'offline'>('connecting');
/** The state that the header shows. */
export const connection = computed(() =>
  state.value === 'live' && paused.value ? 'paused' : state.value,
);
/**
 * When the connection was lost and when the next attempt starts, in milliseconds of the server's
 * clock. `undefined` while connected.
 */
export const offline = signal<{ since: number; nextTry: number } | undefined>(undefined);
/** The latest counts of all tasks. */
export const stats = signal<StatsSnapshot | undefined>(undefined);
/** Number of tasks that changed while the page is paused, up to a limit. */
export const missed = signal(0);
const missedTasks = new Set<string>();
const maxMissed = 10_000;
/** Whether the server runs another version of this page. */
export const newVersion = signal(false);

type TasksChange = Extract<Change, { type: 'tasks' }>;
type LogChange = Extract<Change, { type: 'log' }>;

/** Callbacks of parts of the page. */
interface Listeners {
  /** Called for every change of tasks, even while the page is paused or hidden. */
  always(change: TasksChange): void;
  tasks(change: TasksChange): void;
  log(change: LogChange): void;
  /** Called if the shown data may be out of date. */
  reload(): void;
}

const listeners = new Set<Partial<Listeners>>();

/** Adds a listener to the stream. Returns a function that removes it. */
export function listen(listener: Partial<Listeners>): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Reloads the data of every part of the page. */
export function reloadAll(): void {
  missedTasks.clear();
  missed.value = 0;
  stale = false;
  for (const { reload } of listeners) reload?.();
}

const stream = new SharedStream({ take, failed, signedIn });
/** Whether tasks have changed while the page was hidden. */
let stale = false;

export function startStream(): void {
  observeErrors((error) => {
    if (error instanceof ProblemError && error.status === 401) askToSignIn();
  });
  stream.start();
  window.addEventListener('online', () => stream.retryNow());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    stream.retryNow();
    if (stale && !paused.value) reloadAll();
  });
}

export function retryNow(): void {
  stream.retryNow();
}

export function follow(tasks: readonly string[]): void {
  stream.follow(tasks);
}

/** Resumes the stream after the user signed in. */
export function resume(): void {
  stream.resume();
}

function take(change: Change): void {
  if (change.type === 'hello') onHello(change);
  else if (change.type === 'lost') onDisconnect(change.retryIn);
  else {
    if (state.peek() !== 'live') reached();
    if (change.type === 'metrics') takeStats(change);
    else if (change.type === 'tasks') takeTasks(change);
    else if (!paused.value) for (const { log } of listeners) log?.(change);
  }
}

function onHello({ serverTime, resumed, version }: Extract<Change, { type: 'hello' }>): void {
  setClock(serverTime);
  newVersion.value = version !== bootstrap.version;
  reached();
  // If the stream could not be resumed, the page may have missed changes.
  if (!resumed && !paused.value) reloadAll();
}

function reached(): void {
  batch(() => {
    state.value = 'live';
    offline.value = undefined;
    if (signInReason.peek()?.isOld === false) endSignIn(true);
  });
}

function onDisconnect(retryIn: number): void {
  batch(() => {
    state.value = 'offline';
    offline.value = {
      since: offline.peek()?.since ?? serverNow(),
      nextTry: serverNow() + retryIn * 1000,
    };
  });
}

function failed(status: number): void {
  if (status === 401) askToSignIn();
  onDisconnect(30);
}

function signedIn(): void {
  endSignIn(true);
  state.value = 'connecting';
  if (!paused.value) reloadAll();
}

let latest: StatsSnapshot | undefined;

/** Updates the counts. A paused page keeps its counts, but shows which queues are paused. */
function takeStats(change: StatsSnapshot): void {
  latest = change;
  const shown = stats.peek();
  stats.value = paused.value && shown ? { ...shown, paused: change.paused } : change;
}

function takeTasks(change: TasksChange): void {
  for (const { always } of listeners) always?.(change);
  if (paused.value) {
    for (const id of [...change.upserts.map((task) => task.id), ...change.removed])
      if (missedTasks.size < maxMissed) missedTasks.add(id);
    missed.value = missedTasks.size;
    return;
  }
  // Timers of a hidden page are slow, and the user does not see it. It is updated when it becomes
  // visible.
  if (document.hidden) {
    stale = true;
    return;
  }
  batch(() => {
    for (const { tasks } of listeners) tasks?.(change);
  });
}

/** Pauses the page, or resumes it and shows the present data. */
export function togglePause(): void {
  paused.value = !paused.value;
  if (paused.value) return;
  stats.value = latest ?? stats.peek();
  reloadAll();
}
