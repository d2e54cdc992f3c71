import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import Koa from 'koa';
import {
  type AttachedQueues,
  type AttachOptions,
  attachQueues,
} from '../../../../src/engines/bullmq/index.js';
import { type FindQuery, taskAdmin } from '../../../../src/index.js';
import { ask } from '../../../helpers/client.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { serve } from '../../../helpers/serve.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the lists and logs of attachQueues', () => {
  let redis: RedisServer;
  let client: Redis;
  let queue: Queue;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
    client = new Redis(redis.connection);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.remove();
  });
  const open = (): Queue =>
    keep(
      new Queue(`list-${Math.random().toString(36).slice(2)}`, { connection: redis.connection }),
    );
  beforeEach(() => {
    queue = open();
  });

  const attach = (
    queues: readonly Queue[] = [queue],
    options: AttachOptions = {},
  ): AttachedQueues => keep(attachQueues(queues, { logger: false, ...options }));

  const work = (run: (job: Job) => Promise<unknown>): Worker =>
    keep(new Worker(queue.name, run, { connection: redis.connection }));

  /** Returns the ids of a list from all of its pages, at most `most` of them. */
  async function pagesOf(tasks: AttachedQueues, query: FindQuery, most: number): Promise<string[]> {
    const ids: string[] = [];
    for (let cursor: string | undefined | null; cursor !== null && ids.length < most; ) {
      const page = await tasks.find({ ...query, cursor: cursor ?? undefined });
      ids.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    return ids;
  }

  /** Writes jobs to the completed set that all ended in the same millisecond. */
  async function addEnded(to: Queue, amount: number, endedAt: number): Promise<string[]> {
    const ids = Array.from(
      { length: amount },
      (_, n) => `${n % 2 === 0 ? '\u{1f4a7}' : '\uff5e'}${n}`,
    );
    const multi = client.multi();
    for (const id of ids) {
      const times = { timestamp: endedAt - 20, processedOn: endedAt - 10, finishedOn: endedAt };
      multi.hset(to.toKey(id), {
        name: 'past',
        data: '{}',
        opts: '{}',
        returnvalue: '1',
        ...times,
      });
      multi.zadd(to.toKey('completed'), endedAt, id);
    }
    await multi.exec();
    return ids.map((id) => `${to.name}:${id}`);
  }

  it.each([
    [1, '-endedAt'],
    [2, 'endedAt'],
  ] as const)(
    'list every job, %i per page, if hundreds ended in the same millisecond, by %s',
    async (limit, sort) => {
      const endedAt = Date.now() - 60_000;
      const [other, older] = [open(), open()];
      const ids = [
        ...(await addEnded(queue, 110 * limit, endedAt)),
        ...(await addEnded(other, 30, endedAt)),
        ...(await addEnded(older, 3, endedAt - 1)),
      ];
      const tasks = attach([queue, other, older], { history: 0 });
      const listed = await pagesOf(tasks, { status: 'success', sort, limit }, 2 * ids.length);
      expect(listed).toHaveLength(ids.length);
      expect(new Set(listed)).toEqual(new Set(ids));
    },
  );

  it('find a job by an id of 300 characters or of the maximum length', async () => {
    const tasks = attach();
    const app = new Koa();
    app.use(taskAdmin(tasks, { auth: null, logger: false }));
    const { url } = keep(await serve(app));
    for (const length of [300, 4096 - queue.name.length - 1]) {
      const jobId = 'i'.repeat(length);
      await queue.add('long', {}, { jobId });
      const id = `${queue.name}:${jobId}`;
      for (const q of [jobId, id]) {
        expect((await tasks.find({ q })).items).toMatchObject([{ id }]);
        expect((await ask(`${url}/tasks?q=${q}`)).json).toMatchObject({
          items: [{ id }],
          total: 1,
        });
      }
    }
  });

  it('find a job by its id only if it matches every other filter', async () => {
    await queue.upsertJobScheduler('nightly', { pattern: '0 3 * * *' }, { name: 'report' });
    const [next] = await queue.getDelayed();
    const { id: jobId = '' } = await queue.add('mail', {}, { jobId: 'order-7' });
    work(async () => {
      throw new Error('no address');
    });
    await waitFor(async () => (await queue.getFailedCount()) === 1);
    const tasks = attach();
    const [mail, report] = [jobId, next?.id].map((id) => `${queue.name}:${id}`);
    const { fingerprint } = (await tasks.find({ q: jobId })).items[0] ?? {};
    const found = async (query: FindQuery): Promise<string[]> =>
      (await tasks.find(query)).items.map(({ id }) => id);
    const schedule = `${queue.name}:nightly`;
    expect(
      await found({
        q: mail,
        status: 'failed',
        name: 'mail',
        queue: queue.name,
        fingerprint: String(fingerprint),
      }),
    ).toEqual([mail]);
    expect(await found({ q: report, schedule })).toEqual([report]);
    const others: FindQuery[] = [
      ...[
        { status: 'success' } as const,
        { name: 'report' },
        { queue: 'other' },
        { tag: 'vip' },
        { schedule },
      ],
      ...[{ fingerprint: '0'.repeat(16) }, { to: '-1h' }],
    ];
    for (const filter of others) expect(await found({ ...filter, q: mail })).toEqual([]);
    expect(await found({ q: report, schedule: `${queue.name}:other` })).toEqual([]);
  });

  it('list jobs by name over several pages, whatever the length of the names', async () => {
    await queue.addBulk(['ä', 'ö', 'ü'].map((letter) => ({ name: letter.repeat(400), data: {} })));
    const listed = await pagesOf(attach(), { sort: 'name', limit: 1 }, 4);
    expect(new Set(listed).size).toBe(3);
  });

  it('return the log lines of all attempts, whichever attempt is requested', async () => {
    const { id: jobId = '' } = await queue.add('flaky', {}, { attempts: 2 });
    work(async (job) => {
      await job.log(`started attempt ${job.attemptsMade + 1}`);
      if (job.attemptsMade === 0) throw new Error('not this time');
    });
    await waitFor(async () => (await queue.getCompletedCount()) === 1);
    const tasks = attach();
    const id = `${queue.name}:${jobId}`;
    const messages = ['started attempt 1', 'started attempt 2'];
    for (const attempt of [1, 2]) {
      const lines = await tasks.logs(id, { attempt });
      expect(lines.map(({ message }) => message)).toEqual(messages);
      expect(lines.map((line) => line.attempt)).toEqual([null, null]);
    }
    expect(await tasks.logs(id, { attempt: 2, q: 'attempt 2' })).toMatchObject([
      { n: 2, at: null },
    ]);
  });
});
