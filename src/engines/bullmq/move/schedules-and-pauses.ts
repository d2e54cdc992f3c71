import type { ChainableCommander } from 'ioredis';
import type { NewTask } from '../../../tasks/new-task.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { Database, Row } from '../../tables/schema/database.js';
import { idOf, toPause } from '../../tables/schema/rows.js';
import { packedAt } from '../../tables/write/packed-tasks.js';
import type { EngineKeys } from '../keys.js';
import type { QueueCatalog } from '../queues/queue-catalog.js';
import type { ScheduleRecord, ScheduleRuns } from '../schedules/schedule-records.js';

/** The schedules and the paused queues of a file. */
export interface SchedulesAndPauses {
  schedules: number;
  queues: number;
  /** Adds all of them to a transaction. */
  write(transaction: ChainableCommander): void;
}

interface Deps {
  database: Database;
  keys: EngineKeys;
  /** Read from Redis before `write` is called. */
  catalog: QueueCatalog;
  /** The time of Redis in Unix milliseconds. */
  now: number;
  /** The limits of tasks that the caller gave, by name. */
  concurrency: ReadonlyMap<string, number>;
}

/** Reads all schedules and paused queues of a file at once, because there are few. */
export function readSchedulesAndPauses(deps: Deps): SchedulesAndPauses {
  const { database, keys, catalog } = deps;
  const schedules = database.all('SELECT * FROM schedule ORDER BY name');
  const pauses = database.all('SELECT queue, at, paused_by, reason FROM paused ORDER BY queue');
  return {
    ...{ schedules: schedules.length, queues: pauses.length },
    write(transaction) {
      for (const row of schedules) writeSchedule(transaction, deps, row);
      for (const row of pauses) {
        const label = String(row.queue);
        transaction.hsetnx(keys.pauses, label, JSON.stringify(toPause(row)));
        // A queue that is added later finds the pause in the hash. No queue has a task yet.
        for (const { queue } of catalog.ofLabel(label))
          transaction.hset(keys.ofQueue(queue, 'meta'), { paused: 1 });
      }
    },
  };
}

/**
 * Stores a schedule, its runs and its next time. The first process that defines the schedule plans
 * its runs. Until then, it does not run, so that no process handles a run without its definition.
 */
function writeSchedule(
  transaction: ChainableCommander,
  { keys, catalog, concurrency, now }: Deps,
  row: Row,
): void {
  const name = String(row.name);
  const template = templateOf(row);
  // The process that defines the schedule overwrites `catchUp` and `overlap`.
  const record: ScheduleRecord = {
    name,
    task: String(row.task),
    rule: String(row.rule),
    catchUp: true,
    overlap: false,
    template,
  };
  transaction.hset(keys.schedules, { [name]: JSON.stringify(record) });
  const set = (field: string, value: string | number): void => {
    transaction.hset(keys.scheduleStates, { [`${field}:${name}`]: value });
  };
  if (typeof row.last_at === 'number') {
    const queue = catalog.queueOf({ ...template, concurrency: concurrency.get(template.name) });
    const last: ScheduleRuns['last'] = { at: row.last_at, id: idOf(row.last_id), queue };
    set('last', JSON.stringify(last));
  }
  set('skipped', Number(row.skipped));
  set('seen', Number(row.undefined_at ?? now));
  if (row.paused_at !== null) {
    const { paused_at: at = null, paused_by = '', pause_reason: reason = null } = row;
    set('pause', JSON.stringify(toPause({ at, paused_by, reason })));
  } else if (typeof row.next_at === 'number') set('next', row.next_at);
}

/** Returns the task of one run. The file stores it as a list of values. */
function templateOf({ template, name: schedule }: Row): NewTask {
  const values = JSON.parse(String(template)) as (string | number | null)[];
  const id = String(values[packedAt.id]);
  const [tags, deadlineAt] = [values[packedAt.tags], values[packedAt.deadlineAt]];
  return {
    ...{
      id,
      name: String(values[packedAt.name]),
      args: String(values[packedAt.args]),
      queue: String(values[packedAt.queue]),
    },
    ...{
      priority: Number(values[packedAt.priority]),
      source: 'scheduled',
      schedule: String(schedule),
    },
    ...{
      tags: typeof tags === 'string' ? (JSON.parse(tags) as Record<string, string>) : {},
      createdAt: timeOfTaskId(id),
    },
    ...{
      runAt: Number(values[packedAt.runAt]),
      attempts: Number(values[packedAt.attempts]),
      interrupts: Number(values[packedAt.interrupts]),
    },
    ...(typeof deadlineAt === 'number' && { deadlineAt }),
  };
}
