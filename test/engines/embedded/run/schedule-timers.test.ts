import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../src/engines/embedded/clock.js';
import type { GroupCommit } from '../../../../src/engines/embedded/group-commit.js';
import {
  createScheduleTimers,
  type ScheduleTimers,
} from '../../../../src/engines/embedded/run/schedule-timers.js';
import { createTransitions } from '../../../../src/engines/embedded/transitions.js';
import { Reader } from '../../../../src/engines/tables/read/reader.js';
import { type Database, openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import type { Write } from '../../../../src/engines/tables/write/batch.js';
import { packTask } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import type { Schedule } from '../../../../src/tasks/new-task.js';
import { newTaskId } from '../../../../src/tasks/task-id.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

const step = 100;

/** Makes a schedule that each process counts from another time, as after a start. */
function everyTenth(name: string): Schedule {
  const from = Date.now();
  return {
    name,
    task: 'tick',
    rule: 'every 0.1',
    catchUp: true,
    overlap: true,
    next: (after, last = from) => last + (Math.floor((after - last) / step) + 1) * step,
    prepare: () => {
      const now = Date.now();
      const id = newTaskId();
      return {
        id,
        name: 'tick',
        args: '[]',
        queue: 'default',
        priority: 0,
        tags: {},
        source: 'scheduled',
        createdAt: now,
        runAt: now,
        attempts: 1,
        interrupts: 0,
        schedule: name,
      };
    },
  };
}

describe('schedules', () => {
  let database: Database;
  let reader: Reader;
  let timers: ScheduleTimers[];
  /** Whether writes fail, and the number of failed writes. */
  let broken: boolean;
  let failures: number;
  let fires: number;
  /** Called once after the next write. */
  let afterWrite: (() => void) | undefined;
  let log: ReturnType<typeof recordingLogger>;

  beforeEach(async () => {
    database = await openDatabase(':memory:');
    layOut(database, ':memory:');
    reader = new Reader(database);
    timers = [];
    [broken, failures, fires, afterWrite] = [false, 0, 0, undefined];
    log = recordingLogger();
  });
  afterEach(() => {
    for (const each of timers) each.stop();
    database.close();
  });

  /**
   * Makes the timers of one process on the shared database. The test can let their writes fail.
   * With `hearsFirst`, a change is reported to them before the write is answered.
   */
  const process = (schedule: Schedule, hearsFirst = false): ScheduleTimers => {
    const writer = new Writer(database);
    const submit = async (write: Write): Promise<unknown> => {
      if (broken) {
        failures += 1;
        throw new Error('the database is locked');
      }
      if (write.kind === 'fire') fires += 1;
      const [outcome] = writer.apply({
        writes: [write],
        claim: undefined,
        at: Date.now(),
        wanted: ['pending'],
      }).outcomes;
      afterWrite?.();
      afterWrite = undefined;
      if (hearsFirst) made.refresh();
      if (outcome && !outcome.ok) throw new Error(outcome.error.message);
      return outcome?.value;
    };
    const made = createScheduleTimers({
      clock: systemClock,
      logger: log.logger,
      transitions: createTransitions(log.logger),
      wake: () => {},
    });
    timers.push(made);
    made.add(schedule);
    made.start({ reader, commits: { submit } as unknown as GroupCommit });
    return made;
  };
  const runs = (): number => reader.find({ limit: 1, schedule: 'ticking' }).total;

  it('recover after a failure of the database, which is logged', async () => {
    process(everyTenth('ticking'));
    await waitFor(() => runs() >= 1);
    broken = true;
    await waitFor(() => failures > 0);
    const before = runs();
    broken = false;
    await waitFor(() => runs() >= before + 2);
    expect(log.lines.some(({ msg }) => msg === 'storing a scheduled task failed')).toBe(true);
  });

  it('are planned later if planning fails at the start', async () => {
    broken = true;
    process(everyTenth('ticking'));
    await waitFor(() => failures > 0);
    broken = false;
    await waitFor(() => runs() >= 1);
  });

  it('are planned again if their row is deleted before it was read', async () => {
    afterWrite = () => database.run('DELETE FROM schedule');
    process(everyTenth('ticking'));
    await waitFor(() => runs() >= 1);
  });

  it('write once for each run, even if a change is reported before the answer', async () => {
    process(everyTenth('ticking'), true);
    await waitFor(() => runs() >= 10);
    expect(fires).toBeLessThanOrEqual(runs() + 1);
  });

  it('cause each run once, at full rate, if three processes wait for it', async () => {
    for (let n = 0; n < 3; n++) {
      process(everyTenth('ticking'));
      await sleep(0.03);
    }
    await waitFor(() => runs() >= 1);
    const [before, started] = [runs(), Date.now()];
    await sleep(1);
    const expected = (Date.now() - started) / step;
    expect(runs() - before).toBeLessThanOrEqual(expected + 1);
    expect(runs() - before).toBeGreaterThanOrEqual(expected / 2);
  });

  it('do not run twice for a plan that another process has already fired', () => {
    const writer = new Writer(database);
    const apply = (write: Write) =>
      writer.apply({ writes: [write], claim: undefined, at: Date.now(), wanted: [] }).outcomes[0];
    const schedule = everyTenth('often');
    const at = Date.now();
    const dueAt = at + 5;
    const plan = (nextAt: number): Write => ({
      ...{ kind: 'plan', name: 'often', task: 'tick', rule: schedule.rule, nextAt, at },
      template: packTask(schedule.prepare()),
    });
    const fire = (): Write => ({
      ...{
        kind: 'fire',
        name: 'often',
        dueAt,
        nextAt: dueAt + step,
        overlap: true,
        skip: false,
        newId: newTaskId(),
        at: dueAt,
      },
    });
    apply(plan(dueAt));
    apply(fire());
    // A starting process planned at the same time, but its write came later.
    apply(plan(at + step));
    expect(database.get("SELECT next_at FROM schedule WHERE name = 'often'")).toEqual({
      next_at: dueAt + step,
    });
    apply(fire());
    expect(database.all('SELECT rowid FROM task')).toHaveLength(1);
  });
});
