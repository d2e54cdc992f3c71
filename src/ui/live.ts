import { signal } from '@preact/signals';
import { type Change, ProblemError } from '../client/client.js';
import { client } from './facts.js';
import { loadTable, loadTask, notice, pulse, signedOut, takeLogLines, takeUpserts } from './tasks.js';
import { view } from './view.js';

export const connection = signal<'connecting' | 'live' | 'offline'>('connecting');
/** Present time of the server in milliseconds, so that a wrong clock here shows no wrong ages. */
export const now = signal(Date.now());

let ahead = 0;
let lastEventId: string | undefined;
let controller = new AbortController();
let skipWait = (): void => {};

/** Keeps one stream open, and comes back to it whenever it is lost. */
export async function stayLive(): Promise<void> {
  setInterval(() => {
    now.value = Date.now() + ahead;
  }, 1000);
  window.addEventListener('online', () => skipWait());
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) skipWait();
  });
  while (!signedOut.value) {
    controller = new AbortController();
    try {
      await follow(view.peek().task, controller.signal);
    } catch (error) {
      // Whatever else the server refuses, a person must see why nothing moves.
      if (error instanceof ProblemError && error.status === 401) signedOut.value = true;
      else notice.value = { text: error instanceof Error ? error.message : String(error), failed: true };
      connection.value = 'offline';
      if (!signedOut.value) await pause(30);
    }
  }
}

/** Follows the log of another task: the stream is opened anew and goes on where it was. */
export function followAgain(): void {
  controller.abort();
  skipWait();
}

/** Takes what the stream tells, until it is to follow another task. */
async function follow(task: string | undefined, aborted: AbortSignal): Promise<void> {
  for await (const change of client.changes({ follow: task ? [task] : [], lastEventId, signal: aborted, wait: pause })) {
    lastEventId = change.id ?? lastEventId;
    take(change);
  }
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const goOn = (): void => {
      clearTimeout(timer);
      connection.value = 'connecting';
      resolve();
    };
    const timer = setTimeout(goOn, seconds * 1000);
    skipWait = goOn;
  });
}

function take(change: Change): void {
  if (change.type === 'hello') greet(change);
  else if (change.type === 'tasks') takeTasks(change);
  else if (change.type === 'metrics') pulse.value = change;
  else if (change.type === 'log') takeLogLines(change.task, change.lines);
  else connection.value = 'offline';
}

let greeted = false;

function greet({ serverTime, resumed }: Extract<Change, { type: 'hello' }>): void {
  ahead = Date.parse(serverTime) - Date.now();
  now.value = Date.parse(serverTime);
  // What changed while nobody listened is not in a stream that begins anew.
  if (greeted && !resumed) void loadTable();
  // Lines between loading the task and following it are asked for, since they are not replayed.
  if (view.peek().task) void loadTask(view.peek().task);
  greeted = true;
  connection.value = 'live';
  if (notice.value?.failed) notice.value = undefined;
}

function takeTasks({ upserts, dropped }: Extract<Change, { type: 'tasks' }>): void {
  takeUpserts(upserts, window.scrollY < 200);
  if (dropped > 0) void loadTable();
}
