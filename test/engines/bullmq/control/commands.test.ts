import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  jest,
} from '@jest/globals';
import { FlowProducer, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { JobSteps } from '../../../../src/engines/bullmq/control/job-steps.js';
import { JobEngine } from '../../../../src/engines/bullmq/job-engine.js';
import { Attempt } from '../../../../src/engines/bullmq/run/attempt.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import type { Command as EngineCommand } from '../../../../src/tasks/commands.js';
import { gate } from '../../../../src/testing/wait.js';
import { failedWhile } from '../../../helpers/marked.js';
import { RedisServer } from '../../../helpers/redis.js';
import { promptly, sleep, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };

let server: RedisServer;
let redis: Redis;
let prefixes = 0;
let prefix: string;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.connection);
});
afterAll(async () => {
  redis.disconnect();
  await server.remove();
});
beforeEach(() => {
  prefixes += 1;
  prefix = `commands-${prefixes}`;
});
afterEach(async () => {
  jest.restoreAllMocks();
  await Promise.all(closing.splice(0).map((close) => close()));
});

function jobEngine(lockDuration = 20_000): JobEngine {
  return new JobEngine({
    connection: server.connection,
    prefix,
    logger: loggerOption('logger', false),
    lockDuration,
    kept: { age: 604_800, count: 100_000 },
    statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
  });
}

function manager({
  concurrency = 10,
  lockDuration,
  engine = jobEngine(lockDuration),
}: {
  concurrency?: number;
  lockDuration?: number;
  engine?: JobEngine;
} = {}): TaskManager {
  const made = new TaskManager({ engine, concurrency, logger: false });
  closing.push(() => made.stop({ timeout: 0.1 }));
  return made;
}

/** Opens a queue as any other program that uses BullMQ does. */
function plainQueue(name = 'default'): Queue {
  const queue = new Queue(name, { connection: server.connection, prefix: `{${prefix}}` });
  closing.push(() => queue.close());
  return queue;
}

async function statusOf(tasks: TaskManager, id: string): Promise<string | undefined> {
  return (await tasks.get(id))?.status;
}

describe('a command that does not name its queue', () => {
  it('pauses none, although the engine is called without the checks of a manager', async () => {
    const engine = jobEngine();
    await manager({ engine }).define('work').enqueue();
    const pause = { action: 'pause', queue: undefined } as unknown as EngineCommand;
    await expect(engine.control(pause, { actor: 'test' })).rejects.toThrow('queue');
    expect(await plainQueue().isPaused()).toBe(false);
  });
});

