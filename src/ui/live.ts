import { signal } from '@preact/signals';
import type { LogLine, Pulse, ServerEvent, TaskSummary } from '../client/client.js';
import { ProblemError } from '../client/client.js';
import { client } from './facts.js';
import { loadTable, loadTask, notice, pulse, signedOut, takeLogLines, takeUpserts } from './tasks.js';
import { view } from './view.js';

export const connection = signal<'connecting' | 'live' | 'offline'>('connecting');
/** Present time of the server in milliseconds, so that a wrong clock here shows no wrong ages. */
export const now = signal(Date.now());

/** Seconds between two tries, doubled from the first to the last. */
const patience = { first: 1, last: 30 };

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
  let wait = patience.first;
  while (!signedOut.value) {
    const followed = view.peek().task;
    const stopped = await readStream(followed).catch((error: unknown) => {
      if (error instanceof ProblemError && error.status === 401) signedOut.value = true;
      return false;
    });
    if (stopped || view.peek().task !== followed) {
      wait = patience.first;
      continue;
    }
    if (signedOut.value) return;
    wait = connection.value === 'live' ? patience.first : Math.min(wait * 2, patience.last);
    connection.value = 'offline';
    await pause(wait * (0.75 + Math.random() / 2));
    connection.value = 'connecting';
  }
}

/** Follows the log of another task: the stream is opened anew and goes on where it was. */
export function followAgain(): void {
  controller.abort();
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    skipWait = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Reads one stream to its end; `true` when it was given up on purpose. */
async function readStream(task: string | undefined): Promise<boolean> {
  controller = new AbortController();
  const { signal: aborted } = controller;
  try {
    for await (const event of client.stream({ follow: task ? [task] : [], lastEventId, signal: aborted })) {
      lastEventId = event.id ?? lastEventId;
      take(event);
      if (signedOut.value) return true;
    }
  } catch (error) {
    if (aborted.aborted) return true;
    throw error;
  }
  return aborted.aborted;
}

function take({ event, data }: ServerEvent): void {
  const value: unknown = JSON.parse(data);
  if (event === 'hello') greet(value as { serverTime: string; resumed: boolean });
  else if (event === 'tasks') takeTasks(value as { upserts: TaskSummary[]; dropped: number });
  else if (event === 'metrics') pulse.value = value as Pulse;
  else if (event === 'log') takeLogLines((value as { id: string }).id, (value as { lines: LogLine[] }).lines);
  else if (event === 'session') signedOut.value = true;
}

let greeted = false;

function greet({ serverTime, resumed }: { serverTime: string; resumed: boolean }): void {
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

function takeTasks({ upserts, dropped }: { upserts: TaskSummary[]; dropped: number }): void {
  takeUpserts(upserts, window.scrollY < 200);
  if (dropped > 0) void loadTable();
}
