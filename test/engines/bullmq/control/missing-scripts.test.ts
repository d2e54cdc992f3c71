import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import type { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { type Cutter, cuttable } from '../../../helpers/cutter.js';
import { flushing } from '../../../helpers/flushing.js';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis } from '../../../helpers/redis.js';
import type { Relay } from '../../../helpers/relay.js';
import { gate, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };
// This runs before Redis is removed, because Jest would wait for the connection of a lost server.
afterEach(async () => {
  jest.restoreAllMocks();
  redis.disconnect();
  await line.close();
});
const processes = useJobProcesses();
const { multi } = Redis.prototype;
/** Calls a function just before a connection to a port begins a transaction. */
function beforeTransactions(port: number, act: (redis: Redis) => void): void {
  jest.spyOn(Redis.prototype, 'multi').mockImplementation(function (
    this: Redis,
    ...args: unknown[]
  ) {
    if (this.options.port === port) act(this);
    return (multi as (...args: unknown[]) => never).apply(this, args);
  });
}

let redis: Redis;
let line: Cutter;
/** The tasks of a process that loses its connection. */
let tasks: TaskManager;
beforeEach(async () => {
  redis = processes.client();
  line = await cuttable(processes.redis.port);
  tasks = processes.manager(false, 'jobs', line.port);
});

(hasRedis ? describe : describe.skip)('if Redis has lost scripts', () => {
  const executed = async (): Promise<number> =>
    Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0);
  const counts = async (): Promise<unknown> => ({
    active: await redis.llen('{jobs}:default:active'),
    waiting: await redis.llen('{jobs}:default:wait'),
    delayed: await redis.zcard('{jobs}:default:delayed'),
    failed: await redis.zcard('{jobs}:default:failed'),
  });
  const none = { active: 0, waiting: 0, delayed: 0, failed: 0 };
  /** Removes all scripts, or all but those of this package or those of BullMQ. */
  async function forget(kept: 'nothing' | 'our scripts' | 'scripts of BullMQ'): Promise<void> {
    await redis.script('FLUSH');
    const { scriptsSet } = redis as unknown as { scriptsSet: Record<string, { lua: string }> };
    const texts =
      kept === 'nothing'
        ? []
        : kept === 'our scripts'
          ? ours
          : Object.values(scriptsSet).map(({ lua }) => lua);
    for (const text of texts) await redis.script('LOAD', text);
  }
  const ours: string[] = [];

  it('a command to many tasks sends the text of each script once', async () => {
    const ids = await tasks.define('many').enqueueMany(Array.from({ length: 1000 }, () => []));
    const received = async (): Promise<number> =>
      Number(/^total_net_input_bytes:(\d+)/m.exec(await redis.info('stats'))?.[1]);
    for (const action of ['cancel', 'retry', 'cancel', 'delete'] as const) {
      await redis.script('FLUSH');
      const before = await received();
      const { results } = await tasks.control({ action, filter: 'all' }, by);
      expect(results.filter(({ ok }) => ok).length).toBe(ids.length);
      // Each task needs about 2000 bytes, and the text of the largest script has 46,000.
      expect(((await received()) - before) / ids.length).toBeLessThan(3000);
    }
  });

  describe.each(['nothing', 'our scripts', 'scripts of BullMQ'] as const)(
    'and has %s left',
    (kept) => {
      it.each([
        ['cancel', 'delayed', { failed: 2 }],
        ['retry', 'failed', { waiting: 2 }],
        ['run', 'delayed', { waiting: 2 }],
        ['delete', 'failed', {}],
      ] as const)(
        'a %s command takes full effect or none if its process loses its connection',
        async (action, from, then) => {
          const texts = jest.spyOn(Redis.prototype, 'eval');
          const held = tasks.define('held').with({ runIn: 60 });
          const [first = '', ...ids] = await held.enqueueMany([[], [], []]);
          for (const each of ['run', 'cancel', 'retry', 'cancel', 'delete'] as const)
            await tasks.control({ action: each, ids: [first] }, by);
          ours.push(...texts.mock.calls.map(([text]) => String(text)));
          if (from === 'failed') await tasks.control({ action: 'cancel', ids }, by);
          await forget(kept);
          const before = await executed();
          const { evalsha } = Redis.prototype;
          jest.spyOn(Redis.prototype, 'evalsha').mockImplementation(function (
            this: Redis,
            ...args: unknown[]
          ) {
            // Background work may call other scripts before the command reads the tasks.
            if (args.includes('{jobs}:~cancelled:default')) line.loseAnswers();
            return (evalsha as (...args: unknown[]) => never).apply(this, args);
          });
          const answer = tasks.control({ action, ids }, by).catch((error: unknown) => error);
          // A command that ends too early fails the test at once, with its error.
          await Promise.race([waitFor(async () => (await executed()) >= before + 2), answer]);
          jest.restoreAllMocks();
          line.cut();
          expect(await answer).toMatchObject({ code: 'ENGINE_UNAVAILABLE', maybeDone: true });
          expect(await redis.keys('{jobs}:*:lock')).toEqual([]);
          expect(await counts()).toEqual({
            ...none,
            ...(kept === 'our scripts' ? then : { [from]: 2 }),
          });
          await processes.manager().control({ action, ids }, by);
          expect(await counts()).toEqual({ ...none, ...then });
        },
      );
    },
  );
});