describe('a request to cancel a waiting task', () => {
  it('makes it a failed job for a plain BullMQ queue, in whichever set it waits', async () => {
    const tasks = manager();
    const [plain, urgent] = [
      tasks.define('plain'),
      tasks.define('urgent', { queue: 'urgent', priority: 5 }),
    ];
    const ids = [
      await plain.enqueue(),
      await plain.with({ runIn: 60 }).enqueue(),
      await urgent.enqueue(),
    ];
    const rest = [await plain.enqueue(), await urgent.enqueue()];
    const { results } = await tasks.control({ action: 'cancel', ids }, by);
    expect(results.map(({ ok }) => ok)).toEqual([true, true, true]);

    const [queue, other] = [plainQueue(), plainQueue('urgent')];
    expect(await queue.getJobCounts()).toMatchObject({
      waiting: 1,
      delayed: 0,
      failed: 2,
      active: 0,
    });
    expect(await other.getJobCounts()).toMatchObject({ prioritized: 1, failed: 1, active: 0 });
    const job = await queue.getJob(ids[0] ?? '');
    expect(await job?.getState()).toBe('failed');
    expect(job?.failedReason).toMatch(/cancelled/);
    expect(job?.finishedOn ?? 0).toBeGreaterThan(Date.now() - 10_000);
    expect(await redis.exists(`{${prefix}}:default:${ids[0]}:lock`)).toBe(0);
    expect(await redis.zrange(`{${prefix}}:~cancelled:default`, '0', '-1')).toEqual(
      ids.slice(0, 2),
    );
    for (const id of rest) expect(await statusOf(tasks, id)).toBe('pending');
  });

  it('sends the event that BullMQ sends for a failed job', async () => {
    const tasks = manager();
    const id = await tasks.define('plain').enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    const events = await redis.xrange(`{${prefix}}:default:events`, '-', '+');
    const texts = events.map(([, fields]) => fields.join(' '));
    expect(texts.some((text) => text.startsWith(`event failed jobId ${id}`))).toBe(true);
    expect(texts.some((text) => text.includes('retries-exhausted'))).toBe(false);
  });

  it('lets the next job of the queue run, even in a queue with priorities', async () => {
    const tasks = manager();
    const ran: string[] = [];
    const plain = tasks.task('plain', (name: string) => {
      ran.push(name);
    });
    await tasks.start();
    for (const options of [{ queue: 'a' }, { queue: 'b', priority: 3 }]) {
      const id = await plain.with({ ...options, runIn: 60 }).enqueue('cancelled');
      await tasks.control({ action: 'cancel', ids: [id] }, by);
      await plain.with(options).enqueue(options.queue);
    }
    await waitFor(() => ran.length === 2);
    expect(ran.sort()).toEqual(['a', 'b']);
    const first = await plain.with({ queue: 'a', runIn: 0.2 }).enqueue('delayed');
    await waitFor(async () => (await statusOf(tasks, first)) === 'success');
  });

  it('keeps a paused queue paused', async () => {
    const tasks = manager();
    const ran: string[] = [];
    const plain = tasks.task('plain', (name: string) => {
      ran.push(name);
    });
    const queue = plainQueue();
    await queue.pause();
    const [first, second] = [await plain.enqueue('first'), await plain.enqueue('second')];
    await tasks.control({ action: 'cancel', ids: [first] }, by);
    expect([await statusOf(tasks, first), await statusOf(tasks, second)]).toEqual([
      'cancelled',
      'pending',
    ]);
    expect(await queue.isPaused()).toBe(true);
    // A marker would wake a worker although there is nothing to run.
    expect(await redis.zcard(`{${prefix}}:default:marker`)).toBe(0);
    await tasks.start();
    await queue.resume();
    await waitFor(async () => (await statusOf(tasks, second)) === 'success');
    expect([ran, await statusOf(tasks, first)]).toEqual([['second'], 'cancelled']);
  });

  it('allows a retry, which can run on a plain BullMQ worker', async () => {
    const tasks = manager();
    const plain = tasks.define('plain', { retries: 1 });
    const id = await plain.enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await tasks.control({ action: 'retry', ids: [id] }, by);
    expect(await redis.zcard(`{${prefix}}:~cancelled:default`)).toBe(0);
    const seen: string[] = [];
    const worker = new Worker('default', async (job) => seen.push(job.id ?? ''), {
      connection: server.connection,
      prefix: `{${prefix}}`,
    });
    closing.push(() => worker.close(true));
    await waitFor(async () => (await statusOf(tasks, id)) === 'success');
    expect(seen).toEqual([id]);
  });

  it('is rejected if the task is a parent or a child in a flow', async () => {
    const tasks = manager();
    await tasks.define('plain').enqueue();
    const flows = new FlowProducer({ connection: server.connection, prefix: `{${prefix}}` });
    closing.push(() => flows.close());
    const { job, children = [] } = await flows.add({
      ...{ name: 'parent', queueName: 'default' },
      children: [{ name: 'child', queueName: 'default', data: [] }],
    });
    const ids = [job.id, children[0]?.job.id].map((jobId) => `default:${jobId}`);
    const { results } = await tasks.control({ action: 'cancel', ids }, by);
    expect(results).toMatchObject([
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
    ]);
    expect(await plainQueue().getJobCounts()).toMatchObject({ failed: 0, waiting: 2 });
  });
});

describe('a failed parent of a flow', () => {
  it('is retried only after its children have succeeded', async () => {
    const tasks = manager();
    let isBroken = true;
    const ran: string[] = [];
    tasks.task('part', (name: string) => {
      ran.push(name);
      if (name === 'child' && isBroken) throw new Error('broken');
      return name;
    });
    await tasks.start();
    const flows = new FlowProducer({ connection: server.connection, prefix: `{${prefix}}` });
    closing.push(() => flows.close());
    const child = {
      name: 'part',
      queueName: 'default',
      data: ['child'],
      opts: { failParentOnFailure: true },
    };
    const flow = await flows.add({
      name: 'part',
      queueName: 'default',
      data: ['parent'],
      children: [child],
    });
    const [parentId, childId] = [flow.job.id, flow.children?.[0]?.job.id].map(
      (jobId) => `default:${jobId}`,
    ) as [string, string];
    await waitFor(async () => (await statusOf(tasks, parentId)) === 'failed');
    const refused = [
      {
        ok: false,
        code: 'TASK_STATE_CONFLICT',
        status: 'failed',
        detail: expect.stringContaining('Retry the child'),
      },
    ];
    const retry = { action: 'retry', ids: [parentId] } as const;
    expect((await tasks.control(retry, { ...by, dryRun: true })).results).toMatchObject(refused);
    expect((await tasks.control(retry, by)).results).toMatchObject(refused);
    isBroken = false;
    await tasks.control({ action: 'retry', ids: [childId] }, by);
    await waitFor(async () => (await statusOf(tasks, childId)) === 'success');
    expect((await tasks.control(retry, by)).results).toMatchObject([{ ok: true }]);
    await waitFor(async () => (await statusOf(tasks, parentId)) === 'success');
    expect(ran).toEqual(['child', 'child', 'parent']);
  });
});

