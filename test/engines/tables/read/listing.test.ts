import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { listTasks } from '../../../../src/engines/tables/read/listing.js';
import { readMetrics, readStatsSnapshot } from '../../../../src/engines/tables/read/metrics.js';
import { Reader } from '../../../../src/engines/tables/read/reader.js';
import { claimedTask } from '../../../../src/engines/tables/schema/claimed-task.js';
import {
  type Database,
  openDatabase,
  type SqlValue,
} from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import type { Write } from '../../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import type { TaskQuery } from '../../../../src/tasks/engine-queries.js';
import type { NewTask } from '../../../../src/tasks/new-task.js';
import { newTaskId } from '../../../../src/tasks/task-id.js';
import { taskStatuses } from '../../../../src/tasks/types.js';

const now = Date.now();

/** Makes a task that is ready to run. */
function newTask(rest: Partial<NewTask>): NewTask {
  const fixed = {
    args: '[]',
    queue: 'default',
    priority: 0,
    source: 'manual' as const,
    createdAt: now,
    runAt: now,
    attempts: 1,
    interrupts: 0,
  };
  return { id: newTaskId(), name: 'a', tags: {}, ...fixed, ...rest };
}

let database: Database;
/** The plans of all queries since the last reset. */
let plans: string[] = [];

/** Wraps a database to record the plan of each query. */
function explaining(inner: Database): Database {
  const explain = (sql: string, values: SqlValue[]): void => {
    for (const { detail } of inner.all(`EXPLAIN QUERY PLAN ${sql}`, ...values))
      plans.push(String(detail));
  };
  return {
    ...inner,
    get: (sql, ...values) => {
      explain(sql, values);
      return inner.get(sql, ...values);
    },
    all: (sql, ...values) => {
      explain(sql, values);
      return inner.all(sql, ...values);
    },
  };
}

beforeAll(async () => {
  database = await openDatabase(':memory:');
  layOut(database, ':memory:');
  const writer = new Writer(database);
  const write = (...writes: Write[]) =>
    writer.apply({ writes, claim: undefined, at: now, wanted: [] });
  const names = ['a', 'b'].map((name) => [name, undefined] as const);
  for (let n = 0; n < 200; n++) {
    const task = newTask({
      name: n % 2 === 0 ? 'a' : 'b',
      queue: n % 3 === 0 ? 'bulk' : 'default',
      tags: { tenant: String(n % 4) },
    });
    write({ kind: 'enqueue', tasks: packTasks([task]) });
    if (n % 10 === 0) continue;
    const { claimed } = writer.apply({
      writes: [],
      claim: { owner: 'o', names, limit: 1, at: now },
      at: now,
      wanted: [],
    });
    const error = {
      name: 'Error',
      message: `mastodon ${n}`,
      stack: null,
      fingerprint: `f${n % 3}`,
    };
    const result =
      n % 4 === 0 ? { status: 'failed' as const, error } : { status: 'success' as const };
    for (const { rowid, attempt } of claimed.map(claimedTask.unpack))
      write({ kind: 'finish', rowid, owner: 'o', attempt, at: now + n, result });
  }
  write({ kind: 'makeSearchable', limit: 1000 });
});
afterAll(() => database.close());

const queries: [string, Partial<TaskQuery>][] = [
  ['everything', {}],
  ['a state', { status: ['failed'] }],
  ['several states', { status: ['failed', 'success', 'running'] }],
  ['a name', { name: 'a' }],
  ['a queue and a state', { queue: 'bulk', status: ['pending'] }],
  ['a tag', { tags: [{ key: 'tenant', value: '1' }] }],
  ['any value of a tag', { tags: [{ key: 'tenant' }] }],
  ['a tag and a state', { tags: [{ key: 'tenant', value: '1' }], status: ['success'] }],
  ['a fingerprint', { fingerprint: 'f1' }],
  ['a fingerprint and a state', { fingerprint: 'f1', status: ['failed', 'pending'] }],
  ['a fingerprint and a queue', { fingerprint: 'f1', queue: 'bulk' }],
  ['a schedule', { schedule: 'nightly' }],
  ['a period', { from: now - 1000, to: now + 1000 }],
  ['a word', { text: 'mastodon' }],
  ['a word and a state', { text: 'mastodon', status: ['failed'] }],
  ['a tag in words', { text: 'tenant:1' }],
  ['the value of a tag', { text: '1' }],
  ['the prefix of an id', { text: '0190' }],
];
const sorts: Partial<TaskQuery>[] = [
  {},
  { order: 'ascending' },
  ...(['startedAt', 'endedAt', 'duration', 'name', 'status'] as const).flatMap((sort) => [
    { sort },
    { sort, order: 'ascending' as const },
  ]),
];

/**
 * Returns the steps of plans that scan a whole table. Partitions, schedules and counts are few, and
 * a page is sorted in memory.
 */
function costly(details: readonly string[]): string[] {
  return details.filter((detail) =>
    /^SCAN (task|tag|attempt|log|rollup|shared_log|shared)\b(?! USING)/.test(detail),
  );
}

