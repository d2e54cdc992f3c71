import type { NewTask } from '../../../tasks/engine.js';

/** A task that is stored, as plain values in the order of the columns they go into: they cross to the writing thread cheaply. */
export interface PackedTasks {
  /** Of each task {@link packedWidth} values. */
  values: readonly (string | number | null)[];
}

/** Values of one task in {@link PackedTasks}. */
export const packedWidth = 15;
/** Where among them some are. */
export const packedAt = {
  id: 0,
  name: 1,
  queue: 2,
  priority: 3,
  tags: 4,
  runAt: 6,
  deadlineAt: 7,
  attempts: 8,
  interrupts: 9,
  args: 10,
  key: 12,
  keyUntil: 13,
  waitsFrom: 14,
} as const;

/** Packs tasks to be stored. */
export function packTasks(tasks: readonly NewTask[]): PackedTasks {
  const values: (string | number | null)[] = [];
  for (const task of tasks) {
    values.push(
      task.id,
      task.name,
      task.queue,
      task.priority,
      tagsText(task.tags),
      task.source === 'scheduled' ? 1 : 0,
      task.runAt,
      task.deadlineAt ?? null,
      task.attempts,
      task.interrupts,
      task.args,
      task.schedule ?? null,
      task.idempotency?.key ?? null,
      task.idempotency?.until ?? null,
      task.waitsFrom ?? null,
    );
  }
  return { values };
}

function tagsText(tags: Readonly<Record<string, string>>): string | null {
  for (const _key in tags) return JSON.stringify(tags);
  return null;
}
