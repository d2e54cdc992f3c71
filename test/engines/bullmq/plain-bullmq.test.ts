import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Job, Queue, UnrecoverableError, Worker } from 'bullmq';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../src/manager.js';
import { taskLog, taskProgress } from '../../../src/tasks/context.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { inState } from '../../helpers/job-processes.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { eventually, gate, waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();
let redis: RedisServer;
let prefixes = 0;
let prefix: string;

beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.remove());
beforeEach(() => {
  prefixes += 1;
  prefix = `plain-${prefixes}`;
});

function manager(): TaskManager {
  const made = new TaskManager({
    engine: bullmqEngine({ connection: redis.connection, prefix, logger: false }),
    logger: false,
  });
  keep({ close: () => made.stop({ timeout: 0.1 }) });
  return made;
}

/** The options by which any program that uses BullMQ opens the queues of this test. */
const plain = () => ({ connection: redis.connection, prefix: `{${prefix}}` });

(hasRedis ? describe : describe.skip)('a plain BullMQ Queue', () => {
  it('shows the tasks of each state with their details', async () => {
    const tasks = manager();
    const { passed, open } = gate();
    const mail = tasks.task('send mail', async (to: string) => {
      taskLog(`to ${to}`);
      taskProgress(0.5);
      if (to === 'held') await passed;
      if (to === 'nobody') throw new RangeError('no such address');
      return { to };
    });
    const queue = keep(new Queue('default', plain()));
    const urgent = keep(new Queue('urgent', plain()));
    const waits = await mail.enqueue('waits');
    const at = Date.now() + 3_600_000;
    const delayed = await mail.with({ runAt: new Date(at) }).enqueue('later');
    const prioritized = await mail.with({ queue: 'urgent', priority: 7 }).enqueue('soon');
    const seen = async (on: Queue, id: string) => {
      const job = await on.getJob(id);
      return [await job?.getState(), job?.name, job?.data];
    };
    expect(await seen(queue, waits)).toEqual(['waiting', 'send mail', ['waits']]);
    expect(await seen(queue, delayed)).toEqual(['delayed', 'send mail', ['later']]);
    expect(await seen(urgent, prioritized)).toEqual(['prioritized', 'send mail', ['soon']]);
    expect([await queue.getJobCounts(), await urgent.getJobCounts()]).toMatchObject([
      { waiting: 1, delayed: 1, active: 0, completed: 0, failed: 0 },
      { prioritized: 1, waiting: 0 },
    ]);
    const [due] = await queue.getDelayed();
    expect(Math.abs((due?.timestamp ?? 0) + (due?.delay ?? 0) - at)).toBeLessThan(5000);

    await tasks.start();
    const [active, failed] = [await mail.enqueue('held'), await mail.enqueue('nobody')];
    await inState(tasks, active, 'running');
    await inState(tasks, failed, 'failed');
    await eventually(async () => {
      expect(await queue.getJob(active)).toMatchObject({
        name: 'send mail',
        data: ['held'],
        progress: 50,
      });
      expect((await queue.getJobLogs(active)).logs.join()).toContain('to held');
    });
    expect(await seen(queue, active)).toEqual(['active', 'send mail', ['held']]);
    const job = await queue.getJob(failed);
    expect(job).toMatchObject({
      name: 'send mail',
      data: ['nobody'],
      failedReason: 'no such address',
      attemptsMade: 1,
    });
    expect([await job?.getState(), job?.stacktrace?.[0]]).toEqual([
      'failed',
      expect.stringContaining('RangeError: no such address'),
    ]);
    open();
    await inState(tasks, active, 'success');
    expect(await queue.getJob(active)).toMatchObject({
      data: ['held'],
      returnvalue: { to: 'held' },
      attemptsMade: 1,
    });
    expect(await seen(queue, active)).toEqual(['completed', 'send mail', ['held']]);
    await inState(tasks, prioritized, 'success');
    expect(await urgent.getJob(prioritized)).toMatchObject({ returnvalue: { to: 'soon' } });
  });
});

