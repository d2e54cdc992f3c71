import type { TaskStatus } from '../../../tasks/types.js';
import { stateCode } from '../../tables/schema/states.js';

/**
 * The groups in which the tasks of a queue are counted: BullMQ keeps the jobs of a group in the
 * same set, or in the sets of waiting jobs.
 */
export type Group = 'pending' | 'running' | 'completed' | 'failed';

/** The groups of ended tasks, which have the names of BullMQ's sets. */
export const endedGroups = ['completed', 'failed'] as const;
export type EndedGroup = (typeof endedGroups)[number];

export function isEndedGroup(group: Group | undefined): group is EndedGroup {
  return group === 'completed' || group === 'failed';
}

/** Returns the group of a state. */
export function groupOf(status: TaskStatus): Group {
  if (status === 'pending' || status === 'running') return status;
  return status === 'success' ? 'completed' : 'failed';
}

/** The stored state codes of each group. */
export const codes: Record<Group, readonly number[]> = {
  pending: [stateCode.pending],
  running: [stateCode.running],
  completed: [stateCode.success],
  failed: [stateCode.failed, stateCode.interrupted, stateCode.cancelled],
};
