import type { TaskStatus } from '../../client/client.js';

export const statuses = [
  'pending',
  'running',
  'success',
  'failed',
  'interrupted',
  'cancelled',
] as const satisfies readonly TaskStatus[];

/** A symbol of each state, for users who cannot tell the colours apart. */
export const symbols: Record<TaskStatus, string> = {
  pending: '◷',
  running: '◌',
  success: '✓',
  failed: '✕',
  interrupted: '⚡',
  cancelled: '⊘',
};
