import type { StoredError } from '../tasks/task-runner.js';

/**
 * The error of a task whose process stopped or crashed while the task ran. No code of the app threw
 * it, so it has no stack and belongs to no failure group.
 */
export const interruptedError: StoredError = {
  name: 'Interrupted',
  message: 'the process that ran this task stopped, crashed or lost the task before it ended',
  stack: null,
  fingerprint: '',
};