(hasRedis ? describe : describe.skip)('a plain BullMQ Worker', () => {
  /** Runs the jobs of a queue as a program does that does not use koa-taskflow. */
  function work(run: (job: Job) => unknown, queue = 'default'): void {
    const worker = new Worker(queue, async (job) => run(job), plain());
    worker.on('error', () => undefined);
    keep({ close: () => worker.close(true) });
  }

  it('gets the name and arguments of tasks, and sets their results', async () => {
    const tasks = manager();
    await tasks.start({ run: false });
    const add = tasks.define<[a: number, b: number]>('add', { tags: { tenant: '7' } });
    const bad = tasks.define('bad');
    const nothing = tasks.define('nothing', { priority: 3, queue: 'urgent' });
    const ran: unknown[] = [];
    const run = (job: Job): unknown => {
      ran.push([job.name, job.data]);
      if (job.name === 'bad') throw new TypeError('not today');
      return job.name === 'add' ? { sum: job.data[0] + job.data[1] } : undefined;
    };
    const ids = [await add.enqueue(1, 2), await bad.enqueue(), await nothing.enqueue()];
    const [sum = '', failed = '', empty = ''] = ids;
    expect((await tasks.find({ limit: 5, status: ['pending'] })).total).toBe(3);
    for (const queue of ['default', 'urgent']) work(run, queue);

    expect(await inState(tasks, sum, 'success')).toMatchObject({
      args: [1, 2],
      result: { sum: 3 },
      attempt: 1,
      error: null,
    });
    expect(await inState(tasks, failed, 'failed')).toMatchObject({
      ...{
        attempt: 1,
        error: { message: 'not today' },
        result: null,
        stack: expect.stringContaining('TypeError: not today'),
      },
      attempts: [{ number: 1, status: 'failed', error: { message: 'not today' } }],
    });
    expect(await inState(tasks, empty, 'success')).toMatchObject({ result: null });
    expect(ran).toEqual(
      expect.arrayContaining([
        ['add', [1, 2]],
        ['bad', []],
        ['nothing', []],
      ]),
    );
    const counts = { pending: 0, running: 0, success: 2, failed: 1, cancelled: 0, interrupted: 0 };
    await eventually(async () => {
      expect((await tasks.aggregate('statsSnapshot')).counts).toEqual(counts);
      const { items } = await tasks.find({ limit: 5 });
      expect(items.map(({ id, status }) => [id, status]).sort()).toEqual(
        [
          [sum, 'success'],
          [failed, 'failed'],
          [empty, 'success'],
        ].sort(),
      );
    });
    expect(
      (await tasks.find({ limit: 5, tag: ['tenant:7'], status: ['success'] })).items.map(
        ({ id }) => id,
      ),
    ).toEqual([sum]);
  });

  it('counts its failed attempts together with those of the engine', async () => {
    const runHere = async (id: string | undefined, attempt: number): Promise<string> => {
      const tasks = manager();
      const failing = tasks.task(
        'failing',
        () => {
          throw Object.assign(new RangeError(`ours ${attempt}`), { code: 'OURS' });
        },
        { retries: 5, delay: 60 },
      );
      const made = id ?? (await failing.enqueue());
      if (id) await tasks.control({ action: 'run', ids: [id] }, { actor: 'test' });
      await tasks.start();
      await eventually(async () => expect(await tasks.get(made)).toMatchObject({ attempt }));
      expect(await tasks.get(made)).toMatchObject({
        error: { name: 'RangeError', message: `ours ${attempt}`, code: 'OURS' },
      });
      await tasks.stop();
      return made;
    };
    const reader = manager();
    const queue = keep(new Queue('default', plain()));
    const runThere = async (id: string, attempt: number, error: Error): Promise<void> => {
      const worker = new Worker('default', () => Promise.reject(error), plain());
      await (await queue.getJob(id))?.promote();
      const seen = { attempt, error: { name: 'Error', message: error.message }, fingerprint: null };
      await eventually(async () => expect(await reader.get(id)).toMatchObject(seen));
      await worker.close();
      const shown = await reader.get(id);
      expect(shown).toMatchObject({ stack: expect.stringContaining(error.message) });
      expect(shown?.error).not.toHaveProperty('code');
      await eventually(async () => expect((await reader.find()).items).toMatchObject([seen]));
    };
    const id = await runHere(undefined, 1);
    await runThere(id, 2, new Error('theirs'));
    await runHere(id, 3);
    await runThere(id, 4, new UnrecoverableError('theirs too'));
    expect(await reader.get(id)).toMatchObject({
      status: 'failed',
      attempts: [
        { number: 1, error: { name: 'RangeError', code: 'OURS' } },
        { number: 3, error: { name: 'RangeError' } },
        { number: 4, error: { name: 'Error', message: 'theirs too' } },
      ],
    });
  });

  it.each([
    ['fixed', { delay: 0.2 }, [200, 200]],
    ['doubling', { delay: 0.15, backoff: 2 }, [150, 300]],
  ])(
    'retries a failed task after its %s delay until its attempts are used up',
    async (_kind, options, waits) => {
      const tasks = manager();
      await tasks.start({ run: false });
      const flaky = tasks.define('flaky', { retries: 2, jitter: 0, ...options });
      const times: number[] = [];
      work(() => {
        times.push(Date.now());
        throw new Error(`failure ${times.length}`);
      });
      const id = await flaky.enqueue();
      expect(await inState(tasks, id, 'failed')).toMatchObject({
        attempt: 3,
        maxAttempts: 3,
        error: { message: 'failure 3' },
      });
      for (const [n, wait] of waits.entries())
        expect((times[n + 1] ?? 0) - (times[n] ?? 0)).toBeGreaterThanOrEqual(wait - 1);
      expect(times).toHaveLength(3);
    },
  );

  it('can fail a task that the engine then retries', async () => {
    const [web, worker] = [manager(), manager()];
    await web.start({ run: false });
    const both = web.define('both', { retries: 1, delay: 0.3 });
    const plainWorker = new Worker(
      'default',
      async () => Promise.reject(new UnrecoverableError('never')),
      plain(),
    );
    plainWorker.on('error', () => undefined);
    const failed = await both.enqueue();
    await inState(web, failed, 'failed');
    await plainWorker.close(true);
    worker.task('both', () => 'done', { retries: 1, delay: 0.3 });
    await worker.start();
    await web.control({ action: 'retry', ids: [failed] }, { actor: 'test' });
    expect(await inState(web, failed, 'success')).toMatchObject({
      attempt: 2,
      result: 'done',
      error: null,
    });
    await waitFor(async () => (await web.find({ limit: 1, status: ['success'] })).total === 1);
  });
});