(hasRedis ? describe : describe.skip)('if Redis loses all scripts before each transaction', () => {
  it('the end of a cancelled task is stored', async () => {
    const worker = processes.manager(false, 'jobs', line.port);
    const other = processes.manager();
    const endless = worker.task(
      'endless',
      () => new Promise((resolve) => taskContext().signal.addEventListener('abort', resolve)),
    );
    await worker.start();
    const ended = await endless.enqueue();
    await inState(worker, ended, 'running');
    await other.control({ action: 'cancel', ids: [ended] }, by);
    await inState(worker, ended, 'cancelled');
    const id = await endless.enqueue();
    await inState(worker, id, 'running');
    beforeTransactions(line.port, (connection) => void connection.script('FLUSH'));
    await other.control({ action: 'cancel', ids: [id] }, by);
    await inState(other, id, 'cancelled');
    expect(await redis.exists('{jobs}:~cancelling')).toBe(0);
  });
});

(hasRedis ? describe : describe.skip)('if Redis loses all scripts before each call', () => {
  let proxy: Relay;
  afterEach(() => proxy.close());

  it('many pauses at once take full effect', async () => {
    proxy = await flushing(processes.redis.port);
    const manager = processes.manager(false, 'jobs', proxy.port);
    const noop = manager.define('noop');
    const queues = Array.from({ length: 8 }, (_, n) => `q${n}`);
    for (const queue of queues) await noop.with({ queue }).enqueue();
    for (const [action, paused] of [
      ['pause', 1],
      ['resume', 0],
    ] as const) {
      await Promise.all(queues.map((queue) => manager.control({ action, queue }, by)));
      for (const queue of queues)
        expect([
          await redis.hexists('{jobs}:~pauses', queue),
          await redis.hexists(`{jobs}:${queue}:meta`, 'paused'),
        ]).toEqual([paused, paused]);
    }
  });
});

(hasRedis ? describe : describe.skip)('the rejected end of a cancelled task', () => {
  it('keeps the request to cancel, and writes no change note', async () => {
    const { logger, lines } = recordingLogger();
    const worker = processes.manager(logger);
    const { passed, open } = gate();
    const aborted = gate();
    const slow = worker.task('slow', () => {
      taskContext().signal.addEventListener('abort', aborted.open);
      return passed;
    });
    await worker.start();
    const id = await slow.enqueue();
    await inState(worker, id, 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await aborted.passed;
    // Another process has taken over the task.
    await redis.set(`{jobs}:default:${id}:lock`, 'other', 'PX', 60_000);
    const last = (await redis.xrevrange('{jobs}:~changes', '+', '-', 'COUNT', 1))[0]?.[0];
    open();
    await waitFor(() => lines.some(({ msg }) => String(msg).includes('was dropped')));
    expect(await redis.hkeys('{jobs}:~cancelling')).toEqual([`default:${id}`]);
    expect((await redis.xrevrange('{jobs}:~changes', '+', '-', 'COUNT', 1))[0]?.[0]).toBe(last);
  });
});
