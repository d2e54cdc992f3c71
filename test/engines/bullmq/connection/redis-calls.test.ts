import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { RedisHealth } from '../../../../src/engines/bullmq/connection/health.js';
import { RedisCalls } from '../../../../src/engines/bullmq/connection/redis-calls.js';
import { RedisClock } from '../../../../src/engines/bullmq/connection/redis-clock.js';
import { JobSteps } from '../../../../src/engines/bullmq/control/job-steps.js';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { ScheduleRecords } from '../../../../src/engines/bullmq/schedules/schedule-records.js';
import type { TaskflowError } from '../../../../src/errors.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import { taskRoutes } from '../../../../src/web/task-routes.js';
import { beforeCalls } from '../../../helpers/before-calls.js';
import { ask, postJson } from '../../../helpers/client.js';
import { steadyClock } from '../../../helpers/clock.js';
import { cuttable } from '../../../helpers/cutter.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { serve } from '../../../helpers/serve.js';
import { eventually, gate, sleep, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'ada' };

(hasRedis ? describe : describe.skip)('a call to Redis', () => {
  const on = new RedisForEach();
  let clock: ReturnType<typeof steadyClock>;
  beforeEach(() => {
    clock = steadyClock();
  });
  afterEach(() => void jest.restoreAllMocks());

  function manager(port = on.redis.port): TaskManager {
    const connection = { host: '127.0.0.1', port, password: 'unspeakable' };
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection, logger: false }),
      logger: false,
    });
    on.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }
  async function failureOf(call: Promise<unknown>): Promise<TaskflowError> {
    const error = (await call.then(
      () => 'no error',
      (thrown: unknown) => thrown,
    )) as TaskflowError;
    expect(error).toMatchObject({ code: 'ENGINE_UNAVAILABLE', status: 503 });
    return error;
  }
  function newCalls(): { calls: RedisCalls; redis: Redis } {
    const redis = new Redis(on.redis.connection);
    on.keep({ close: () => redis.quit() });
    const logger = loggerOption('logger', false);
    const health = new RedisHealth({
      redis,
      clock: new RedisClock(redis, logger),
      probe: 'probe',
      logger,
    });
    return { redis, calls: new RedisCalls(redis, health) };
  }
  /** Lets two seconds pass, in which Redis answers a ping. */
  async function passAnswered(redis: Redis): Promise<void> {
    clock.pass(2);
    // This is longer than the interval between two checks of the open calls, even on a busy
    // machine.
    await sleep(0.15);
    await redis.ping();
  }
  const maybeDone = async (call: Promise<unknown>): Promise<boolean> =>
    (await failureOf(call)).maybeDone;
  const total = async (tasks: TaskManager): Promise<number> =>
    (await tasks.aggregate('statsSnapshot')).counts.pending;

  it('reports whether it may have taken effect if Redis hangs', async () => {
    const tasks = manager();
    const [noop, other] = [tasks.define('noop'), tasks.define('other', { queue: 'never used' })];
    await tasks.start({ run: false });
    const waiting = await noop.enqueue();
    await tasks.control({ action: 'pause', queue: 'bulk' }, by);
    on.redis.signal('SIGSTOP');
    const failing = Promise.all([
      ...[
        maybeDone(noop.enqueue()),
        maybeDone(noop.enqueueMany([[], []])),
        maybeDone(noop.with({ idempotencyKey: 'once' }).enqueue()),
      ],
      ...[
        maybeDone(tasks.control({ action: 'resume', queue: 'bulk' }, by)),
        maybeDone(other.enqueue()),
      ],
      ...[
        maybeDone(tasks.control({ action: 'cancel', ids: [waiting] }, by)),
        maybeDone(tasks.find()),
      ],
    ]);
    // When the time is over, the last three calls have only tried to read from Redis.
    await sleep(1);
    clock.pass(5);
    expect(await failing).toEqual([true, true, true, true, false, false, false]);
    on.redis.signal('SIGCONT');
    await waitFor(async () => (await total(tasks).catch(() => 0)) > 0, 20);
    await noop.with({ idempotencyKey: 'once' }).enqueue();
    await eventually(async () => expect(await total(tasks)).toBe(5));
    expect((await tasks.describe()).queues).not.toContainEqual(
      expect.objectContaining({ name: 'bulk' }),
    );
    expect(await tasks.get(waiting)).toMatchObject({ status: 'pending' });
  });

  it('may take longer than the limit for one answer if Redis keeps answering', async () => {
    const { calls, redis } = newCalls();
    await calls.ask(() => redis.ping());
    const { passed, open } = gate();
    const ended: string[] = [];
    let hasBegun = false;
    const begin = (): Promise<void> => {
      hasBegun = true;
      return passed;
    };
    const slow = calls.ask(begin).then(() => ended.push('call'));
    await waitFor(() => hasBegun);
    const settled = calls.settled().then(() => ended.push('all'));
    for (let n = 0; n < 4; n++) await passAnswered(redis);
    expect(ended).toEqual([]);
    open();
    await Promise.all([slow, settled]);
  });

  it('fails after a minute even if Redis keeps answering', async () => {
    const { calls, redis } = newCalls();
    const failed = failureOf(calls.ask(() => new Promise(() => {})));
    let isOver = false;
    void failed.then(() => {
      isOver = true;
    });
    for (let seconds = 0; seconds < 40; seconds += 2) await passAnswered(redis);
    expect(isOver).toBe(false);
    for (let seconds = 40; seconds < 64 && !isOver; seconds += 2) await passAnswered(redis);
    await failed;
  });

  it('shares one timer with all other calls, which stops after the last call', async () => {
    const [started, ended] = [
      jest.spyOn(globalThis, 'setInterval'),
      jest.spyOn(globalThis, 'clearInterval'),
    ];
    const { calls, redis } = newCalls();
    await Promise.all(Array.from({ length: 50 }, () => calls.ask(() => redis.ping())));
    await calls.ask(() => redis.ping());
    const timers = started.mock.calls.flatMap(([, milliseconds], n) =>
      milliseconds === 100 ? [started.mock.results[n]?.value] : [],
    );
    expect(timers).toHaveLength(1);
    await waitFor(() => ended.mock.calls.some(([timer]) => timer === timers[0]), 10);
  });

  it('has more time if it is expensive, as do the calls that wait with it', async () => {
    const { calls, redis } = newCalls();
    await calls.ask(() => redis.ping());
    on.redis.signal('SIGSTOP');
    const large = calls.ask(() => redis.ping(), { maybe: '', longer: 3000 });
    const small = calls.ask(() => redis.ping());
    await sleep(0.1);
    clock.pass(7.5);
    await sleep(0.3);
    on.redis.signal('SIGCONT');
    expect(await Promise.all([large, small])).toEqual(['PONG', 'PONG']);
  });

  it('reports whether it may have taken effect if the connection fails', async () => {
    const line = await cuttable(on.redis.port);
    const tasks = manager(line.port);
    const noop = tasks.define('noop');
    await tasks.start({ run: false });
    const first = await noop.enqueue();
    line.loseAnswers();
    const lost = [
      maybeDone(noop.enqueue()),
      maybeDone(tasks.control({ action: 'pause', queue: 'default' }, by)),
    ];
    await waitFor(async () => (await on.client.llen('{koa-taskflow}:default:wait')) === 2);
    line.cut();
    expect(await Promise.all(lost)).toEqual([true, true]);
    await waitFor(async () => Boolean(await tasks.get(first).catch(() => undefined)), 10);
    await on.redis.stop();
    await failureOf(tasks.find());
    const refused = [
      failureOf(noop.enqueue()),
      failureOf(noop.enqueueMany([[], []])),
      failureOf(tasks.control({ action: 'resume', queue: 'default' }, by)),
    ];
    for (const error of await Promise.all(refused)) {
      expect(error.maybeDone).toBe(false);
      expect(error.message).not.toMatch(/\bmay\b/);
    }
    await on.redis.start();
    await eventually(async () => expect(await total(tasks)).toBe(2), 20);
    await tasks.stop();
    await line.close();
  });

  describe('that Redis refuses because its memory is full', () => {
    /** Fills the memory just before a method is called whose arguments contain a text. */
    function fillBefore(prototype: object, method: string, text: string): void {
      const act = (self: unknown, args: readonly unknown[]): Promise<unknown> | undefined => {
        if (!args.some((arg) => String(arg).includes(text))) return undefined;
        if (!(self instanceof Redis)) return on.client.config('SET', 'maxmemory', 1);
        // Redis executes it before the commands that the same connection sends later.
        void self.config('SET', 'maxmemory', 1);
        return undefined;
      };
      on.keep(beforeCalls(prototype, method, act));
    }
    const free = (): Promise<unknown> => on.client.config('SET', 'maxmemory', 0);

    it.each<[what: string, refused: [from: number, to: number], expected: boolean]>([
      ['has no effect if all of its steps are refused', [0, 4], false],
      ['has an effect if its first step was done', [1, 4], true],
      ['has an effect if its last step was done', [0, 3], true],
    ])('a command to many tasks %s', async (_what, [from, to], expected) => {
      const tasks = manager();
      const ended: string[] = [];
      tasks.on('cancelled', ({ id }) => ended.push(id));
      const delayed = tasks.define('noop').with({ runIn: 60 });
      // Redis knows the script afterwards.
      await tasks.control({ action: 'cancel', ids: [await delayed.enqueue()] }, by);
      const ids = await delayed.enqueueMany([[], [], [], []]);
      ended.length = 0;
      fillBefore(Redis.prototype, 'evalsha', ids[from] ?? '');
      // The later steps are sent after the answers to the earlier ones have arrived.
      const later = ids.slice(to);
      const act = (_self: unknown, args: readonly unknown[]): Promise<unknown> | undefined =>
        later.some((id) => args.includes(id)) ? sleep(0.2).then(free) : undefined;
      on.keep(beforeCalls(Redis.prototype, 'evalsha', act));
      expect(await maybeDone(tasks.control({ action: 'cancel', ids }, by))).toBe(expected);
      await free();
      const done = ids.filter((_id, n) => n < from || n >= to);
      expect(ended).toEqual(done);
      expect((await tasks.aggregate('statsSnapshot')).counts.cancelled).toBe(1 + done.length);
    });

    it('a pause has an effect after its first step', async () => {
      const tasks = manager();
      await tasks.define('noop').enqueue();
      fillBefore(JobSteps.prototype, 'setPaused', 'default');
      const pause = { action: 'pause', queue: 'default' } as const;
      expect(await maybeDone(tasks.control(pause, by))).toBe(true);
      expect(await on.client.hexists('{koa-taskflow}:~pauses', 'default')).toBe(1);
      // The memory is still full.
      expect(await maybeDone(tasks.control({ ...pause, queue: 'other' }, by))).toBe(false);
      await free();
    });

    it('the run of a schedule has an effect after its first step', async () => {
      const tasks = manager();
      tasks.schedule('hourly', tasks.define('noop'), { every: 3600 });
      await tasks.start();
      await waitFor(async () => (await tasks.describe()).schedules[0]?.nextRunAt);
      fillBefore(ScheduleRecords.prototype, 'fired', 'hourly');
      const run = { action: 'run', schedule: 'hourly' } as const;
      expect(await maybeDone(tasks.control(run, by))).toBe(true);
      expect(await maybeDone(tasks.control(run, by))).toBe(false);
      await free();
      expect(await total(tasks)).toBe(1);
    });
  });

  it('may have taken effect if one of its scripts fails', async () => {
    const tasks = manager();
    const [noop, other] = [tasks.define('noop'), tasks.define('other', { queue: 'other' })];
    // Another program stores something else under a name that BullMQ needs.
    await on.client.set('{koa-taskflow}:other:wait', 'not a list');
    const stored = tasks.enqueue([noop.prepare(), other.prepare()]);
    expect(await maybeDone(stored)).toBe(true);
    expect(await on.client.llen('{koa-taskflow}:default:wait')).toBe(1);
  });

  it('is reported over HTTP without the address of Redis', async () => {
    const tasks = manager();
    await tasks.start({ run: false });
    const id = await tasks.define('noop').enqueue();
    const app = new Koa();
    app.use(taskRoutes(tasks, { logger: false }));
    const served = await serve(app);
    on.redis.signal('SIGSTOP');
    const answers = Promise.all([
      ask(`${served.url}/tasks`),
      postJson(`${served.url}/tasks/queues/default/pause`, {}),
      ask(`${served.url}/tasks/health`),
    ]);
    await sleep(1);
    clock.pass(5);
    const [list, paused, health] = await answers;
    on.redis.signal('SIGCONT');
    await on.redis.stop();
    const away = await postJson(`${served.url}/tasks/${id}/cancel`, {});
    const problem = {
      type: 'about:blank',
      status: 503,
      code: 'ENGINE_UNAVAILABLE',
      requestId: expect.any(String),
    };
    expect(list.json).toEqual({
      ...problem,
      title: 'Task engine unavailable',
      detail: 'Redis, which holds the tasks, does not answer.',
    });
    expect(paused.json).toMatchObject({ ...problem, maybeDone: true });
    expect(health.json).toEqual({
      status: 'unavailable',
      code: 'ENGINE_UNAVAILABLE',
      detail: expect.any(String),
    });
    expect(away.json).toEqual({
      ...problem,
      title: 'Task engine unavailable',
      detail: 'Redis, which holds the tasks, cannot be reached.',
    });
    for (const { text, headers } of [list, paused, health, away])
      expect(`${text} ${JSON.stringify(headers)}`).not.toMatch(
        new RegExp(`127\\.0\\.0\\.1:?${on.redis.port}|unspeakable`),
      );
    await served.close();
  });
});
