import type { TaskStatus } from './types.js';

/**
 * Which state may follow which. Engines obey it, the API refuses by it, the dashboard shows buttons
 * by it.
 */
export const transitions: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  // Failed without a start: its deadline had passed.
  pending: ['running', 'cancelled', 'failed'],
  // Back to pending: a retry, or a process that died under a task which may run again.
  running: ['success', 'failed', 'cancelled', 'interrupted', 'pending'],
  success: [],
  failed: ['pending'],
  interrupted: ['pending'],
  cancelled: ['pending'],
};

/** States of a task that will not go on by itself. */
const endedStatuses = [
  'success',
  'failed',
  'interrupted',
  'cancelled',
] as const satisfies readonly TaskStatus[];

/** Whether a task in this state will not go on by itself. */
export function isEnded(status: TaskStatus): boolean {
  return (endedStatuses as readonly TaskStatus[]).includes(status);
}

/** A task is retried, with the same id, from an end that is not success. */
export function canRetry(status: TaskStatus): boolean {
  return isEnded(status) && transitions[status].includes('pending');
}

/** A task is cancelled while it has not ended. */
export function canCancel(status: TaskStatus): boolean {
  return transitions[status].includes('cancelled');
}
