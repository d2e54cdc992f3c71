import type { TaskStatus } from '../../../tasks/types.js';
import { stateCode } from '../../embedded/rows.js';

/** Which tasks of a queue are counted together: those that BullMQ keeps in the same set, or lets wait. */
export type Group = 'pending' | 'running' | 'completed' | 'failed';

/** The group of a state. */
export function groupOf(status: TaskStatus): Group {
  if (status === 'pending' || status === 'running') return status;
  return status === 'success' ? 'completed' : 'failed';
}

/** States of a group, as they are stored. */
export const codes: Record<Group, readonly number[]> = {
  pending: [stateCode.pending],
  running: [stateCode.running],
  completed: [stateCode.success],
  failed: [stateCode.failed, stateCode.interrupted, stateCode.cancelled],
};
