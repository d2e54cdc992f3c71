import type { NewTask } from '../../../tasks/new-task.js';

/**
 * The index of each value of a task in {@link PackedTasks}. {@link packTasks} writes the values in
 * this order.
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

/** Number of values per task. */
export const packedWidth = Object.keys(packedAt).length;

/**
 * New tasks as one flat list of values, which crosses to the writing thread faster than objects.
 */
export interface PackedTasks {
  /** {@link packedWidth} values for each task. */
  values: readonly (string | number | null)[];
}

/** Packs new tasks into one flat list. */
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
