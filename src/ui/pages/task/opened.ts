import { batch, effect, signal } from '@preact/signals';
import { ProblemError, type ShownTask, type TaskSummary } from '../../../client/client.js';
import { serverNow } from '../../kit/clock.js';
import { isSignedOut } from '../../kit/notices.js';
import { follow, listen } from '../../live/connection.js';
import { client } from '../../state/bootstrap.js';
import { view } from '../../state/view.js';
import { openLog, takeLines } from './log.js';

/*
 * The state of the open task. `watchTask` loads the task whenever the address names another one and
 * follows its log (`log.ts`). Changes from the stream update it, and a new state or attempt loads
 * it again.
 */

/** The task that is open. */
export const opened = signal<ShownTask | undefined>(undefined);
/** The error of the last load. */
export const openError = signal<unknown>(undefined);
/** When the open task was deleted, in Unix milliseconds. Its loaded data stays visible. */
export const removedAt = signal<number | undefined>(undefined);

let request = new AbortController();

async function loadTask(id: string): Promise<void> {
  request.abort();
  request = new AbortController();
  const { signal: aborted } = request;
  try {
    // log.ts loads the log from its end, because it may be long.
    const task = await client.get(id, { logs: 0 }, aborted);
    if (aborted.aborted) return;
    batch(() => {
      opened.value = task;
      openError.value = undefined;
    });
  } catch (error) {
    if (aborted.aborted || isSignedOut(error)) return;
    const gone = error instanceof ProblemError && error.status === 404;
    if (gone && opened.peek()?.id === id) removedAt.value ??= serverNow();
    else openError.value = error;
  }
}

/** Reloads the open task. */
export function reloadTask(): void {
  const id = view.peek().task;
  if (id !== undefined) void loadTask(id);
}

/** Updates the open task with the data of its row, and loads the data that a row lacks. */
export function takeOpened(summary: TaskSummary): void {
  const before = opened.peek();
  if (before?.id !== summary.id) return;
  opened.value = { ...before, ...summary };
  if (before.status !== summary.status || before.attempt !== summary.attempt)
    void loadTask(summary.id);
}

/** Opens the task in the address and keeps it up to date. */
export function watchTask(): void {
  let id: string | undefined;
  effect(() => {
    const { task } = view.value;
    if (task === id) return;
    id = task;
    batch(() => {
      opened.value = undefined;
      openError.value = undefined;
      removedAt.value = undefined;
    });
    request.abort();
    follow(task === undefined ? [] : [task]);
    openLog(task);
    if (task !== undefined) void loadTask(task);
  });
  listen({
    tasks({ upserts, removed, dropped }) {
      const changed = upserts.find((task) => task.id === id);
      if (changed) takeOpened(changed);
      else if (dropped > 0) reloadTask();
      if (id !== undefined && removed.includes(id)) removedAt.value ??= serverNow();
    },
    log({ task, lines }) {
      if (task === id) takeLines(lines);
    },
    reload() {
      reloadTask();
      openLog(id, true);
    },
  });
}
