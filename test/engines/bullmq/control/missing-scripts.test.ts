import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { defineSteps } from '../../../../src/engines/bullmq/control/step-scripts.js';
import type { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { type Cutter, cuttable } from '../../../helpers/cutter.js';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis } from '../../../helpers/redis.js';
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

/** Removes the scripts of BullMQ, but not the scripts of koa-taskflow. */
async function forgetSteps(): Promise<void> {
  const texts: string[] = [];
  defineSteps({
    defineCommand: (_: string, { lua }: { lua: string }) => texts.push(lua),
  } as unknown as Redis);
  await redis.script('FLUSH');
  for (const text of texts) await redis.script('LOAD', text);
}

(hasRedis ? describe : describe.skip)('if Redis has lost all scripts of BullMQ', () => {
  const executed = async (): Promise<number> =>
    Number(/^cmdstat_exec:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0);
  const counts = async (): Promise<unknown> => ({
    active: await redis.llen('{jobs}:default:active'),
    waiting: await redis.llen('{jobs}:default:wait'),
    delayed: await redis.zcard('{jobs}:default:delayed'),
    failed: await redis.zcard('{jobs}:default:failed'),
  });
  const none = { active: 0, waiting: 0, delayed: 0, failed: 0 };

  it.each([
    ['cancel', 'delayed', { failed: 2 }],
    ['retry', 'failed', { waiting: 2 }],
    ['run', 'delayed', { waiting: 2 }],
    ['delete', 'failed', {}],
  ] as const)(
    'a %s command takes full effect although its process loses its connection',
    async (action, from, then) => {
      const held = tasks.define('held').with({ runIn: 60 });
      const [first = '', ...ids] = await held.enqueueMany([[], [], []]);
      // The connection must have sent each script once.
      for (const each of ['run', 'cancel', 'retry', 'cancel', 'delete'] as const)
        await tasks.control({ action: each, ids: [first] }, by);
      if (from === 'failed') await tasks.control({ action: 'cancel', ids }, by);
      await forgetSteps();
      const before = await executed();
      beforeTransactions(line.port, () => line.loseAnswers());
      const answer = tasks.control({ action, ids }, by).catch((error: unknown) => error);
      await waitFor(async () => (await executed()) > before);
      line.cut();
      expect(await answer).toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
      expect(await counts()).toEqual({ ...none, ...then });
      expect(await redis.keys('{jobs}:*:lock')).toEqual([]);
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
