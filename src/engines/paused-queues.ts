import { TaskflowError } from '../errors.js';

/**
 * How many queues can be paused before a queue that no task has used can no longer be paused.
 * Without a limit, pauses of names that no task ever uses could fill the storage. A queue that has
 * tasks can always be paused.
 */
export const maxPausedQueues = 1000;

/** Returns the error of a pause that the limit refuses. */
export function tooManyPauses(queue: string): TaskflowError {
  return new TaskflowError(
    'INVALID_INPUT',
    `The queue '${queue}' cannot be paused: it has no tasks, and ` +
      `${maxPausedQueues.toLocaleString('en')} queues are paused already. ` +
      'Check its name, or resume queues that have no tasks.',
  );
}