describe.each(queries)('a list of %s', (_name, query) => {
  it.each(sorts)('that is sorted by %j reads pages from an index, without repeats', (sort) => {
    plans = [];
    const seen: string[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const page = listTasks(explaining(database), { ...query, ...sort, limit: 7, after });
      seen.push(...page.items.map(({ id }) => id));
      after = page.next ?? undefined;
      pages += 1;
      if (after === undefined)
        expect([seen.length, page.totalRelation]).toEqual([page.total, 'eq']);
    } while (after !== undefined && pages < 100);
    expect(costly(plans)).toEqual([]);
    expect(new Set(seen).size).toBe(seen.length);
  });
});

describe('any other read', () => {
  it('uses an index', () => {
    plans = [];
    const explained = explaining(database);
    const reader = new Reader(explained);
    const [first] = listTasks(database, { limit: 1 }).items;
    reader.get(first?.id ?? '');
    reader.logs(first?.id ?? '', {});
    reader.changes(0);
    reader.describe();
    reader.owners();
    reader.toCancel('o');
    reader.hasUnsearchable();
    readStatsSnapshot(explained, now);
    readMetrics(explained, { from: now - 86_400_000 }, now);
    readMetrics(explained, {}, now);
    expect(costly(plans)).toEqual([]);
    expect(plans.length).toBeGreaterThan(10);
  });

  it('returns the same counts by state as the list', () => {
    const { counts } = readStatsSnapshot(database, now);
    for (const status of taskStatuses)
      expect([status, counts[status]]).toEqual([
        status,
        listTasks(database, { limit: 1, status: [status] }).total,
      ]);
  });
});

describe('a list of rare tasks among many', () => {
  it('finds all of them in pages that each examine a limited number of tasks', async () => {
    const large = await openDatabase(':memory:');
    layOut(large, ':memory:');
    const writer = new Writer(large);
    const rare = new Set<string>();
    for (let batch = 0; batch < 12; batch++) {
      const tasks = Array.from({ length: 1000 }, (_, n): NewTask => {
        const id = newTaskId();
        const isRare = n === 7 && batch % 4 === 0;
        if (isRare) rare.add(id);
        return newTask({ id, tags: { all: 'yes', ...(isRare && { rare: 'yes' }) } });
      });
      writer.apply({
        writes: [{ kind: 'enqueue', tasks: packTasks(tasks) }],
        claim: undefined,
        at: now,
        wanted: [],
      });
    }
    const found: string[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const page = listTasks(large, {
        tags: [{ key: 'all', value: 'yes' }, { key: 'rare' }],
        limit: 50,
        after,
      });
      expect(page.totalRelation).toBe('gte');
      found.push(...page.items.map(({ id }) => id));
      after = page.next ?? undefined;
      pages += 1;
    } while (after !== undefined);
    expect(found).toEqual([...rare].sort().reverse());
    expect(pages).toBe(3);
    expect(listTasks(large, { tags: [{ key: 'all', value: 'yes' }], limit: 1 })).toMatchObject({
      total: 10_000,
      totalRelation: 'gte',
    });
    large.close();
  });
});

describe('a list of rare tasks that is sorted by a value', () => {
  it('keeps its order across pages with several states', async () => {
    const large = await openDatabase(':memory:');
    layOut(large, ':memory:');
    const writer = new Writer(large);
    const names = [['a', undefined]] as const;
    for (let batch = 0; batch < 14; batch++) {
      const tasks = Array.from({ length: 1000 }, (_, n) =>
        newTask({ tags: n % 250 === 3 ? { rare: 'yes' } : {} }),
      );
      writer.apply({
        writes: [{ kind: 'enqueue', tasks: packTasks(tasks) }],
        claim: undefined,
        at: now,
        wanted: [],
      });
      const { claimed } = writer.apply({
        writes: [],
        claim: { owner: 'o', names, limit: 1000, at: now },
        at: now,
        wanted: [],
      });
      const error = { name: 'Error', message: 'no', stack: null, fingerprint: 'f' };
      // One state has many more tasks than a page examines, and the other has fewer.
      const finishes = claimed.map(claimedTask.unpack).map(({ rowid, attempt }, index): Write => {
        const failed = (batch + index) % 7 === 0;
        const ms = (index * 7919 + batch * 104_729) % 90_000;
        const result = failed
          ? { status: 'failed' as const, error }
          : { status: 'success' as const };
        return { kind: 'finish', rowid, owner: 'o', attempt, at: now + ms, result };
      });
      writer.apply({ writes: finishes, claim: undefined, at: now, wanted: [] });
    }
    for (const order of ['descending', 'ascending'] as const) {
      const found: number[] = [];
      const ids = new Set<string>();
      let after: string | undefined;
      do {
        const page = listTasks(large, {
          tags: [{ key: 'rare' }],
          sort: 'duration',
          order,
          limit: 50,
          after,
        });
        for (const { id, duration } of page.items) {
          found.push(duration ?? -1);
          ids.add(id);
        }
        after = page.next ?? undefined;
      } while (after !== undefined);
      expect(found).toHaveLength(56);
      expect(ids.size).toBe(56);
      const turn = order === 'ascending' ? 1 : -1;
      expect(found).toEqual([...found].sort((a, b) => turn * (a - b)));
    }
    large.close();
  });
});
