import { describe, expect, it } from '@jest/globals';
import { FlowProducer, type Job, Queue, Worker } from 'bullmq';
import { type AttachedQueues, attachQueues } from '../../../../src/engines/bullmq/index.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const megabyte = 1_000_000;
const text = (bytes: number): string => 'x'.repeat(bytes);

(hasRedis ? describe : describe.skip)('attachQueues with large jobs', () => {
  const server = new RedisForEach();
  const { keep } = server;

  const open = (name: string): Queue =>
    keep(new Queue(name, { connection: server.redis.connection }));
  const attach = (...queues: Queue[]): AttachedQueues =>
    keep(attachQueues(queues, { logger: false }));
  const counts = async (tasks: AttachedQueues) => (await tasks.aggregate('statsSnapshot')).counts;

  /** Returns how many bytes Redis sends while `run` runs. */
  async function sentWhile(run: () => Promise<void>): Promise<number> {
    const sent = async (): Promise<number> =>
      Number(/total_net_output_bytes:(\d+)/.exec(await server.client.info('stats'))?.[1]);
    const before = await sent();
    await run();
    return (await sent()) - before;
  }

  async function lookAtAll(tasks: AttachedQueues): Promise<void> {
    await tasks.find({ limit: 100 });
    await tasks.find({ limit: 100, q: 'broken' });
    for (const kind of ['metrics', 'failures', 'statsSnapshot', 'waits'] as const)
      await tasks.aggregate(kind);
    await tasks.describe();
  }

  async function runAll(queue: Queue, run: (job: Job) => Promise<unknown>): Promise<void> {
    const worker = new Worker(queue.name, run, {
      connection: server.redis.connection,
      concurrency: 5,
    });
    await waitFor(
      async () => (await queue.getJobCountByTypes('wait', 'active', 'prioritized')) === 0,
    );
    await worker.close();
  }

  it('reads no data, results, stacks or logs for lists, from startup on', async () => {
    const queue = open('reports');
    const amount = 12;
    await queue.addBulk(
      Array.from({ length: amount }, (_, n) => ({
        name: n % 2 === 0 ? 'good' : 'bad',
        data: { text: text(megabyte) },
      })),
    );
    await runAll(queue, async (job) => {
      await job.log(text(megabyte));
      if (job.name === 'good') return text(megabyte);
      throw new TypeError(`broken ${text(megabyte)}`);
    });
    await queue.addBulk(
      Array.from({ length: amount }, () => ({ name: 'waits', data: { text: text(megabyte) } })),
    );
    await queue.upsertJobScheduler(
      'nightly',
      { pattern: '0 3 * * *' },
      { name: 'night', data: { text: text(megabyte) } },
    );
    const sent = await sentWhile(async () => {
      const tasks = attach(queue);
      await waitFor(async () => (await tasks.find({ limit: 1 })).total === 2 * amount + 1);
      await lookAtAll(tasks);
      expect(await counts(tasks)).toMatchObject({
        pending: amount + 1,
        success: amount / 2,
        failed: amount / 2,
      });
      const [bad] = (await tasks.find({ name: 'bad', limit: 1 })).items;
      expect(bad?.error).toMatchObject({
        name: 'TypeError',
        message: expect.stringMatching(/^broken x+$/),
      });
      expect((await tasks.describe()).schedules).toMatchObject([
        { task: 'night', rule: '0 3 * * * UTC' },
      ]);
    });
    expect(sent).toBeLessThan(megabyte);
  });

  it('reads no results from events and no job data for commands', async () => {
    const queue = open('reports');
    const tasks = attach(queue);
    await tasks.describe();
    const jobs = await queue.addBulk(
      Array.from({ length: 10 }, (_, n) => ({
        name: 'job',
        data: { text: text(megabyte) },
        opts: { delay: n < 5 ? 600_000 : 0 },
      })),
    );
    const sent = await sentWhile(async () => {
      for (const { id = '' } of jobs.slice(5)) {
        await server.client
          .multi()
          .lrem(queue.toKey('wait'), 1, id)
          .zadd(queue.toKey('completed'), Date.now(), id)
          .exec();
        await server.client.hset(queue.toKey(id), {
          processedOn: Date.now(),
          finishedOn: Date.now(),
          returnvalue: JSON.stringify(text(megabyte)),
        });
        const event = [
          'event',
          'completed',
          'jobId',
          id,
          'returnvalue',
          JSON.stringify(text(megabyte)),
          'prev',
          'active',
        ];
        await server.client.xadd(queue.toKey('events'), '*', ...event);
      }
      await waitFor(async () => (await counts(tasks)).success === 5);
      const ids = jobs.map(({ id }) => `${queue.name}:${id}`);
      expect(
        (
          await tasks.control({ action: 'run', ids: ids.slice(0, 5) }, { actor: 'ada' })
        ).results.map(({ ok }) => ok),
      ).toEqual([...Array.from({ length: 5 }, () => true)]);
      expect(
        (await tasks.control({ action: 'delete', ids }, { actor: 'ada' })).results.filter(
          ({ ok }) => ok,
        ),
      ).toHaveLength(10);
    });
    expect(sent).toBeLessThan(megabyte);
    expect(await queue.getJobCountByTypes('wait', 'delayed', 'completed')).toBe(0);
  });

  it('shows data and results of a job up to 2 MiB, and only their sizes above', async () => {
    const queue = open('reports');
    const [some, much] = await queue.addBulk(
      [2 * megabyte, 3 * megabyte].map((size) => ({
        name: 'job',
        data: text(size),
        opts: { attempts: 3 },
      })),
    );
    await runAll(queue, async (job) => text(job.data.length));
    const tasks = attach(queue);
    const shown = await tasks.get(`${queue.name}:${some?.id}`);
    expect([String(shown?.args[0]).length, String(shown?.result).length]).toEqual([
      2 * megabyte,
      2 * megabyte,
    ]);
    expect(shown?.argsOmitted).toBeUndefined();
    let cut: Awaited<ReturnType<AttachedQueues['get']>>;
    const sent = await sentWhile(async () => {
      cut = await tasks.get(`${queue.name}:${much?.id}`);
    });
    expect(cut).toMatchObject({ args: [], result: null, status: 'success', maxAttempts: 3 });
    expect(cut?.argsOmitted).toContain('3,000,002 bytes');
    expect(cut?.resultOmitted).toContain('3,000,002 bytes');
    expect(sent).toBeLessThan(megabyte / 10);
  });

  it('shows the end of a long log, resumes from any line, and truncates long lines', async () => {
    const queue = open('reports');
    const { id = '' } = await queue.add('job', {});
    for (let n = 1; n <= 400; n++) await queue.addJobLog(id, `${n} ${text(50_000)}`);
    const tasks = attach(queue);
    const key = `${queue.name}:${id}`;
    const sent = await sentWhile(async () => {
      const logs = (await tasks.get(key))?.logs ?? [];
      expect(logs.at(-1)).toMatchObject({ n: 400, message: expect.stringMatching(/^400 x+$/) });
      expect(logs.map(({ n }) => n)).toEqual(Array.from(logs, (_, n) => 400 - logs.length + 1 + n));
      expect(logs.length).toBeGreaterThan(50);
    });
    expect(sent).toBeLessThan(3 * megabyte);
    const read: number[] = [];
    for (
      let some = await tasks.logs(key, {});
      some.length > 0;
      some = await tasks.logs(key, { after: read.length })
    )
      read.push(...some.map(({ n }) => n));
    expect(read).toEqual(Array.from({ length: 400 }, (_, n) => n + 1));
    expect(await tasks.logs(key, { q: '7 x', limit: 3 })).toMatchObject([
      { n: 7 },
      { n: 17 },
      { n: 27 },
    ]);
  });

  it('shows a flow without reading the results of its children', async () => {
    const queue = open('reports');
    const parent = open('books');
    const flows = keep(new FlowProducer({ connection: server.redis.connection }));
    const children = Array.from({ length: 8 }, (_, n) => ({
      name: `page ${n}`,
      queueName: queue.name,
      data: text(megabyte),
    }));
    const { job } = await flows.add({
      name: 'book',
      queueName: parent.name,
      data: text(megabyte / 2),
      children,
    });
    await runAll(queue, async () => text(megabyte));
    const tasks = attach(queue, parent);
    await waitFor(async () => (await counts(tasks)).success === 8);
    const sent = await sentWhile(async () => {
      const { flow } = (await tasks.get(`${parent.name}:${job.id}`)) ?? {};
      expect(flow?.children.map(({ name, status }) => [name, status]).sort()).toEqual(
        children.map(({ name }) => [name, 'success']),
      );
    });
    expect(sent).toBeLessThan(megabyte);
  });
});
