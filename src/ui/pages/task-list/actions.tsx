import { signal } from '@preact/signals';
import { canCancel, canRetry, ProblemError, type TaskSummary } from '../../../client/client.js';
import { confirmed } from '../../kit/dialog.js';
import { percent, whole } from '../../kit/formats.js';
import { notify, showError } from '../../kit/notices.js';
import { client, may } from '../../state/bootstrap.js';
import { reloadTask, takeOpened } from '../task/opened.js';
import { takeTasks } from './list.js';

/** Ids of tasks with an action in progress. */
export const acting = signal<ReadonlySet<string>>(new Set());

type OneAction = 'retry' | 'cancel' | 'run';

/** Retries a task. Asks first if the task may have done part of its work. */
export async function retryTask(task: TaskSummary): Promise<void> {
  if (!canRetry(task.status)) return;
  if (task.status !== 'interrupted') return actOn('retry', task);
  await confirmed({
    title: `Run ${task.name} again?`,
    body: () => (
      <p>
        This task stopped halfway when its process ended. It may already have done part of its work.
        Run it again?
      </p>
    ),
    button: () => 'Run again',
    act: () => actOn('retry', task),
  });
}

/** Cancels a task. Asks first if the task is running. */
export async function cancelTask(task: TaskSummary): Promise<void> {
  if (!canCancel(task.status) || task.engineState === 'cancelling') return;
  if (task.status === 'pending') return actOn('cancel', task);
  const done = task.progress === null ? '' : ` It is ${percent(task.progress)} done.`;
  await confirmed({
    title: `Stop ${task.name}?`,
    body: () => (
      <p>
        Ask <em>{task.name}</em> to stop?{done} If it does not stop soon, it is recorded as
        cancelled. Code that ignores the abort signal keeps running.
      </p>
    ),
    button: () => 'Stop task',
    keep: 'Keep running',
    danger: true,
    act: () => actOn('cancel', task),
  });
}

/** Makes a delayed task due now. */
export function runTask(task: TaskSummary): Promise<void> {
  return actOn('run', task);
}

async function actOn(action: OneAction, task: TaskSummary): Promise<void> {
  acting.value = new Set([...acting.peek(), task.id]);
  try {
    const changed = await client[action](task.id);
    takeTasks([changed]);
    takeOpened(changed);
    notify(outcomeOf(action, changed), { undo: undoOf(action, changed) });
  } catch (error) {
    // The task changed its state before the request arrived. This is not a failure.
    if (error instanceof ProblemError && error.status === 409)
      notify(`${task.name} has changed. ${error.message}`);
    else showError(error);
    reloadTask();
  } finally {
    acting.value = new Set([...acting.peek()].filter((id) => id !== task.id));
  }
}

function outcomeOf(action: OneAction, { name, status }: TaskSummary): string {
  if (action === 'retry') return `${name} is queued again.`;
  if (action === 'run') return `${name} is due now.`;
  return status === 'cancelled' ? `${name} is cancelled.` : `${name} is asked to stop.`;
}

function undoOf(action: OneAction, { id, status }: TaskSummary): (() => Promise<void>) | undefined {
  if (action === 'cancel')
    return status === 'cancelled' ? () => takeBack('retry', [id]) : undefined;
  return action === 'retry' && may('cancel') ? () => takeBack('cancel', [id]) : undefined;
}

/** Sends the command that undoes another one. */
export async function takeBack(action: 'retry' | 'cancel', ids: readonly string[]): Promise<void> {
  try {
    const { dispatched, skipped } = await client.bulk({ action, ids, reason: 'undo' });
    notify(
      skipped === 0
        ? 'Undone.'
        : `Undone for ${whole(dispatched)}; ${whole(skipped)} had changed state.`,
    );
  } catch (error) {
    showError(error);
  }
}