describe('a request to cancel a running task', () => {
  it('ends it in another process within seconds, and shows it as cancelling', async () => {
    const [web, worker] = [manager(), manager()];
    const task = worker.task('deaf', () => new Promise(() => undefined), { cancelGrace: 0.01 });
    await worker.start();
    const id = await task.enqueue();
    await waitFor(async () => (await statusOf(worker, id)) === 'running');
    const began = Date.now();
    const { results } = await web.control({ action: 'cancel', ids: [id] }, by);
    expect(results[0]).toMatchObject({
      ok: true,
      task: { status: 'running', engineState: 'cancelling' },
    });
    expect(await web.get(id)).toMatchObject({ status: 'running', engineState: 'cancelling' });
    await waitFor(async () => (await statusOf(web, id)) === 'cancelled');
    expect(Date.now() - began).toBeLessThan(5000);
    expect(await redis.hlen(`{${prefix}}:~cancelling`)).toBe(0);
    expect((await web.get(id))?.engineState).toBeUndefined();
  });

  const down = (): never => {
    throw new Error('down');
  };
  const ways: [how: string, end: () => unknown, options: { retries?: number; delay?: number }][] = [
    ['returns a result', () => 'done', {}],
    ['fails with retries left', down, { retries: 3, delay: 60 }],
    ['fails with an immediate retry', down, { retries: 3, delay: 0 }],
    ['fails without retries left', down, {}],
  ];

  it.each(ways)(
    'ends it as cancelled if its handler %s before the worker gets the request',
    async (_, end, options) => {
      const { passed, open } = gate();
      const [web, worker] = [manager(), manager()];
      const notified: string[] = [];
      for (const status of ['success', 'failed', 'cancelled'] as const)
        worker.on(status, () => void notified.push(status));
      const task = worker.task('raced', () => passed.then(end), options);
      const next = worker.task('next', () => 1);
      await worker.start();
      const id = await task.enqueue();
      await waitFor(async () => (await statusOf(worker, id)) === 'running');
      // The attempt never gets the request.
      jest.spyOn(Attempt.prototype, 'cancel').mockImplementation(() => undefined);
      const { results } = await web.control({ action: 'cancel', ids: [id] }, by);
      expect(results).toMatchObject([{ ok: true, task: { engineState: 'cancelling' } }]);
      open();
      // This is sooner than a process could take over the job.
      await waitFor(async () => (await statusOf(web, id)) === 'cancelled', promptly);
      expect(await web.get(id)).toMatchObject({
        result: null,
        error: null,
        attempts: [{ number: 1, status: 'cancelled' }],
      });
      await waitFor(() => notified.length > 0);
      expect(notified).toEqual(['cancelled']);
      expect(await plainQueue().getJobCounts()).toMatchObject({
        completed: 0,
        failed: 1,
        active: 0,
        waiting: 0,
        delayed: 0,
      });
      expect(await redis.hlen(`{${prefix}}:~cancelling`)).toBe(0);
      await waitFor(async () => (await statusOf(web, await next.enqueue())) === 'success');
    },
  );

  it('keeps the lock as long as the handler may take to stop', async () => {
    const [web, worker] = [manager(), manager({ lockDuration: 1000 })];
    const { passed, open } = gate();
    const task = worker.task('slow', () => passed, { cancelGrace: 60 });
    await worker.start();
    const id = await task.enqueue();
    await waitFor(async () => (await statusOf(worker, id)) === 'running');
    await web.control({ action: 'cancel', ids: [id] }, by);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    // With the old token, the worker could store another end.
    expect(await redis.get(`{${prefix}}:default:${id}:lock`)).toMatch(/^cancelled:/);
    open();
    await waitFor(async () => (await statusOf(web, id)) === 'cancelled');
  });

  it('prevents the start of a task that a worker fetches with it', async () => {
    const [web, worker] = [manager(), manager()];
    let runs = 0;
    const task = worker.task('counted', () => {
      runs += 1;
    });
    const id = await task.enqueue();
    // This is the state of a job that a worker has fetched but not started.
    const key = `{${prefix}}:default`;
    await redis.hset(`${key}:${id}`, 'tfx', Date.now());
    await worker.start();
    await waitFor(async () => (await statusOf(web, id)) === 'cancelled');
    expect(runs).toBe(0);
    expect(await web.get(id)).toMatchObject({ attempt: 0, attempts: [], error: null });
  });

  it('prevents the retry of an attempt that failed before it arrived', async () => {
    const [web, worker] = [manager(), manager()];
    const id = await web.define('flaky', { retries: 3 }).with({ runIn: 60 }).enqueue();
    const member = `default:${id}`;
    await redis.hset(
      `{${prefix}}:~cancelling`,
      member,
      JSON.stringify({ by: 'test', at: Date.now() - 60_000 }),
    );
    worker.task('flaky', () => 1);
    await worker.start();
    await waitFor(async () => (await statusOf(web, id)) === 'cancelled');
    expect(await redis.hlen(`{${prefix}}:~cancelling`)).toBe(0);
  });

  it('is removed, however the task ends', async () => {
    const tasks = manager();
    const done = tasks.task('done', () => 1);
    await tasks.start();
    const id = await done.enqueue();
    await waitFor(async () => (await statusOf(tasks, id)) === 'success');
    const entry = JSON.stringify({ by: 'test', at: Date.now() - 60_000 });
    await redis.hset(
      `{${prefix}}:~cancelling`,
      `default:${id}`,
      entry,
      'default:gone',
      entry,
      // The clock of another process was ahead.
      'default:later',
      JSON.stringify({ by: 'test', at: Date.now() + 86_400_000 }),
      'nonsense',
      'x',
    );
    await redis.xadd(`{${prefix}}:~signals`, '*', 'cancel', 'nonsense');
    await waitFor(async () => (await redis.hlen(`{${prefix}}:~cancelling`)) === 0);
    expect(await statusOf(tasks, id)).toBe('success');
  });

  it('does not keep workers busy if the job waits for its children', async () => {
    const tasks = manager();
    tasks.task('other', () => 1);
    await tasks.start();
    const flows = new FlowProducer({ connection: server.connection, prefix: `{${prefix}}` });
    closing.push(() => flows.close());
    const child = { name: 'child', queueName: 'unserved', data: [] };
    const { job } = await flows.add({
      name: 'other',
      queueName: 'default',
      data: [],
      children: [child],
    });
    await redis.hset(`{${prefix}}:~cancelling`, `default:${job.id}`, JSON.stringify({ at: 1 }));
    await redis.xadd(`{${prefix}}:~signals`, '*', 'cancel', 'a job');
    await sleep(0.3);
    const polls = async (): Promise<number> =>
      Number(/^cmdstat_xrevrange:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1]);
    const before = await polls();
    await sleep(1.3);
    expect((await polls()) - before).toBeLessThanOrEqual(1);
    expect(await redis.hlen(`{${prefix}}:~cancelling`)).toBe(1);
  });
});

