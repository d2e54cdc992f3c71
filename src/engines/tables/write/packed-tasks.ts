import type { NewTask } from '../../../tasks/new-task.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import { type Packed, packing } from '../schema/packing.js';
import { tagsOf } from '../schema/rows.js';

/** The values of a new task. */
export interface TaskValues {
  id: string;
  name: string;
  queue: string;
  priority: number;
  tags: string | null;
  /** 1 if a schedule creates the task, otherwise 0. */
  source: number;
  runAt: number;
  deadlineAt: number | null;
  attempts: number;
  interrupts: number;
  args: string;
  schedule: string | null;
  key: string | null;
  keyUntil: number | null;
  waitsFrom: number | null;
}

/**
 * A new task as a list of values, which crosses to the writing thread faster than an object. The
 * table `schedule` stores the task of each schedule in the same form.
 */
export type PackedTask = Packed<TaskValues>;

/**
 * Packs new tasks. Existing files have tasks in this order. The SQL of the columns copies a task
 * for a rerun: ?1 is the id of the copy, ?2 the time, and ?3 the arguments, if they are not those
 * of the task.
 */
export const newTask = packing<TaskValues>({
  id: '?1',
  name: 'name',
  queue: 'queue',
  priority: 'priority',
  tags: 'tags',
  source: '0',
  runAt: '?2',
  deadlineAt: '?2 + deadline_at - run_at',
  attempts: 'attempts',
  interrupts: 'max_interrupts',
  args: 'coalesce(?3, args)',
  schedule: 'NULL',
  key: 'NULL',
  keyUntil: 'NULL',
  waitsFrom: 'NULL',
});

/** Packs a new task. */
export function packTask(task: NewTask): PackedTask {
  const { id, name, queue, priority, runAt, deadlineAt = null, attempts, interrupts, args } = task;
  const { schedule = null, idempotency, waitsFrom = null } = task;
  const tags = tagsText(task.tags);
  const source = task.source === 'scheduled' ? 1 : 0;
  const { key = null, until: keyUntil = null } = idempotency ?? {};
  // Spreads would take a hundred times longer than this list of names.
  return newTask.pack({
    id,
    name,
    queue,
    priority,
    tags,
    source,
    runAt,
    deadlineAt,
    attempts,
    interrupts,
    args,
    schedule,
    key,
    keyUntil,
    waitsFrom,
  });
}

/** Packs new tasks. */
export function packTasks(tasks: readonly NewTask[]): readonly PackedTask[] {
  return tasks.map(packTask);
}

/** Converts stored values to a task. */
export function toNewTask(values: Readonly<Omit<TaskValues, 'source' | 'waitsFrom'>>): NewTask {
  const { id, name, queue, priority, runAt, attempts, interrupts, args } = values;
  const { deadlineAt, schedule, key, keyUntil } = values;
  return {
    ...{ id, name, queue, priority, runAt, attempts, interrupts, args },
    tags: tagsOf(values.tags),
    source: schedule === null ? 'manual' : 'scheduled',
    createdAt: timeOfTaskId(id),
    ...(schedule !== null && { schedule }),
    ...(deadlineAt !== null && { deadlineAt }),
    ...(key !== null && { idempotency: { key, until: keyUntil ?? 0 } }),
  };
}

/** Returns the value of the column `tags`. */
export function tagsText(tags: Readonly<Record<string, string>>): string | null {
  for (const _key in tags) return JSON.stringify(tags);
  return null;
}
