import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { startOf } from '../../../../src/engines/ended-stats.js';
import { readHistograms, readMetrics } from '../../../../src/engines/tables/read/metrics.js';
import { Reader } from '../../../../src/engines/tables/read/reader.js';
import { claimedTask } from '../../../../src/engines/tables/schema/claimed-task.js';
import { type Database, openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import type { Write, Written } from '../../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import { TaskManager } from '../../../../src/manager.js';
import type { NewTask } from '../../../../src/tasks/new-task.js';
import { taskIds } from '../../../../src/tasks/task-id.js';
import type { Metrics } from '../../../../src/tasks/types.js';
import { temporaryFolder } from '../../../helpers/folder.js';
import { expectSums } from '../../../helpers/sums.js';
import { waitFor } from '../../../helpers/wait.js';

const hour = 3_600_000;
const day = 24 * hour;
const first = Date.UTC(2026, 0, 1);

/** One process on a database, with a clock that the test sets. */
class Real {
  now = first;
  readonly database: Database;
  readonly #writer: Writer;
  readonly #newId = taskIds(() => this.now);

  constructor(database: Database) {
    this.database = database;
    this.#writer = new Writer(database);
  }

  write<K extends Write['kind']>(...writes: Extract<Write, { kind: K }>[]): Written[K] {
    const { outcomes } = this.#writer.apply({ writes, claim: undefined, at: this.now, wanted: [] });
    for (const outcome of outcomes)
      if (outcome && !outcome.ok) throw new Error(outcome.error.message);
    const last = outcomes.at(-1);
    return (last?.ok ? last.value : undefined) as Written[K];
  }

  enqueue(name: string, queue: string): Extract<Write, { kind: 'enqueue' }> {
    const fixed = {
      args: '[]',
      priority: 0,
      tags: {},
      source: 'manual',
      attempts: 1,
      interrupts: 0,
    } as const;
    const task: NewTask = {
      id: this.#newId(),
      name,
      queue,
      createdAt: this.now,
      runAt: this.now,
      ...fixed,
    };
    return { kind: 'enqueue', tasks: packTasks([task]) };
  }

  /**
   * Claims all ready tasks and ends them after a number of milliseconds. Every fifth task fails.
   */
  runAll(ms: number): void {
    const names = ['a', 'b', 'c'].map((name) => [name, undefined] as const);
    const claim = { owner: 'o', names, limit: 100, at: this.now };
    const { claimed } = this.#writer.apply({ writes: [], claim, at: this.now, wanted: [] });
    const error = { name: 'Error', message: 'no', stack: null, fingerprint: 'f'.repeat(16) };
    this.now += ms;
    this.write<'finish'>(
      ...claimed
        .map(claimedTask.unpack)
        .map(({ rowid, attempt }): Extract<Write, { kind: 'finish' }> => {
          const result =
            rowid % 5 === 0 ? { status: 'failed' as const, error } : { status: 'success' as const };
          return { kind: 'finish', rowid, owner: 'o', attempt, at: this.now, result };
        }),
    );
  }

  prune(endedBefore: number): void {
    for (let left = 100; left > 0; left--)
      if (this.write<'prune'>({ kind: 'prune', endedBefore, keep: null, limit: 50 }) < 50) return;
  }

  /** Drops statistics of more than a number of days, as the maintenance of a process does. */
  drop(minuteDays: number, hourDays: number): void {
    const before = {
      minutesBefore: this.now - minuteDays * day,
      hoursBefore: this.now - hourDays * day,
    };
    while (this.write<'dropStatistics'>({ kind: 'dropStatistics', ...before, limit: 20 }) > 0);
    let after: number | null = 0;
    for (let left = 100; after !== null && left > 0; left--)
      after = this.write<'dropPartitions'>({ kind: 'dropPartitions', after, limit: 3 });
  }

  count(table: string): number {
    return Number(this.database.get(`SELECT count(*) AS n FROM ${table}`)?.n);
  }

  metrics(range: Parameters<typeof readMetrics>[1]): Metrics {
    return readMetrics(this.database, range, this.now);
  }
}

describe('statistics', () => {
  let real: Real;
  const open = async (): Promise<void> => {
    const database = await openDatabase(':memory:');
    layOut(database, ':memory:');
    real = new Real(database);
  };
  beforeEach(open);
  afterEach(() => real.database.close());

  /** Runs tasks of several partitions every few hours for a number of days. */
  const live = (days: number, queues = ['x', 'y']): void => {
    const end = real.now + days * day;
    while (real.now < end) {
      for (const [n, queue] of queues.entries())
        real.write<'enqueue'>(real.enqueue(n % 2 === 0 ? 'a' : 'b', queue));
      real.runAll(1500);
      real.now += 5 * hour + 7 * 60_000;
    }
  };
  /** Removes the queues, because those without tasks are dropped. */
  const ofFunctions = ({ queues: _queues, ...rest }: Metrics): unknown => rest;

  it('of a range without its first minutes are those of its hours', () => {
    live(3);
    const range = { from: first + 7 * hour, to: first + 12 * hour, step: 60 };
    const before = real.metrics(range);
    const ofHours = real.metrics({ ...range, step: 3600 });
    expect(before.series.length).toBeGreaterThan(0);
    real.drop(1, 400);
    const after = real.metrics(range);
    expect(after.counts).toEqual(ofHours.counts);
    expect(after.series.map(({ success }) => success)).toEqual(
      ofHours.series.map(({ success }) => success),
    );
    expect(after.durations).toEqual(ofHours.durations);
    // The last day has not changed.
    const recent = { from: startOf('hour', real.now - day), step: 60 };
    expect(real.metrics(recent)).toMatchObject({ series: expect.anything() });
    expect(real.count("rollup WHERE level = 'minute'")).toBe(
      real.metrics(recent).series.length * 2,
    );
  });

  it.each([
    ['minutes', 60],
    ['hours', 3600],
    ['days', 86_400],
  ])('count each task exactly once at the border of %s and longer units', (_unit, step) => {
    live(20);
    const whole = { from: first, to: real.now, step };
    const before = real.metrics(whole);
    real.drop(2, 9);
    const after = real.metrics(whole);
    expect(ofFunctions({ ...after, series: [] })).toEqual(ofFunctions({ ...before, series: [] }));
    expect(after.queues).toEqual(before.queues);
    const ended = after.series.reduce((sum, { success, failed }) => sum + success + failed, 0);
    expect(ended).toBe(before.counts.success + before.counts.failed);
    for (const level of ['minute', 'hour', 'day'])
      expect(real.count(`rollup WHERE level = '${level}'`)).toBeGreaterThan(0);
  });

  it.each([
    [3600, 60],
    [21_600, 300],
    [86_400, 3600],
    [604_800, 14_400],
  ])('of the last %i seconds do not change with the default retention', (seconds, step) => {
    live(12);
    for (const late of [0, 1, 59 * 60_000, 23 * hour]) {
      real.now += late;
      const range = { from: real.now - seconds * 1000, step };
      const before = real.metrics(range);
      real.drop(7, 400);
      expect(real.metrics(range)).toEqual(before);
    }
  });

  it('of an empty partition are dropped with its last hour, but not of its function', () => {
    live(3, ['x', 'gone', 'y']);
    const failures = real.count('failure_group');
    expect(failures).toBe(1);
    real.database.exec(
      "UPDATE failure_group SET partition = (SELECT id FROM partition WHERE queue = 'gone')",
    );
    live(10);
    const before = real.metrics({ from: 0 });
    const histograms = readHistograms(real.database, [1, 2]);
    const days = real.metrics({ from: first, to: real.now, step: 86_400 });
    real.prune(real.now - 8 * day);
    real.drop(2, 6);
    expect(
      real.database
        .all('SELECT DISTINCT queue FROM partition ORDER BY queue')
        .map(({ queue }) => queue),
    ).toEqual(['', 'x', 'y']);
    const after = real.metrics({ from: 0 });
    const functions = (metrics: Metrics): unknown =>
      metrics.functions.map(({ name, counts, durations }) => [name, counts, durations]);
    expect(functions(after)).toEqual(functions(before));
    expect(after.queues.map(({ name }) => name)).toEqual(['x', 'y']);
    expect(readHistograms(real.database, [1, 2])).toEqual(histograms);
    expect(functions(real.metrics({ from: first, to: real.now, step: 86_400 }))).toEqual(
      functions(days),
    );
    expect(new Reader(real.database).describe().queues.map(({ name }) => name)).toEqual(['x', 'y']);
    expect(
      real.database.get(
        'SELECT name FROM failure_group JOIN partition ON partition.id = failure_group.partition',
      ),
    ).toEqual({
      name: 'b',
    });
    expectSums(real.database);
  });

  it('are kept for a partition with a task, however old the task is', () => {
    live(2, ['x', 'old', 'y']);
    real.write<'enqueue'>(real.enqueue('nobody runs it', 'waits'));
    real.now += 100 * day;
    real.prune(real.now - 99 * day);
    live(1);
    real.drop(1, 5);
    expect(
      real.database
        .all('SELECT DISTINCT queue FROM partition ORDER BY queue')
        .map(({ queue }) => queue),
    ).toEqual(['', 'waits', 'x', 'y']);
    expectSums(real.database);
  });

  it('do not mix up partitions if another process uses the id of a deleted one', () => {
    const other = new Real(real.database);
    other.write<'enqueue'>(other.enqueue('a', 'x'));
    other.write<'enqueue'>(other.enqueue('c', 'last'));
    other.runAll(10);
    real.now += 10 * day;
    other.now = real.now;
    real.prune(real.now);
    live(1, ['new']);
    real.drop(1, 5);
    expect(real.count("partition WHERE queue IN ('x', 'last')")).toBe(0);
    other.now = real.now;
    other.write<'enqueue'>(other.enqueue('a', 'x'), other.enqueue('c', 'last'));
    const pending = new Reader(real.database).find({ limit: 10, status: ['pending'] });
    expect(pending.items.map(({ name, queue }) => [name, queue]).sort()).toEqual([
      ['a', 'x'],
      ['c', 'last'],
    ]);
    expectSums(real.database);
  });

  it('include the tasks of the batch that drops them', () => {
    live(1, ['x']);
    real.now += 20 * day;
    real.prune(real.now);
    live(1, ['y']);
    const before = { minutesBefore: real.now - day, hoursBefore: real.now - 5 * day };
    while (real.write<'dropStatistics'>({ kind: 'dropStatistics', ...before, limit: 100 }) > 0);
    real.write(
      real.enqueue('a', 'x'),
      { kind: 'dropPartitions', after: 0, limit: 100 },
      real.enqueue('a', 'x'),
      real.enqueue('b', 'z'),
    );
    expect(
      new Reader(real.database)
        .find({ limit: 10, status: ['pending'] })
        .items.map(({ queue }) => queue),
    ).toEqual(['z', 'x', 'x']);
    expectSums(real.database);
  });

  it('keep the totals of each function, whenever and however often they are dropped', async () => {
    const step = fc.record({
      hours: fc.nat(60),
      tasks: fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('x', 'y', 'z')), {
        maxLength: 4,
      }),
      ms: fc.constantFrom(0, 20, 90_000),
      prune: fc.boolean(),
      drop: fc.option(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 4, max: 8 }))),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        real.database.close();
        await open();
        for (const { hours, tasks, ms, prune, drop } of steps) {
          real.now += hours * hour;
          for (const [name, queue] of tasks) real.write<'enqueue'>(real.enqueue(name, queue));
          real.runAll(ms);
          if (prune) real.prune(real.now - day);
          const read = (): unknown => {
            const whole = real.metrics({ from: first, to: real.now, step: 86_400 });
            const ever = real.metrics({ from: 0, series: false });
            const functions = [whole, ever].map((metrics) =>
              metrics.functions.map(({ name, counts, durations }) => [name, counts, durations]),
            );
            return {
              functions,
              counts: real.metrics({ series: false }).counts,
              series: whole.series,
            };
          };
          const before = read();
          if (drop) real.drop(...drop);
          expect(read()).toEqual(before);
          expect(real.count('task_count WHERE n <= 0')).toBe(0);
          expectSums(real.database);
        }
      }),
      { numRuns: 40, interruptAfterTimeLimit: 30_000 },
    );
  });
});

