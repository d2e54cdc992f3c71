import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Job, type JobsOptions, Queue, Worker } from 'bullmq';
import { type AttachedQueues, attachQueues } from '../../../../src/engines/bullmq/index.js';
import type { TaskDetail } from '../../../../src/index.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../../helpers/wait.js';

/** Returns a time of a task in Unix milliseconds. */
const at = (time: string | null | undefined): number => Date.parse(time ?? '');

(hasRedis ? describe : describe.skip)(
  'attachQueues with jobs that BullMQ removes when they end',
  () => {
    const removed: JobsOptions = { removeOnComplete: true, removeOnFail: true };
    let redis: RedisServer;
    let queue: Queue;
    let tasks: AttachedQueues;
    const keep = closeAfterEach();
    beforeAll(async () => {
      redis = await RedisServer.start();
    });
    afterAll(() => redis.remove());
    beforeEach(async () => {
      queue = keep(
        new Queue(`gone-${Math.random().toString(36).slice(2)}`, { connection: redis.connection }),
      );
      tasks = keep(attachQueues([queue], { logger: false, keep: 200 }));
      await tasks.find({ limit: 1 });
    });

    const work = (run: (job: Job) => Promise<unknown>): Worker =>
      keep(new Worker(queue.name, run, { connection: redis.connection, concurrency: 100 }));

    /** Adds a job, and waits for its removal without reading any task. */
    async function runs(name: string, options: JobsOptions = {}): Promise<string> {
      const { id = '' } = await queue.add(name, {}, { ...removed, ...options });
      await isRemoved(id);
      return `${queue.name}:${id}`;
    }

    const isRemoved = (id: string): Promise<unknown> =>
      waitFor(async () => (await queue.getJob(id)) === undefined);

    const shown = async (id: string): Promise<TaskDetail> => (await tasks.get(id)) as TaskDetail;

    it('shows when a job was created, started and ended if it was never read', async () => {
      const { id = '' } = await queue.add('slow', {}, removed);
      await sleep(0.02);
      work(() => sleep(0.3));
      await isRemoved(id);
      const { createdAt, startedAt, endedAt, duration, attempt } = await shown(
        `${queue.name}:${id}`,
      );
      expect(at(createdAt)).toBeLessThan(at(startedAt));
      expect(at(startedAt)).toBeLessThan(at(endedAt));
      expect(duration).toBeGreaterThan(0.2);
      expect(duration).toBeLessThan(20);
      expect(attempt).toBe(1);
    });

    it('counts the attempts of a job that was never read', async () => {
      work(async ({ attemptsMade }) => {
        if (attemptsMade < 2) throw new Error('again');
      });
      expect(await shown(await runs('flaky', { attempts: 3 }))).toMatchObject({
        status: 'success',
        attempt: 3,
        error: null,
      });
    });

    it('keeps the details of a job that was read while it waited', async () => {
      const { id = '', timestamp } = await queue.add(
        'urgent',
        {},
        { ...removed, priority: 3, attempts: 4 },
      );
      expect(await shown(`${queue.name}:${id}`)).toMatchObject({ status: 'pending' });
      work(async () => undefined);
      await isRemoved(id);
      const task = await shown(`${queue.name}:${id}`);
      expect(task).toMatchObject({
        name: 'urgent',
        status: 'success',
        priority: -3,
        attempt: 1,
        maxAttempts: 4,
      });
      expect(at(task.createdAt)).toBe(timestamp);
    });

    it('shows the second job with the same id without data of the first', async () => {
      work(async ({ name }) => {
        throw new Error(name === 'bill' ? 'no money' : 'no network');
      });
      const first = await shown(await runs('sync', { jobId: 'job-7' }));
      await sleep(0.02);
      const second = await shown(await runs('bill', { jobId: 'job-7' }));
      expect(second).toMatchObject({
        id: first.id,
        name: 'bill',
        status: 'failed',
        attempt: 1,
        error: { message: 'no money' },
      });
      expect(second.fingerprint).not.toBe(first.fingerprint);
      expect(at(second.createdAt)).toBeGreaterThan(at(first.endedAt));
      expect(at(second.startedAt)).toBeGreaterThan(at(first.endedAt));
      const { items } = await tasks.aggregate('failures');
      expect(items.map(({ fingerprint, count }) => [fingerprint, count])).toEqual(
        expect.arrayContaining([
          [first.fingerprint, 1],
          [second.fingerprint, 1],
        ]),
      );
    });

    it.each([
      ['all', 1],
      ['some', 2],
    ])(
      'counts exactly the tasks that it lists after dropping older ones, if BullMQ removes %s jobs',
      async (_, every) => {
        const size = 40;
        const small = keep(attachQueues([queue], { logger: false, keep: size, history: 10 }));
        await small.find({ limit: 1 });
        await queue.addBulk(
          Array.from({ length: 150 }, (_none, n) => ({
            name: 'quick',
            data: {},
            opts: n % every === 0 ? removed : {},
          })),
        );
        work(async () => undefined);
        await waitFor(async () => (await queue.getJobCountByTypes('wait', 'active')) === 0);
        await sleep(0.05);
        const { success } = (await small.aggregate('statsSnapshot')).counts;
        const { total, items } = await small.find({ limit: 100 });
        expect([total, items.length]).toEqual([success, size]);
        if (every === 1) expect(success).toBe(size);
        for (const sort of ['endedAt', '-endedAt'] as const) {
          const ids: string[] = [];
          for (let cursor: string | undefined | null; cursor !== null; ) {
            const page = await small.find({
              status: ['success'],
              sort,
              limit: 7,
              cursor: cursor ?? undefined,
            });
            expect(page.total).toBe(success);
            ids.push(...page.items.map(({ id }) => id));
            cursor = page.nextCursor;
          }
          expect([ids.length, new Set(ids).size]).toEqual([success, success]);
        }
      },
    );

    it('shows a second job with the id of one that was last read while running', async () => {
      const { passed, open } = gate();
      work(async ({ name }) => (name === 'first' ? passed : undefined));
      await queue.add('first', {}, { ...removed, jobId: 'job-8' });
      await waitFor(async () => (await shown(`${queue.name}:job-8`)).status === 'running');
      const first = await shown(`${queue.name}:job-8`);
      open();
      await isRemoved('job-8');
      const second = await shown(await runs('second', { jobId: 'job-8' }));
      expect(second).toMatchObject({ name: 'second', status: 'success', attempt: 1 });
      expect(at(second.createdAt)).toBeGreaterThan(at(first.startedAt));
    });
  },
);