describe('a retry', () => {
  it('starts a new series of attempts with a new deadline', async () => {
    const tasks = manager();
    let failing = true;
    const flaky = tasks.task(
      'flaky',
      () => {
        if (failing) throw new Error('down');
      },
      { deadline: 0.5 },
    );
    await tasks.start();
    const id = await flaky.enqueue();
    await waitFor(async () => (await statusOf(tasks, id)) === 'failed');
    await new Promise((resolve) => setTimeout(resolve, 600));
    failing = false;
    await tasks.control({ action: 'retry', ids: [id] }, by);
    await waitFor(async () => (await statusOf(tasks, id)) === 'success');
    expect((await tasks.get(id))?.attempts.map(({ status }) => status)).toEqual([
      'failed',
      'success',
    ]);
  });

  it('delays the jobs in BullMQ if it has a spread', async () => {
    const tasks = manager();
    const noop = tasks.task('noop', () => 1);
    const ids = await noop.enqueueMany([[], []]);
    await tasks.control({ action: 'cancel', ids }, by);
    await tasks.control({ action: 'retry', ids, spread: 1 }, by);
    expect(await plainQueue().getJobCounts()).toMatchObject({
      waiting: 1,
      delayed: 1,
      failed: 0,
      active: 0,
    });
    await tasks.start();
    await waitFor(async () => (await statusOf(tasks, ids[1] ?? '')) === 'success');
    expect(await statusOf(tasks, ids[0] ?? '')).toBe('success');
  });

  for (const opts of [
    '{"taskflow":5,"de":5}',
    '{"taskflow":{"deadline":null},"de":null,"delay":null}',
    '5',
  ])
    it(`makes a job wait again even if its options are ${opts}`, async () => {
      const tasks = manager();
      const id = await tasks.define('once').with({ idempotencyKey: 'k' }).enqueue();
      await tasks.control({ action: 'cancel', ids: [id] }, by);
      await redis.hset(`{${prefix}}:default:${id}`, { opts });
      expect((await tasks.control({ action: 'retry', ids: [id] }, by)).results).toMatchObject([
        { ok: true },
      ]);
      expect(await statusOf(tasks, id)).toBe('pending');
      expect(await redis.zcard(`{${prefix}}:~cancelled:default`)).toBe(0);
    });

  it('claims the idempotency key again for the rest of its window', async () => {
    const tasks = manager();
    const once = tasks.define('once').with({ idempotencyKey: 'k' });
    const id = await once.enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await tasks.control({ action: 'retry', ids: [id] }, by);
    expect(await once.enqueue()).toBe(id);
    const [key = ''] = await redis.keys(`{${prefix}}:default:de:*`);
    expect(await redis.pttl(key)).toBeGreaterThan(0);
  });
});

