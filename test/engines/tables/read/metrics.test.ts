import { describe, expect, it } from '@jest/globals';
import {
  readHistograms,
  readMetrics,
  readStatsSnapshot,
} from '../../../../src/engines/tables/read/metrics.js';
import { claimedTask } from '../../../../src/engines/tables/schema/claimed-task.js';
import { type Database, openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import type { Write } from '../../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import type { NewTask } from '../../../../src/tasks/new-task.js';
import { newTaskId } from '../../../../src/tasks/task-id.js';

const now = Date.UTC(2026, 0, 1, 12, 30);

/** Makes a database with one ended and one pending task in each queue. */
async function open(queues: number): Promise<Database> {
  const database = await openDatabase(':memory:');
  layOut(database, ':memory:');
  const writer = new Writer(database);
  const fixed = {
    args: '[]',
    priority: 0,
    tags: {},
    source: 'manual',
    createdAt: now,
    runAt: now,
    attempts: 1,
    interrupts: 0,
  } as const;
  const names = ['a', 'b'].map((name) => [name, undefined] as const);
  const enqueue = (n: number): NewTask => ({
    id: newTaskId(),
    name: n % 2 === 0 ? 'a' : 'b',
    queue: `queue ${n}`,
    ...fixed,
  });
  const store = (claim: boolean) => {
    const tasks = packTasks(Array.from({ length: queues }, (_, n) => enqueue(n)));
    const request = claim ? { owner: 'o', names, limit: queues, at: now } : undefined;
    const writes: Write[] = [{ kind: 'enqueue', tasks }];
    return writer.apply({ writes, claim: request, at: now, wanted: [] }).claimed;
  };
  const writes = store(true)
    .map(claimedTask.unpack)
    .map(({ rowid, attempt }, n): Write => {
      return {
        kind: 'finish',
        rowid,
        owner: 'o',
        attempt,
        at: now + n,
        result: { status: 'success' },
      };
    });
  writer.apply({ writes, claim: undefined, at: now, wanted: [] });
  store(false);
  return database;
}

describe('metrics', () => {
  it('take time in proportion to the number of queues', async () => {
    const [few, many] = [await open(500), await open(5000)];
    const timeOf = (database: Database): number => {
      const times = Array.from({ length: 5 }, () => {
        const before = process.cpuUsage();
        readStatsSnapshot(database, now);
        readMetrics(database, {}, now);
        readMetrics(database, { from: now - 3_600_000, step: 60 }, now + 60_000);
        const { user, system } = process.cpuUsage(before);
        return user + system;
      });
      return times.sort((a, b) => a - b)[2] ?? 0;
    };
    timeOf(few);
    expect(timeOf(many) / timeOf(few)).toBeLessThan(40);
    const { counts, queues, functions } = readMetrics(many, {}, now);
    expect([counts.success, counts.pending, queues.length]).toEqual([5000, 5000, 5000]);
    expect(functions.map(({ name, counts: of }) => [name, of.success])).toEqual([
      ['a', 2500],
      ['b', 2500],
    ]);
    few.close();
    many.close();
  });

  it('count the attempts of a function by duration', async () => {
    const database = await open(1000);
    const [a, b] = readHistograms(database, [0.25, 0.5, 3600]);
    expect(a).toMatchObject({
      name: 'a',
      count: 500,
      counts: [expect.anything(), expect.anything(), 500],
    });
    expect(a?.sum).toBeCloseTo(0.002 * ((499 * 500) / 2), 5);
    expect(b?.name).toBe('b');
    for (const [index, exact] of [125, 250].entries()) {
      expect(Math.abs((a?.counts[index] ?? 0) - exact)).toBeLessThanOrEqual(exact * 0.045 + 1);
    }
    database.close();
  });
});
