import type { TaskStatus } from '../../client/client.js';

export const statuses = ['pending', 'running', 'success', 'failed', 'interrupted', 'cancelled'] as const satisfies readonly TaskStatus[];

/** A sign beside the word and the colour, for who cannot tell the colours apart. */
export const signs: Record<TaskStatus, string> = {
  pending: '◷',
  running: '◌',
  success: '✓',
  failed: '✕',
  interrupted: '⚡',
  cancelled: '⊘',
};