describe('a deletion', () => {
  it('removes every key of the job from Redis, and frees its idempotency key', async () => {
    const tasks = manager();
    const once = tasks.define('once').with({ idempotencyKey: 'k' });
    const id = await once.enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    const { results } = await tasks.control({ action: 'delete', ids: [id] }, by);
    expect(results).toMatchObject([{ id, ok: true, task: { id, status: 'cancelled' } }]);
    expect(await redis.keys(`*${id}*`)).toEqual([]);
    expect(await redis.zcard(`{${prefix}}:~cancelled:default`)).toBe(0);
    expect(await once.enqueue()).not.toBe(id);
  });

  it('is rejected for a waiting or running job, and keeps its lock', async () => {
    const tasks = manager();
    let open = (): void => undefined;
    const passed = new Promise<void>((resolve) => {
      open = resolve;
    });
    const slow = tasks.task('slow', () => passed);
    await tasks.start();
    const running = await slow.enqueue();
    await waitFor(async () => (await statusOf(tasks, running)) === 'running');
    const waiting = await slow.with({ runIn: 0.3 }).enqueue();
    const { results } = await tasks.control({ action: 'delete', ids: [running, waiting] }, by);
    expect(results).toMatchObject([
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'running' },
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
    ]);
    expect(await redis.exists(`{${prefix}}:default:${waiting}:lock`)).toBe(0);
    expect(await redis.exists(`{${prefix}}:default:${running}:lock`)).toBe(1);
    open();
    for (const id of [running, waiting])
      await waitFor(async () => (await statusOf(tasks, id)) === 'success');
  });
});

describe('a deletion that BullMQ refuses', () => {
  afterEach(() => redis.config('SET', 'min-replicas-to-write', '0'));

  async function cancelledTask(tasks: TaskManager): Promise<string> {
    const id = await tasks.define('note').with({ runIn: 600 }).enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    return id;
  }

  it('is reported as a conflict if a worker holds its lock, also in a dry run', async () => {
    const tasks = manager();
    const id = await cancelledTask(tasks);
    await redis.set(`{${prefix}}:default:${id}:lock`, 'another', 'PX', 60_000);
    const command = { action: 'delete', ids: [id] } as const;
    const detail = 'A worker still holds the task. Try again later.';
    for (const dryRun of [true, false])
      expect((await tasks.control(command, { ...by, dryRun })).results).toEqual([
        { id, ok: false, code: 'TASK_STATE_CONFLICT', status: 'cancelled', detail },
      ]);
    const cancelled = { status: ['cancelled'] } as const;
    expect(await tasks.control({ action: 'delete', filter: cancelled }, by)).toMatchObject({
      results: [],
      found: { count: 0 },
    });
    expect(await statusOf(tasks, id)).toBe('cancelled');
    // The lock forbids no other command.
    expect(
      (await tasks.control({ action: 'retry', ids: [id] }, { ...by, dryRun: true })).results,
    ).toMatchObject([{ id, ok: true }]);
    await redis.del(`{${prefix}}:default:${id}:lock`);
    expect((await tasks.control(command, by)).results).toMatchObject([{ id, ok: true }]);
  });

  it('rejects with the code that Redis gave', async () => {
    const tasks = manager();
    const id = await cancelledTask(tasks);
    await redis.config('SET', 'min-replicas-to-write', '1');
    await expect(tasks.control({ action: 'delete', ids: [id] }, by)).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringContaining(': NOREPLICAS '),
    });
  });
});

describe('a command after Redis has lost its scripts', () => {
  it('has its usual effect, and deletes no waiting task', async () => {
    const tasks = manager();
    const plain = tasks.define('plain');
    const [first = '', second = '', third = ''] = await plain.enqueueMany([[], [], []]);
    const all = async (
      action: 'cancel' | 'retry' | 'delete' | 'run',
      ids: string[],
    ): Promise<boolean[]> => {
      await redis.script('FLUSH');
      return (await tasks.control({ action, ids }, by)).results.map(({ ok }) => ok);
    };
    // Each connection must have sent each script once.
    for (const action of ['cancel', 'retry', 'delete', 'run'] as const)
      await tasks.control({ action, ids: [third] }, by);
    expect(await all('cancel', [first, second])).toEqual([true, true]);
    expect(await all('retry', [first])).toEqual([true]);
    expect(await all('delete', [first, second, third])).toEqual([false, true, false]);
    expect(await all('run', [first])).toEqual([true]);
    expect([await statusOf(tasks, first), await statusOf(tasks, second)]).toEqual([
      'pending',
      undefined,
    ]);
    expect(await plainQueue().getJobCounts()).toMatchObject({ active: 0, failed: 0, waiting: 2 });
    expect(await redis.exists(`{${prefix}}:default:${first}:lock`)).toBe(0);
  });
});

