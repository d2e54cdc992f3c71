import type { NewTask } from '../../../tasks/new-task.js';

/**
 * Where each value of a task is in {@link PackedTasks}; {@link packTasks} writes them in this
 * order.
 */
export const packedAt = {
  id: 0,
  name: 1,
  queue: 2,
  priority: 3,
  tags: 4,
  source: 5,
  runAt: 6,
  deadlineAt: 7,
  attempts: 8,
  interrupts: 9,
  args: 10,
  schedule: 11,
  key: 12,
  keyUntil: 13,
  waitsFrom: 14,
} as const;

/** How many values of one task there are. */
export const packedWidth = Object.keys(packedAt).length;

/**
 * New tasks as one list of plain values, which crosses to the writing thread sooner than objects.
 */
export interface PackedTasks {
  /** {@link packedWidth} values of each task. */
  values: readonly (string | number | null)[];
}

/** Packs tasks to be stored. */
export function packTasks(tasks: readonly NewTask[]): PackedTasks {
  const values: (string | number | null)[] = [];
  for (const task of tasks) {
    const { id, name, queue, priority, runAt, attempts, interrupts, args } = task;
    values.push(
      id,
      name,
      queue,
      priority,
      tagsText(task.tags),
      task.source === 'scheduled' ? 1 : 0,
      runAt,
      task.deadlineAt ?? null,
    );
    const { schedule = null, idempotency, waitsFrom = null } = task;
    values.push(
      attempts,
      interrupts,
      args,
      schedule,
      idempotency?.key ?? null,
      idempotency?.until ?? null,
      waitsFrom,
    );
  }
  return { values };
}

function tagsText(tags: Readonly<Record<string, string>>): string | null {
  for (const _key in tags) return JSON.stringify(tags);
  return null;
}
