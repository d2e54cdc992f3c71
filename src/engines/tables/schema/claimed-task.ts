import type { ClaimedTask } from '../../../tasks/task-runner.js';
import { type Packed, packing } from './packing.js';
import { idOf, tagsOf } from './rows.js';

/** The columns of a claimed task that its process needs. */
export interface Claimed {
  rowid: number;
  /** Upper-case hexadecimal digits. */
  id: string;
  name: string;
  queue: string;
  tags: string | null;
  attempt: number;
  /** The number of the attempt in its series. */
  tryNumber: number;
  logLines: number;
  deadlineAt: number | null;
  args: string;
}

/** A claimed task, as it crosses between threads. */
export type ClaimedRow = Packed<Claimed>;

/** Packs a claimed task together with its partition. */
export const claimedTask = packing<Claimed>({
  rowid: 'task.rowid',
  id: 'hex(task.id)',
  name: 'partition.name',
  queue: 'partition.queue',
  tags: 'tags',
  attempt: 'attempt',
  tryNumber: 'attempt - max_attempts + attempts',
  logLines: 'log_lines',
  deadlineAt: 'deadline_at',
  args: 'args',
});

/** Converts a claimed task to the one that a runner takes. */
export function toClaimed(row: Readonly<Claimed>): ClaimedTask {
  const { name, queue, attempt, args, tryNumber, logLines, deadlineAt } = row;
  return {
    id: idOf(row.id),
    name,
    queue,
    tags: tagsOf(row.tags),
    attempt,
    args,
    tryNumber,
    logLines,
    deadlineAt: deadlineAt ?? undefined,
  };
}
