import { TaskflowError } from '../errors.js';
import { grouped } from '../show-value.js';

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
      `${grouped(maxPausedQueues)} queues are already paused. Check the name, or resume a queue ` +
      'that you no longer need to pause.',
  );
}