describe('the counts after Redis has lost its scripts', () => {
  it('do not include cancelled waiting tasks in the failed ones', async () => {
    const tasks = manager();
    const [first = '', ...ids] = await tasks
      .define('plain')
      .enqueueMany(Array.from({ length: 11 }, () => []));
    const cancel = (id: string): Promise<unknown> =>
      tasks.control({ action: 'cancel', ids: [id] }, by);
    await cancel(first);
    const failed = await failedWhile(redis, prefix, async () => {
      for (const id of ids) {
        await redis.script('FLUSH');
        await cancel(id);
      }
    });
    expect(failed).toEqual([0]);
    expect((await tasks.aggregate('metrics', {})).counts).toMatchObject({
      cancelled: 11,
      failed: 0,
      pending: 0,
    });
    expect(await plainQueue().getJobCounts()).toMatchObject({ active: 0, failed: 11, waiting: 0 });
  });
});

describe('a command by filter', () => {
  it('acts on all tasks of a queue and state, even on unread tasks', async () => {
    const tasks = manager();
    const [mail, other] = [
      tasks.define('mail', { queue: 'bulk' }),
      tasks.define('other', { queue: 'bulk', concurrency: 1 }),
    ];
    const ids = [
      ...(await mail.enqueueMany([[], []])),
      await other.enqueue(),
      await mail.with({ runIn: 60 }).enqueue(),
    ];
    await mail.with({ queue: 'kept' }).enqueue();
    const filter = { queue: 'bulk' };
    const dry = await tasks.control({ action: 'cancel', filter }, { ...by, dryRun: true });
    expect(dry).toMatchObject({
      found: { count: 4, relation: 'eq' },
      results: ids.map((id) => ({ id, ok: true, task: { id } })),
    });
    const outcome = await tasks.control({ action: 'cancel', filter }, { ...by, expect: 4 });
    expect(outcome.results.map(({ id, ok }) => [id, ok])).toEqual(ids.map((id) => [id, true]));
    expect(outcome.scope).toBeUndefined();
    expect((await tasks.control({ action: 'cancel', filter: 'all' }, by)).results).toHaveLength(1);
    expect(
      (await tasks.control({ action: 'retry', filter: { status: ['failed'] } }, by)).results,
    ).toEqual([]);
    expect(
      (
        await tasks.control(
          { action: 'retry', filter: { status: ['cancelled'], queue: 'bulk' } },
          by,
        )
      ).results,
    ).toHaveLength(4);
    expect(await plainQueue('bulk').getJobCounts()).toMatchObject({ waiting: 3, failed: 0 });
  });

  it('distinguishes failed, cancelled and interrupted tasks', async () => {
    const tasks = manager();
    const bad = tasks.task('bad', () => {
      throw new Error('no');
    });
    await tasks.start();
    const failed = await bad.enqueue();
    const cancelled = await bad.with({ runIn: 60 }).enqueue();
    await tasks.control({ action: 'cancel', ids: [cancelled] }, by);
    await waitFor(async () => (await statusOf(tasks, failed)) === 'failed');
    const deleted = async (status: 'failed' | 'cancelled' | 'interrupted'): Promise<string[]> =>
      (
        await tasks.control(
          { action: 'delete', filter: { status: [status] } },
          { ...by, dryRun: true },
        )
      ).results.map(({ id }) => id);
    expect([
      await deleted('failed'),
      await deleted('cancelled'),
      await deleted('interrupted'),
    ]).toEqual([[failed], [cancelled], []]);
  });
});

