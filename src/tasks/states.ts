import type { TaskStatus } from './types.js';

/**
 * The states that may follow each state. Engines enforce these transitions. The API and the buttons
 * of the dashboard depend on them, too.
 */
export const transitions: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  // `failed` without an attempt: the deadline has passed.
  pending: ['running', 'cancelled', 'failed'],
  // `pending`: a retry, or the process died and the task may run again.
  running: ['success', 'failed', 'cancelled', 'interrupted', 'pending'],
  success: [],
  failed: ['pending'],
  interrupted: ['pending'],
  cancelled: ['pending'],
};

/** Returns whether a task in this state has ended: it stays there until an operator acts. */
export function isEnded(status: TaskStatus): boolean {
  return status !== 'pending' && status !== 'running';
}

/** Returns whether a task in this state can be retried: it has ended without success. */
export function canRetry(status: TaskStatus): boolean {
  return isEnded(status) && transitions[status].includes('pending');
}

/** Returns whether a task in this state can be cancelled: it has not ended. */
export function canCancel(status: TaskStatus): boolean {
  return transitions[status].includes('cancelled');
}