describe('the options of statistics', () => {
  it('are validated', () => {
    const make = (stats: object) => () => new TaskManager({ database: ':memory:', stats });
    expect(make({ minuteDays: 0.5 })).toThrow(RangeError);
    expect(make({ minuteDays: '7' })).toThrow(TypeError);
    expect(make({ hourDays: 6, minuteDays: 7 })).toThrow(RangeError);
    expect(make({ minutes: 7 })).toThrow(TypeError);
    expect(make({ minuteDays: 500 })).not.toThrow();
  });

  it('decide what a process drops, in addition to expired keys and values', async () => {
    const folder = temporaryFolder();
    const database = folder.file('tasks.db');
    const before = new TaskManager({ database, logger: false });
    const note = before.define('note');
    await note.with({ idempotencyKey: 'k', idempotencyWindow: 0.001 }).enqueue();
    await before.store.increment('counter', 0.001);
    await before.stop();
    const file = await openDatabase(database);
    const today = startOf('day', Date.now());
    const sums = JSON.stringify({
      ended: { success: 1 },
      ran: 1,
      total: 1,
      min: 1,
      max: 1,
      buckets: { 16: 1 },
    });
    file.run(
      "INSERT INTO partition (name, queue, active_at) VALUES ('note', 'gone', ?)",
      today - 9 * day,
    );
    for (const [level, at] of [
      ['minute', today - 3 * day],
      ['hour', today - 9 * day],
      ['hour', today - 3 * day],
      ['day', today - 9 * day],
      ['all', 0],
    ] as const)
      file.run(
        `INSERT INTO rollup (level, at, partition, stats) VALUES (?, ?, (SELECT id FROM partition
          WHERE queue = 'gone'), ?)`,
        level,
        at,
        sums,
      );
    const tasks = new TaskManager({
      database,
      logger: false,
      stats: { minuteDays: 2, hourDays: 4 },
    });
    await tasks.start({ run: false });
    const count = (table: string): unknown => file.get(`SELECT count(*) AS n FROM ${table}`)?.n;
    await waitFor(
      () =>
        count("partition WHERE queue = 'gone'") === 0 &&
        count('idempotency') === 0 &&
        count('shared') === 0,
    );
    expect(
      file
        .all("SELECT level, at - ? AS at FROM rollup WHERE level <> 'all'", today)
        .map((row) => ({ ...row })),
    ).toEqual([
      { level: 'day', at: -9 * day },
      { level: 'hour', at: -3 * day },
    ]);
    expect((await tasks.aggregate('metrics', { from: new Date(0) })).counts.success).toBe(1);
    await tasks.stop();
    file.close();
    folder.remove();
  });
});