describe('while the memory of Redis is full', () => {
  afterEach(() => redis.config('SET', 'maxmemory', '0'));

  it('a task can be deleted, and other rejected commands report the reason', async () => {
    const tasks = manager();
    const note = tasks.task('note', () => 1);
    await tasks.start();
    const [ended = '', kept = ''] = await note.enqueueMany([[], []]);
    await waitFor(
      async () =>
        (await statusOf(tasks, kept)) === 'success' && (await statusOf(tasks, ended)) === 'success',
    );
    const waiting = await note.with({ runIn: 600 }).enqueue();
    await redis.config('SET', 'maxmemory', '1mb');
    const { results } = await tasks.control({ action: 'delete', ids: [ended, waiting] }, by);
    expect(results).toMatchObject([
      { id: ended, ok: true },
      { id: waiting, ok: false, code: 'TASK_STATE_CONFLICT' },
    ]);
    const full = {
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringContaining('Increase its maxmemory, or delete ended tasks.'),
      detail: expect.stringContaining('has no memory left'),
    };
    await expect(tasks.control({ action: 'cancel', ids: [waiting] }, by)).rejects.toMatchObject(
      full,
    );
    await expect(tasks.control({ action: 'rerun', ids: [kept] }, by)).rejects.toMatchObject(full);
    expect(await tasks.get(kept)).toMatchObject({ id: kept, logs: [] });
    expect(await tasks.logs(kept)).toEqual([]);
    const filter = { status: ['success'] } as const;
    expect(
      await tasks.control({ action: 'delete', filter }, { ...by, dryRun: true }),
    ).toMatchObject({ results: [{ id: kept, ok: true }] });
    await expect(note.enqueueMany([[], []])).rejects.toMatchObject(full);
    await redis.config('SET', 'maxmemory', '0');
    expect([
      await tasks.get(ended),
      await statusOf(tasks, kept),
      await statusOf(tasks, waiting),
    ]).toEqual([undefined, 'success', 'pending']);
  });

  it('statistics can be read although those of new ends cannot be written', async () => {
    const tasks = manager();
    const { passed, open } = gate();
    const note = tasks.task('note', () => passed);
    await tasks.start();
    const id = await note.enqueue();
    await waitFor(async () => (await statusOf(tasks, id)) === 'running');
    await redis.config('SET', 'maxmemory', '1mb');
    open();
    // The process tries to write the statistics of the end within this time.
    await sleep(1.5);
    const [workers, failures] = await Promise.all([
      tasks.aggregate('workers'),
      tasks.aggregate('failures'),
      tasks.aggregate('metrics'),
      tasks.aggregate('statsSnapshot'),
    ]);
    expect([workers.length, failures.items]).toEqual([1, []]);
    await redis.config('SET', 'maxmemory', '0');
    await waitFor(async () => (await statusOf(tasks, id)) === 'success', 15);
    await waitFor(
      async () => (await tasks.aggregate('metrics')).functions[0]?.counts.success === 1,
      15,
    );
  });

  it('the end of a cancelled task is stored once there is room again', async () => {
    const tasks = manager({ lockDuration: 60_000 });
    const { passed, open } = gate();
    const stubborn = tasks.task('stubborn', () => passed);
    await tasks.start();
    const id = await stubborn.enqueue();
    await waitFor(async () => (await statusOf(tasks, id)) === 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await redis.config('SET', 'maxmemory', '1mb');
    open();
    await sleep(0.3);
    await redis.config('SET', 'maxmemory', '0');
    // Without that, another check finds its lock expired after a minute.
    await waitFor(async () => (await statusOf(tasks, id)) === 'cancelled', 15);
  });
});

describe('a paused queue', () => {
  it('also stops tasks with their own concurrency, even ones enqueued later', async () => {
    const [web, worker] = [manager(), manager()];
    const ran: string[] = [];
    const note = (name: string) => (): void => {
      ran.push(name);
    };
    worker.task('shared', note('shared'), { queue: 'bulk' });
    worker.task('apart', note('apart'), { queue: 'bulk', concurrency: 1 });
    worker.task('later', note('later'), { queue: 'bulk', concurrency: 2 });
    await worker.start();
    await web.define('apart', { queue: 'bulk', concurrency: 1 }).with({ runIn: 1 }).enqueue();
    await web.control({ action: 'pause', queue: 'bulk' }, { actor: 'ada', reason: 'too many' });
    await web.define('shared', { queue: 'bulk' }).enqueue();
    await web.define('later', { queue: 'bulk', concurrency: 2 }).enqueue();
    const state = async (tasks: TaskManager) =>
      (await tasks.describe()).queues.find(({ name }) => name === 'bulk');
    expect(await state(worker)).toMatchObject({
      paused: true,
      pause: { by: 'ada', reason: 'too many' },
    });
    await new Promise((resolve) => setTimeout(resolve, 1700));
    expect(ran).toEqual([]);
    await worker.control({ action: 'resume', queue: 'bulk' }, by);
    await waitFor(() => ran.length === 3);
    expect(ran.sort()).toEqual(['apart', 'later', 'shared']);
    expect(await state(web)).toMatchObject({ paused: false, pause: null });
  });

  it('is shown as running if another program resumed it, and new tasks run', async () => {
    const tasks = manager();
    const plain = tasks.task('plain', () => 1);
    await tasks.start();
    await plain.enqueue();
    await tasks.control({ action: 'pause', queue: 'default' }, by);
    await plainQueue().resume();
    expect((await tasks.describe()).queues).toEqual([
      { name: 'default', paused: false, pause: null },
    ]);
    const limited = tasks.task('limited', () => 1, { concurrency: 1 });
    const id = await limited.enqueue();
    await waitFor(async () => (await statusOf(tasks, id)) === 'success');
    expect((await tasks.describe()).queues).toEqual([
      { name: 'default', paused: false, pause: null },
    ]);
  });

  it('has the new pause if it was resumed elsewhere before, in part or as a whole', async () => {
    const tasks = manager();
    await tasks.define('plain').enqueue();
    await tasks.define('limited', { concurrency: 1 }).enqueue();
    const pause = (actor: string) =>
      tasks.control({ action: 'pause', queue: 'default' }, { actor });
    const pausedBy = async () => (await tasks.describe()).queues[0]?.pause?.by;
    await pause('first');
    await plainQueue().resume();
    await pause('second');
    expect(await pausedBy()).toBe('second');
    await redis.hdel(`{${prefix}}:default/limited:meta`, 'paused');
    await pause('third');
    expect(await pausedBy()).toBe('third');
    await pause('fourth');
    expect(await pausedBy()).toBe('third');
  });

  it('also stops a queue that joins it during the command', async () => {
    const [web, other] = [manager(), manager()];
    await web.define('plain').enqueue();
    const pauseQueue = JobSteps.prototype.setPaused;
    jest.spyOn(JobSteps.prototype, 'setPaused').mockImplementationOnce(async function (
      this: JobSteps,
      ...args
    ) {
      await other.define('limited', { concurrency: 1 }).enqueue();
      await pauseQueue.apply(this, args);
    });
    await web.control({ action: 'pause', queue: 'default' }, by);
    expect(await redis.hget(`{${prefix}}:default:meta`, 'paused')).toBe('1');
    expect(await redis.hget(`{${prefix}}:default/limited:meta`, 'paused')).toBe('1');
  });

  it('shows what can be read of its stored pause', async () => {
    const tasks = manager();
    await tasks.define('plain').enqueue();
    await tasks.control({ action: 'pause', queue: 'default' }, by);
    const at = '2026-11-30T08:00:00.000Z';
    const never = '1970-01-01T00:00:00.000Z';
    for (const [stored, pause] of [
      ['no JSON', { by: '', at: never, reason: null }],
      [
        { by: 7, at, reason: 'deploy' },
        { by: '', at, reason: 'deploy' },
      ],
      [
        { by: 'ada', at: 'noon', reason: 'deploy' },
        { by: 'ada', at: never, reason: 'deploy' },
      ],
      [
        { by: 'ada', at, reason: {} },
        { by: 'ada', at, reason: null },
      ],
    ] as const) {
      const text = typeof stored === 'string' ? stored : JSON.stringify(stored);
      await redis.hset(`{${prefix}}:~pauses`, { default: text, later: text });
      expect((await tasks.describe()).queues).toEqual([
        { name: 'default', paused: true, pause },
        { name: 'later', paused: true, pause },
      ]);
    }
  });

  it('is shown as paused without a reason if another program paused it', async () => {
    const tasks = manager();
    await tasks.define('plain').enqueue();
    await plainQueue().pause();
    expect((await tasks.describe()).queues).toEqual([
      { name: 'default', paused: true, pause: null },
    ]);
  });
});

describe('listeners', () => {
  it('are notified of tasks that a command of their process changed', async () => {
    const tasks = manager();
    const heard: string[] = [];
    for (const status of ['pending', 'running', 'cancelled'] as const)
      tasks.on(status, ({ id }) => void heard.push(`${status} ${id}`));
    const id = await tasks.define('plain').enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await tasks.control({ action: 'retry', ids: [id] }, by);
    const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
    expect(results[0]?.ok).toBe(true);
    await waitFor(() => heard.length === 4);
    expect(heard).toEqual([`pending ${id}`, `cancelled ${id}`, `pending ${id}`, `cancelled ${id}`]);
  });
});

describe('the statistics', () => {
  it('count a task that is cancelled while it waits, also between attempts', async () => {
    const [web, worker] = [manager(), manager()];
    let attempts = 0;
    worker.task(
      'flaky',
      () => {
        attempts += 1;
        throw new Error('bad');
      },
      { retries: 3, delay: 60 },
    );
    await Promise.all([web.start({ run: false }), worker.start()]);
    const [waits, flaky] = [
      await web.define('later').with({ runIn: 60 }).enqueue(),
      await web.define('flaky').enqueue(),
    ];
    await waitFor(() => attempts === 1);
    await waitFor(async () => (await statusOf(web, flaky)) === 'pending');
    const outcome = await web.control({ action: 'cancel', ids: [waits, flaky] }, by);
    expect(outcome.results.map(({ ok }) => ok)).toEqual([true, true]);
    const ended = async () => (await web.aggregate('metrics', { from: '-5m' })).counts;
    expect(await ended()).toMatchObject({ cancelled: 2, failed: 0, pending: 0 });
  });
});
