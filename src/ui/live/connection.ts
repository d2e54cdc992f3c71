import { batch, computed, signal } from '@preact/signals';
import { type Change, ProblemError, type Pulse } from '../../client/client.js';
import { serverNow, setClock } from '../kit/clock.js';
import { observeErrors } from '../kit/notices.js';
import { facts } from '../state/bootstrap.js';
import { paused } from '../state/preferences.js';
import { SharedStream } from './shared-stream.js';

/** How the stream is, whatever the person wants of it. */
const line = signal<'connecting' | 'live' | 'offline'>('connecting');
/** What stands in the header. */
export const connection = computed(() => (line.value === 'live' && paused.value ? 'paused' : line.value));
/** Since when nothing has been heard, and when the next try is, in milliseconds of the server's clock. */
export const lost = signal<{ since: number; nextTry: number } | undefined>(undefined);
/** The session ended, and nothing more can be done until somebody signs in. */
export const signedOut = signal(false);
/** The small numbers of the whole, as the stream tells them. */
export const pulse = signal<Pulse | undefined>(undefined);
/** How many tasks have changed while the page is paused, as far as they are counted. */
export const missed = signal(0);
const missedTasks = new Set<string>();
const mostMissed = 10_000;
/** The server runs another version of this page. */
export const newVersion = signal(false);

type TasksChange = Extract<Change, { type: 'tasks' }>;
type LogChange = Extract<Change, { type: 'log' }>;

/** What the parts of the page do with what the stream tells. */
interface Listeners {
  /** Told of every change, also while the page is paused or hidden. */
  always(change: TasksChange): void;
  tasks(change: TasksChange): void;
  log(change: LogChange): void;
  /** What is shown may be out of date. */
  reload(): void;
}

const listeners = new Set<Partial<Listeners>>();

/** Listens to the stream until the function it returns is called. */
export function listen(listener: Partial<Listeners>): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Has every part of the page load what it shows anew. */
export function reloadAll(): void {
  missedTasks.clear();
  missed.value = 0;
  stale = false;
  for (const { reload } of listeners) reload?.();
}

const stream = new SharedStream({ take, failed, signedIn });
/** Whether something has changed that was not shown because nobody looks. */
let stale = false;

export function startStream(): void {
  observeErrors((error) => {
    if (error instanceof ProblemError && error.status === 401) signedOut.value = true;
  });
  stream.start();
  window.addEventListener('online', () => stream.hurry());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    stream.hurry();
    if (stale && !paused.value) reloadAll();
  });
}

export function tryNow(): void {
  stream.hurry();
}

export function follow(tasks: readonly string[]): void {
  stream.follow(tasks);
}

/** Somebody has signed in within the page. */
export function goOn(): void {
  stream.resume();
}

function take(change: Change): void {
  if (change.type === 'hello') greet(change);
  else if (change.type === 'lost') lose(change.retryIn);
  else {
    if (line.peek() !== 'live') reached();
    if (change.type === 'metrics') takePulse(change);
    else if (change.type === 'tasks') takeTasks(change);
    else if (!paused.value) for (const { log } of listeners) log?.(change);
  }
}

function greet({ serverTime, resumed, version }: Extract<Change, { type: 'hello' }>): void {
  setClock(serverTime);
  newVersion.value = version !== facts.version;
  reached();
  // What changed while nobody listened, or since the page was made, is not in a stream that begins anew.
  if (!resumed && !paused.value) reloadAll();
}

function reached(): void {
  batch(() => {
    line.value = 'live';
    lost.value = undefined;
    signedOut.value = false;
  });
}

function lose(retryIn: number): void {
  batch(() => {
    line.value = 'offline';
    lost.value = { since: lost.peek()?.since ?? serverNow(), nextTry: serverNow() + retryIn * 1000 };
  });
}

function failed(status: number): void {
  if (status === 401) signedOut.value = true;
  lose(30);
}

function signedIn(): void {
  signedOut.value = false;
  line.value = 'connecting';
  if (!paused.value) reloadAll();
}

let latest: Pulse | undefined;

/** A page that is paused keeps its numbers; that a queue is paused everybody must know all the same. */
function takePulse(change: Pulse): void {
  latest = change;
  const shown = pulse.peek();
  pulse.value = paused.value && shown ? { ...shown, paused: change.paused } : change;
}

function takeTasks(change: TasksChange): void {
  for (const { always } of listeners) always?.(change);
  if (paused.value) {
    for (const id of [...change.upserts.map((task) => task.id), ...change.removed]) if (missedTasks.size < mostMissed) missedTasks.add(id);
    missed.value = missedTasks.size;
    return;
  }
  // Nobody sees a hidden page, and its timers are slow: it is drawn when it is shown again.
  if (document.hidden) {
    stale = true;
    return;
  }
  batch(() => {
    for (const { tasks } of listeners) tasks?.(change);
  });
}

/** Freezes the page, or lets it show the present state. */
export function togglePause(): void {
  paused.value = !paused.value;
  if (paused.value) return;
  pulse.value = latest ?? pulse.peek();
  reloadAll();
}
