import type { TaskStatus } from '../../client/client.js';

/** A symbol of each state, for users who cannot tell the colours apart. */
export const symbols: Record<TaskStatus, string> = {
  pending: '◷',
  running: '◌',
  success: '✓',
  failed: '✕',
  interrupted: '⚡',
  cancelled: '⊘',
};

/** All states, in the order in which they are shown. */
export const statuses = Object.keys(symbols) as TaskStatus[];
