import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Job, type MinimalJob, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { EngineConnection } from '../../../../src/engines/bullmq/connection/engine-connection.js';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { ChangeNotes } from '../../../../src/engines/bullmq/jobs/change-notes.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { MarkedJobs } from '../../../../src/engines/bullmq/read/marked-jobs.js';
import { TaskBackend } from '../../../../src/engines/bullmq/run/task-backend.js';
import { TaskManager } from '../../../../src/manager.js';
import type { TaskStatus } from '../../../../src/tasks/types.js';
import { failedWhile } from '../../../helpers/marked.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };
const kept = { count: 100 };
const prefix = 'marked';
const keys = engineKeys(prefix);
const states = ['pending', 'success', 'failed', 'cancelled', 'interrupted'] as const;

(hasRedis ? describe : describe.skip)('counts of cancelled and interrupted tasks', () => {
  const forEach = new RedisForEach();
  let queue: Queue;

  beforeEach(() => {
    queue = forEach.keep(
      new Queue('default', { connection: forEach.redis.connection, prefix: `{${prefix}}` }),
    );
  });

  afterEach(() => void jest.restoreAllMocks());

  function manager(retentionCount = 100_000): TaskManager {
    const engine = bullmqEngine({
      connection: forEach.redis.connection,
      prefix,
      logger: false,
      retentionCount,
    });
    const made = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => made.stop({ timeout: 0.1 }) });
    return made;
  }

  /** Expects the counts, the lists, and what a command by filter would find. */
  async function expectEverywhere(
    tasks: TaskManager,
    expected: Partial<Record<TaskStatus, number>>,
  ): Promise<void> {
    const { counts } = await tasks.aggregate('metrics', {});
    const listed = await Promise.all(
      states.map(
        async (status) => (await tasks.find({ status, sort: 'endedAt', limit: 200 })).items.length,
      ),
    );
    const found = await Promise.all(
      (['failed', 'cancelled'] as const).map(
        async (status) =>
          (
            await tasks.control(
              { action: 'delete', filter: { status: [status] } },
              { ...by, dryRun: true },
            )
          ).found?.count,
      ),
    );
    const all = { pending: 0, success: 0, failed: 0, cancelled: 0, interrupted: 0, ...expected };
    expect([counts, listed, found]).toEqual([
      expect.objectContaining(all),
      states.map((state) => all[state]),
      [all.failed, all.cancelled],
    ]);
  }

  async function cancelled(tasks: TaskManager, n: number): Promise<string[]> {
    const task = tasks.define<[string]>('job');
    const ids = await task
      .with({ runIn: 60 })
      .enqueueMany(Array.from({ length: n }, () => ['fail'] as [string]));
    await tasks.control({ action: 'cancel', ids: [...ids] }, by);
    return [...ids];
  }

  /** A backend that ends jobs, as a process does that settles the jobs of one that died. */
  function backendOf(redis: Redis): TaskBackend {
    const connection = forEach.keep(new EngineConnection(redis));
    const changes = new ChangeNotes(redis, keys);
    return TaskBackend.sharing(connection, 'default', {
      redis,
      keys,
      name: 'test',
      changes,
      lockDuration: 20_000,
      kept,
    });
  }

  async function jobOf(id: string | undefined): Promise<Job> {
    const job: Job | undefined = await queue.getJob(id ?? '');
    if (!job) throw new Error('no job');
    return job;
  }

  it('are exact if the retention removes some of the cancelled tasks', async () => {
    const tasks = manager(10);
    await cancelled(tasks, 25);
    await expectEverywhere(tasks, { cancelled: 10 });
    expect(await forEach.client.zcard(keys.marked('default', 'cancelled'))).toBe(10);
  });

  it.each<[string, TaskStatus]>([
    ['fails', 'failed'],
    ['succeeds', 'success'],
  ])(
    'are exact if another program retries a cancelled task, which then %s',
    async (how, status) => {
      const tasks = manager();
      const [first, second] = await cancelled(tasks, 3);
      await (await jobOf(first)).retry('failed');
      await expectEverywhere(tasks, { pending: 1, cancelled: 2 });
      const worker = manager();
      worker.task('job', () => {
        if (how === 'fails') throw new RangeError('really');
      });
      await worker.start();
      await waitFor(async () => (await tasks.get(first ?? ''))?.status === status);
      await expectEverywhere(tasks, { [status]: 1, cancelled: 2 });
      await (await jobOf(second)).remove();
      // Lists show a removed job a little longer.
      expect((await tasks.aggregate('metrics', {})).counts).toMatchObject({
        failed: 0,
        [status]: 1,
        cancelled: 1,
      });
      expect((await tasks.get(first ?? ''))?.error ?? null).toEqual(
        how === 'fails' ? expect.objectContaining({ name: 'RangeError', message: 'really' }) : null,
      );
    },
  );

  it('are exact if a plain BullMQ worker fails a cancelled task again', async () => {
    const tasks = manager();
    const [first] = await cancelled(tasks, 2);
    await (await jobOf(first)).retry('failed');
    const fails = (): never => {
      throw new Error('really');
    };
    forEach.keep(
      new Worker('default', fails, { connection: forEach.redis.connection, prefix: `{${prefix}}` }),
    );
    await waitFor(async () => (await queue.getJobCounts('failed')).failed === 2);
    await expectEverywhere(tasks, { failed: 1, cancelled: 1 });
    expect((await tasks.get(first ?? ''))?.error).toMatchObject({ message: 'really' });
  });

  it('are exact if Redis has lost its scripts when a task is interrupted', async () => {
    const { client } = forEach;
    const backend = backendOf(client);
    const end = async (id: string): Promise<void> => {
      await client.hset(keys.ofQueue('default', id), { name: 'job' });
      await client.rpush(keys.ofQueue('default', 'active'), id);
      await client.set(keys.ofQueue('default', `${id}:lock`), 'token');
      await client.script('FLUSH');
      backend.willEnd(id, {
        status: 'interrupted',
        loggedAs: 'interrupted',
        state: 'failed',
        marker: 'interrupted',
        fields: {},
      });
      const job = { id, opts: { attempts: 1 } } as MinimalJob;
      await backend.moveToFailed(job, 'interrupted', kept, 'token', false);
    };
    await end('first');
    const failed = await failedWhile(client, prefix, async () => {
      for (let n = 0; n < 20; n++) await end(`job-${n}`);
    });
    expect(failed).toEqual([0]);
    expect(await new MarkedJobs(client, keys).count('default')).toEqual({
      failed: 0,
      cancelled: 0,
      interrupted: 21,
    });
  });

  it('keep the marker of another process if a rejected end is not cleaned up', async () => {
    const { client } = forEach;
    await client.hset(keys.ofQueue('default', 'a'), {
      name: 'job',
      finishedOn: 1000,
      tfm: 'interrupted:1000',
    });
    for (const key of [keys.ofQueue('default', 'failed'), keys.marked('default', 'interrupted')])
      await client.zadd(key, 1000, 'a');
    const backend = backendOf(client);
    backend.willEnd('a', {
      status: 'interrupted',
      loggedAs: 'interrupted',
      state: 'failed',
      marker: 'interrupted',
      fields: {},
    });
    // As if this process died once the end was refused: it never gets another answer.
    const asked = jest.spyOn(client, 'hget').mockReturnValue(new Promise(() => undefined));
    const job = { id: 'a', opts: {} } as MinimalJob;
    void backend.moveToFailed(job, 'interrupted', kept, 'expired', false);
    await waitFor(() => asked.mock.calls.length > 0);
    expect(await new MarkedJobs(client, keys).count('default')).toEqual({
      failed: 0,
      cancelled: 0,
      interrupted: 1,
    });
  });

  describe('with thousands of tasks', () => {
    const compared = async (): Promise<number> => {
      const [, calls = '0'] =
        /cmdstat_zscore:calls=(\d+)/.exec(await forEach.client.info('commandstats')) ?? [];
      return Number(calls);
    };

    /** Adds failed jobs with a millisecond between their ends. Every third one has a marker. */
    async function seed(n: number): Promise<void> {
      const script = `
        for n = 1, tonumber(ARGV[2]) do
          redis.call('ZADD', KEYS[1], ARGV[1] + n, n)
          if n % 3 == 0 then redis.call('ZADD', KEYS[2], ARGV[1] + n, n) end
        end`;
      const sets = [keys.ofQueue('default', 'failed'), keys.marked('default', 'cancelled')];
      await forEach.client.eval(script, 2, ...sets, Date.now() - 100_000, n);
    }

    it('are updated by comparing only the markers near a removed job', async () => {
      const { client } = forEach;
      const failed = keys.ofQueue('default', 'failed');
      await seed(9000);
      const marked = new MarkedJobs(client, keys);
      expect(await marked.count('default')).toEqual({
        failed: 6000,
        cancelled: 3000,
        interrupted: 0,
      });
      const before = await compared();
      expect(await marked.count('default')).toEqual({
        failed: 6000,
        cancelled: 3000,
        interrupted: 0,
      });
      expect((await compared()) - before).toBeLessThanOrEqual(500);
      await client.zrem(failed, '3', '4', '5');
      await client.zadd(failed, Date.now(), '9');
      expect(await marked.count('default')).toEqual({
        failed: 5999,
        cancelled: 2998,
        interrupted: 0,
      });
      expect((await compared()) - before).toBeLessThanOrEqual(1500);
    });

    it('stay exact when old, new or scattered jobs are removed or added', async () => {
      const { client } = forEach;
      const failed = keys.ofQueue('default', 'failed');
      await seed(9000);
      const marked = new MarkedJobs(client, keys);
      await marked.count('default');
      const times: ((at: number) => boolean)[] = [
        (at) => at % 90 === 0,
        (at) => at <= 3000,
        (at) => at > 6000,
        () => true,
      ];
      for (const leaves of times) {
        const ids = await client.zrange(failed, '0', '-1');
        await client.zrem(failed, ...ids.filter((id) => leaves(Number(id))));
        const left = ids.filter((id) => !leaves(Number(id)));
        const cancelled = left.filter((id) => Number(id) % 3 === 0).length;
        expect(await marked.count('default')).toEqual({
          failed: left.length - cancelled,
          cancelled,
          interrupted: 0,
        });
      }
      await seed(300);
      expect(await marked.count('default')).toEqual({
        failed: 200,
        cancelled: 100,
        interrupted: 0,
      });
    });

    it('are exact after ten minutes if a removed task hid a new failure', async () => {
      const { client } = forEach;
      const failed = keys.ofQueue('default', 'failed');
      await seed(45_000);
      const marked = new MarkedJobs(client, keys);
      await marked.count('default');
      await client
        .multi()
        .zadd(failed, (await client.zscore(failed, '300')) ?? 0, 'late')
        .zrem(failed, '300')
        .exec();
      const later = Date.now() + 600_001;
      jest.spyOn(Date, 'now').mockImplementation(() => later);
      const before = await compared();
      expect(await marked.count('default')).toEqual({
        failed: 30_001,
        cancelled: 14_999,
        interrupted: 0,
      });
      // One count compares some of the markers. The next one compares the others, and no more.
      const first = (await compared()) - before;
      expect(first).toBeLessThanOrEqual(13_000);
      for (let n = 0; n < 2; n++) await marked.count('default');
      expect((await compared()) - before - first).toBeGreaterThanOrEqual(14_499 - first);
      expect((await compared()) - before).toBeLessThanOrEqual(17_000);
    });

    it('stay exact if only a failed task of the oldest ones is left', async () => {
      const { client } = forEach;
      const sets = [keys.ofQueue('default', 'failed'), keys.marked('default', 'cancelled')];
      await seed(5400);
      const marked = new MarkedJobs(client, keys);
      await marked.count('default');
      const leave = async (...ids: number[]): Promise<void> => {
        for (const key of sets) await client.zrem(key, ...ids);
      };
      await leave(...Array.from({ length: 1500 }, (_, n) => n + 1).filter((n) => n !== 1000));
      expect(await marked.count('default')).toEqual({
        failed: 2601,
        cancelled: 1300,
        interrupted: 0,
      });
      await leave(1503);
      expect(await marked.count('default')).toEqual({
        failed: 2601,
        cancelled: 1299,
        interrupted: 0,
      });
    });
  });
});
