import type { TaskStatus } from '../../../tasks/types.js';

/**
 * The number that stands for each task state in the database. Never change one: existing files hold
 * these numbers.
 */
export const stateCode = {
  pending: 0,
  running: 1,
  success: 2,
  failed: 3,
  interrupted: 4,
  cancelled: 5,
} as const satisfies Record<TaskStatus, number>;

const byCode = new Map<number, TaskStatus>(
  Object.entries(stateCode).map(([status, code]) => [code, status as TaskStatus]),
);

/**
 * Returns the task state that a stored number stands for.
 *
 * @throws RangeError if the number stands for no state.
 */
export function stateOf(code: number): TaskStatus {
  const status = byCode.get(code);
  if (!status) throw new RangeError(`${code} is not a state`);
  return status;
}

/**
 * The condition of the indexes of ended tasks. SQLite uses a partial index only if the query
 * repeats its condition.
 */
export const hasEnded = `status > ${stateCode.running}`;

/** The condition of the indexes that hold all tasks except running ones. */
export const isNotRunning = `status <> ${stateCode.running}`;

/**
 * A condition that is true for every task. With it, SQLite can use an index that begins with the
 * state.
 */
export const inAnyState = `status IN (${Object.values(stateCode).join(', ')})`;
