import type { ChainableCommander } from 'ioredis';
import type { NewTask } from '../../../tasks/new-task.js';
import type { Database } from '../../tables/schema/database.js';
import {
  idOf,
  type PauseRow,
  type ScheduleRow,
  schedulePause,
  toPause,
} from '../../tables/schema/rows.js';
import { newTask, toNewTask } from '../../tables/write/packed-tasks.js';
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
  const schedules = database.all<ScheduleRow>('SELECT * FROM schedule ORDER BY name');
  const pauses = database.all<PauseRow>(
    'SELECT queue, at, paused_by, reason FROM paused ORDER BY queue',
  );
  return {
    ...{ schedules: schedules.length, queues: pauses.length },
    write(transaction) {
      for (const row of schedules) writeSchedule(transaction, deps, row);
      for (const row of pauses) {
        const label = row.queue;
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
  row: ScheduleRow,
): void {
  const { name } = row;
  const template = templateOf(row);
  // The process that defines the schedule overwrites `catchUp` and `overlap`.
  const record: ScheduleRecord = {
    name,
    task: row.task,
    rule: row.rule,
    catchUp: true,
    overlap: false,
    template,
  };
  transaction.hset(keys.schedules, { [name]: JSON.stringify(record) });
  const set = (field: string, value: string | number): void => {
    transaction.hset(keys.scheduleStates, { [`${field}:${name}`]: value });
  };
  if (row.last_at !== null && row.last_id !== null) {
    const queue = catalog.queueOf({ ...template, concurrency: concurrency.get(template.name) });
    const last: ScheduleRuns['last'] = { at: row.last_at, id: idOf(row.last_id), queue };
    set('last', JSON.stringify(last));
  }
  set('skipped', row.skipped);
  set('seen', row.undefined_at ?? now);
  const pause = schedulePause(row);
  if (pause) set('pause', JSON.stringify(pause));
  else if (row.next_at !== null) set('next', row.next_at);
}

/** Returns the task of one run. */
function templateOf({ template, name: schedule }: ScheduleRow): NewTask {
  const task = toNewTask(newTask.unpack(JSON.parse(template)));
  return { ...task, source: 'scheduled', schedule };
}
