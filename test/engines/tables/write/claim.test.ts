import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { claimedTask } from '../../../../src/engines/tables/schema/claimed-task.js';
import { type Database, openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import { idOf } from '../../../../src/engines/tables/schema/rows.js';
import type { BatchResult, Claim, Write } from '../../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import type { NewTask } from '../../../../src/tasks/new-task.js';
import { taskIds } from '../../../../src/tasks/task-id.js';
import { expectSums } from '../../../helpers/sums.js';

const now = 1_800_000_000_000;

describe('a claim', () => {
  let database: Database;
  let writer: Writer;
  let newId: () => string;
  const open = async (): Promise<void> => {
    database = await openDatabase(':memory:');
    layOut(database, ':memory:');
    writer = new Writer(database);
    newId = taskIds(() => now);
  };
  beforeEach(open);
  afterEach(() => database.close());

  const newTask = (task: Partial<NewTask>): NewTask => {
    const rest = {
      args: '[]',
      queue: 'default',
      priority: 0,
      tags: {},
      source: 'manual',
      createdAt: now,
      runAt: now,
      attempts: 1,
    } as const;
    return { id: newId(), name: 'a', interrupts: 0, ...rest, ...task };
  };
  const enqueue = (tasks: Partial<NewTask>[]): Write => ({
    kind: 'enqueue',
    tasks: packTasks(tasks.map(newTask)),
  });
  const apply = (writes: Write[], claim?: Partial<Claim>): BatchResult => {
    const request = claim && {
      owner: 'o',
      names: [['a', undefined]] as const,
      limit: 10,
      at: now,
      ...claim,
    };
    const result = writer.apply({ writes, claim: request, at: now, wanted: [] });
    expect(result.outcomes.filter((outcome) => outcome && !outcome.ok)).toEqual([]);
    return result;
  };
  const finish = (claimed: BatchResult['claimed'], retryIn?: number): Write[] =>
    claimed.map(claimedTask.unpack).map(({ rowid, attempt }) => {
      const error = { name: 'Error', message: 'no', stack: null, fingerprint: 'f' };
      return {
        kind: 'finish',
        rowid,
        owner: 'o',
        attempt,
        at: now,
        result:
          retryIn === undefined ? { status: 'success' } : { status: 'failed', error, retryIn },
      };
    });

  it('starts no task before its due time, even if the claim is older than the task', () => {
    const clock = Date.now();
    apply(
      [
        enqueue([
          { createdAt: clock - 500, runAt: clock - 500 },
          { createdAt: clock - 2000, runAt: clock - 2000 },
        ]),
      ],
      { at: clock - 1000 },
    );
    const rows = database.all('SELECT started_at AS started FROM task ORDER BY id');
    expect(rows.map(({ started }) => started)).toEqual([clock - 500, clock - 1000]);
  });

  it('takes the first tasks in the order of all ready tasks, across all partitions', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const task = fc.record({
      name: fc.constantFrom(...names, 'of another process'),
      queue: fc.nat(40).map((n) => `queue ${n}`),
      priority: fc.constantFrom(0, 0, 0, 1, -1),
      runAt: fc.constantFrom(now, now, now, now + 1000),
    });
    const step = fc.record({
      tasks: fc.array(task, { maxLength: 120 }),
      paused: fc.array(fc.tuple(fc.nat(40), fc.boolean()), { maxLength: 5 }),
      limit: fc.constantFrom(1, 2, 10, 60),
      retryIn: fc.constantFrom(undefined, 0, 1000),
      together: fc.boolean(),
    });
    const limits = new Map(
      names.map((name, n): [string, number | undefined] => [name, n < 2 ? undefined : n * 2]),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        database.close();
        await open();
        let running: BatchResult['claimed'] = [];
        for (const { tasks, paused, limit, retryIn, together } of steps) {
          const pauses = paused.map(
            ([n, on]): Write => ({
              kind: 'pauseQueue',
              queue: `queue ${n}`,
              paused: on,
              by: 'test',
              at: now,
            }),
          );
          // Half of the running tasks continue, so that the limits of names matter.
          const half = Math.ceil(running.length / 2);
          const writes = [enqueue(tasks), ...pauses, ...finish(running.slice(0, half), retryIn)];
          running = running.slice(half);
          const request = { names: [...limits], limit };
          if (!together) apply(writes);
          const expected = together ? undefined : firstOf(limits, limit);
          const { claimed } = apply(together ? writes : [], request);
          const ids = claimed.map((row) => idOf(claimedTask.unpack(row).id));
          expect(ids).toEqual(expected ?? firstOf(limits, limit, ids));
          running = [...running, ...claimed];
          expectSums(database);
        }
      }),
      { numRuns: 60, interruptAfterTimeLimit: 40_000 },
    );
  });

  /** Returns the first of all ready tasks by sorting them. `taken` still count as ready. */
  function firstOf(
    limits: ReadonlyMap<string, number | undefined>,
    limit: number,
    taken: readonly string[] = [],
  ): string[] {
    const rows = database.all<{ id: Uint8Array; name: string; status: number }>(
      `SELECT task.id, name, status FROM task JOIN partition ON partition.id = task.partition
       WHERE queue NOT IN (SELECT queue FROM paused) AND ready_at IS NULL AND status IN (0, 1)
         ORDER BY priority DESC, task.id`,
    );
    const runs = database.all<{ id: Uint8Array; name: string }>(
      `SELECT task.id, name FROM task JOIN partition ON partition.id = task.partition
        WHERE status = 1`,
    );
    const room = new Map(limits);
    for (const { id, name } of runs) {
      const left = room.get(name);
      if (left !== undefined && !taken.includes(idOf(id))) room.set(name, left - 1);
    }
    const found: string[] = [];
    for (const { id, name, status } of rows) {
      const wasReady = status === 0 || taken.includes(idOf(id));
      if (!wasReady || found.length === limit || !limits.has(name)) continue;
      const left = room.get(name) ?? Number.POSITIVE_INFINITY;
      if (left <= 0) continue;
      if (left !== Number.POSITIVE_INFINITY) room.set(name, left - 1);
      found.push(idOf(id));
    }
    return found;
  }

  it('makes a limited number of tasks ready, the first due first, and asks for more', () => {
    apply([
      enqueue(
        Array.from({ length: 2500 }, (_, n) => ({ runAt: now + 1 + n, queue: `queue ${n % 7}` })),
      ),
    ]);
    const at = now + 10_000;
    const left = (): unknown =>
      database.get('SELECT count(*) AS n FROM task WHERE ready_at IS NOT NULL')?.n;
    const first = apply([], { at, limit: 1 });
    expect([left(), first.claimed.length, first.nextDue]).toEqual([1500, 1, now + 1001]);
    expect(apply([], { at, limit: 1 }).nextDue).toBe(now + 2001);
    expect(apply([], { at, limit: 1 }).nextDue).toBeNull();
    expect(apply([], { at, limit: 5000 }).claimed.length).toBe(2497);
    expectSums(database);
  });

  it('ends a limited number of tasks after their deadline, and asks for more', () => {
    apply([enqueue(Array.from({ length: 2500 }, () => ({ deadlineAt: now + 5 })))]);
    apply([enqueue([{ name: 'a' }])]);
    const at = now + 10;
    let ended = 0;
    let calls = 0;
    for (;;) {
      const { claimed, expired, more } = apply([], { at, limit: 10 });
      calls += 1;
      ended += expired.length;
      expect(expired.length).toBeLessThanOrEqual(1010);
      if (claimed.length > 0) {
        expect(more).toBe(false);
        break;
      }
      expect(more).toBe(true);
    }
    expect([calls, ended]).toEqual([3, 2500]);
    expectSums(database);
  });
});
