import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Writer } from '../../../src/engines/tables/write/writer.js';
import { TaskManager } from '../../../src/manager.js';
import { taskLog } from '../../../src/tasks/context.js';
import { openBeside } from '../../helpers/beside.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { expectSums } from '../../helpers/sums.js';
import { waitFor } from '../../helpers/wait.js';

describe('retention', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let database: string;
  const fill = async (n: number): Promise<void> => {
    const tasks = new TaskManager({ database, logger: false, concurrency: 100 });
    const talk = tasks.task(
      'talk',
      (fails: boolean) => {
        taskLog('x');
        if (fails) throw new Error('unmistakable');
      },
      { tags: { tenant: '7' } },
    );
    await tasks.start();
    await talk.enqueueMany(Array.from({ length: n }, (_, index) => [index % 3 === 0] as [boolean]));
    await talk.with({ runIn: 3600 }).enqueue(true);
    await waitFor(
      async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 1,
    );
    await waitFor(
      async () => (await tasks.find({ limit: 1, q: 'unmistakable' })).total === Math.ceil(n / 3),
    );
    await tasks.stop();
  };
  const rows = async (): Promise<Record<string, unknown>> => {
    const file = await openBeside(database);
    const count = (table: string): unknown => file.get(`SELECT count(*) AS n FROM ${table}`)?.n;
    const counts = Object.fromEntries(
      ['task', 'attempt', 'log', 'tag', 'failure', 'failure_group', 'tombstone'].map((table) => [
        table,
        count(table),
      ]),
    );
    expectSums(file);
    expect(
      file.get("SELECT count(*) AS n FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
    ).toEqual({ n: 0 });
    file.close();
    return counts;
  };
  beforeEach(() => {
    folder = temporaryFolder();
    database = folder.file('tasks.db');
  });
  afterEach(() => folder.remove());

  it('by age deletes older ended tasks with their data, but no other task', async () => {
    await fill(250);
    // One millisecond, so that all ended tasks are older.
    const tasks = new TaskManager({ database, logger: false, retentionDays: 0.001 / 86_400 });
    await tasks.start({ run: false });
    await waitFor(async () => (await tasks.find({ limit: 1 })).total === 1);
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      pending: 1,
      success: 0,
      failed: 0,
    });
    await tasks.stop();
    expect(await rows()).toEqual({
      task: 1,
      attempt: 0,
      log: 0,
      tag: 1,
      failure: 0,
      failure_group: 0,
      tombstone: 250,
    });
  });

  it('by count keeps the newest tasks', async () => {
    await fill(250);
    const tasks = new TaskManager({ database, logger: false, retentionCount: 20 });
    const newest = (await tasks.find({ limit: 20, sort: '-endedAt' })).items.map(({ id }) => id);
    await tasks.start({ run: false });
    await waitFor(async () => (await tasks.find({ limit: 1 })).total === 21);
    expect(
      (await tasks.find({ limit: 30, sort: '-endedAt' })).items.slice(0, 20).map(({ id }) => id),
    ).toEqual(newest);
    await tasks.stop();
  });

  it('keeps 10,000 failure groups without a task, and all groups with a task', async () => {
    await fill(3);
    const file = await openBeside(database);
    file.exec(`INSERT INTO failure_group WITH RECURSIVE each (n) AS (SELECT 1 UNION ALL SELECT n + 1
      FROM each WHERE n < 10400)
      SELECT printf('%016x', n), 1, 'Error', 'x', 1, n, n, x'00' FROM each`);
    file.exec("UPDATE failure_group SET last_at = 0 WHERE error_message = 'unmistakable'");
    const writer = new Writer(file);
    const at = Date.now();
    for (let n = 0; n < 5; n++)
      writer.apply({
        writes: [{ kind: 'makeSearchable', limit: 1 }],
        claim: undefined,
        at,
        wanted: [],
      });
    expect(file.get('SELECT count(*) AS n FROM failure_group')?.n).toBeLessThanOrEqual(10_000);
    expect(file.get('SELECT count(*) AS n FROM failure_group')?.n).toBeGreaterThan(9_700);
    expect(file.get("SELECT n FROM failure_group WHERE error_message = 'unmistakable'")).toEqual({
      n: 1,
    });
    expect(
      file.get('SELECT min(first_at) AS first FROM failure_group WHERE last_at > 0')?.first,
    ).toBeGreaterThan(400);
    file.close();
  });

  it('is off by default and rejects invalid values', async () => {
    await fill(3);
    expect(await rows()).toMatchObject({ task: 4 });
    expect(() => new TaskManager({ database, retentionDays: 0 })).toThrow(RangeError);
    expect(() => new TaskManager({ database, retentionCount: 1.5 })).toThrow(RangeError);
  });
});
