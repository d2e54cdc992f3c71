import { fingerprint } from '../tasks/fingerprint.js';
import type { StoredError } from '../tasks/task-runner.js';

const notStarted = {
  name: 'TimeoutError',
  message: 'the deadline of the task passed before it was started',
  stack: null,
};

/**
 * Returns the error of a task that was not started before its deadline. It has no stack, because no
 * code of the app was running.
 */
export function deadlineError(task: string): StoredError {
  return { ...notStarted, fingerprint: fingerprint(task, notStarted) };
}
