import type { StoredError } from '../tasks/task-runner.js';

/**
 * The error of a task whose process stopped or crashed while it ran the task. No code of the app
 * has thrown it, so it has no stack and belongs to no group of failures.
 */
export const interruptedError: StoredError = {
  name: 'Interrupted',
  message: 'the process that ran this task stopped, crashed or lost the task before it ended',
  stack: null,
  fingerprint: '',
};
