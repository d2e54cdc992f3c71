import { fingerprint } from '../tasks/fingerprint.js';
import type { StoredError } from '../tasks/task-runner.js';

const notStarted = {
  name: 'TimeoutError',
  message: 'the deadline of the task passed before it was started',
  stack: null,
};

/**
 * The error of a task that is not started because its deadline has passed. No code of the app was
 * running, so it has no stack.
 */
export function deadlineError(task: string): StoredError {
  return { ...notStarted, fingerprint: fingerprint(task, notStarted) };
}
