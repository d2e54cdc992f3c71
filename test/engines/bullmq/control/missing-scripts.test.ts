import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { defineSteps } from '../../../../src/engines/bullmq/control/step-scripts.js';
import type { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { type Cutter, cuttable } from '../../../helpers/cutter.js';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis } from '../../../helpers/redis.js';
import { eventually, gate, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };
const processes = useJobProcesses();
const { multi } = Redis.prototype;
/** Calls a function just before a connection to a port begins a transaction. */
const beforeTransactions = (
  port: number,
  act: (redis: Redis) => void,
): { readonly times: number } => {
  const counted = { times: 0 };
  jest.spyOn(Redis.prototype, 'multi').mockImplementation(function (
    this: Redis,
    ...args: unknown[]
  ) {
    if (this.options.port === port) {
      counted.times += 1;
      act(this);
    }
    return (multi as (...args: unknown[]) => never).apply(this, args);
  });
  return counted;
};

let redis: Redis;
let line: Cutter;
/** The tasks of a process that loses its connection. */
let tasks: TaskManager;
beforeEach(async () => {
  redis = processes.client();
  line = await cuttable(processes.redis.port);
  tasks = processes.manager(false, 'jobs', line.port);
});
afterEach(async () => {
  jest.restoreAllMocks();
  redis.disconnect();
  await line.close();
});

/** Removes the scripts of BullMQ. Those of this package stay. */
async function forgetSteps(): Promise<void> {
  const texts: string[] = [];
  defineSteps({
    defineCommand: (_: string, { lua }: { lua: string }) => texts.push(lua),
  } as unknown as Redis);
  await redis.script('FLUSH');
  for (const text of texts) await redis.script('LOAD', text);
}

(hasRedis ? describe : describe.skip)(
  'a command whose process loses its connection when Redis lacks a script of BullMQ',
  () => {
    /** Runs a command, and cuts the connection once our script has run and BullMQ's has not. */
    async function runInHalf(command: Parameters<TaskManager['control']>[0]): Promise<void> {
      await forgetSteps();
      beforeTransactions(line.port, () => line.loseAnswers());
      const before = await executed();
      const answer = tasks.control(command, by).catch((error: unknown) => error);
      await waitFor(async () => (await executed()) > before);
      line.cut();
      expect(await answer).toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
      jest.restoreAllMocks();
      // Otherwise they would expire after ten seconds.
      const locks = await redis.keys('{jobs}:*:lock');
      if (locks.length > 0) await redis.del(locks);
    }
    const executed = async (): Promise<number> =>
      Number(/^cmdstat_exec:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0);

    it('has its waiting tasks ended as cancelled, and lets its failed ones wait for their retry', async () => {
      const other = processes.manager();
      const plain = tasks.define('plain');
      const [first = '', second = '', ...ids] = await plain.enqueueMany(
        Array.from({ length: 5 }, () => []),
      );
      // Each connection must have sent each script once.
      await tasks.control({ action: 'cancel', ids }, by);
      await tasks.control({ action: 'retry', ids, spread: 60 }, by);
      await tasks.control({ action: 'cancel', ids }, by);
      await runInHalf({ action: 'retry', ids, spread: 60 });
      await tasks.control({ action: 'cancel', ids: [first] }, by);
      await runInHalf({ action: 'cancel', ids: [second] });
      await other.start({ run: false });
      const queue = new Queue('default', {
        connection: processes.redis.connection,
        prefix: '{jobs}',
      });
      await eventually(
        async () =>
          expect(await queue.getJobCounts()).toMatchObject({
            active: 0,
            failed: 2,
            waiting: 1,
            delayed: 2,
          }),
        20,
      );
      await queue.close();
      const untouched = { attempt: 0, attempts: [], error: null };
      expect(await other.get(second)).toMatchObject({ ...untouched, status: 'cancelled' });
      for (const id of ids)
        expect(await other.get(id)).toMatchObject({ ...untouched, status: 'pending' });
      expect((await other.aggregate('metrics', {})).counts).toMatchObject({
        cancelled: 2,
        interrupted: 0,
        failed: 0,
        pending: 3,
      });
      expect(await redis.hlen('{jobs}:~cancelling')).toBe(0);
    });

    it('leaves a task that was not deleted as it was', async () => {
      const other = processes.manager();
      const plain = tasks.define('plain');
      const [first = '', second = ''] = await plain.enqueueMany([[], []]);
      await tasks.control({ action: 'cancel', ids: [first, second] }, by);
      await tasks.control({ action: 'delete', ids: [first] }, by);
      await runInHalf({ action: 'delete', ids: [second] });
      expect((await other.aggregate('metrics', {})).counts).toMatchObject({
        cancelled: 1,
        failed: 0,
      });
      expect((await other.get(second))?.status).toBe('cancelled');
    });
  },
);

(hasRedis ? describe : describe.skip)('if Redis drops all scripts before each transaction', () => {
  const flush = (connection: Redis): void => void connection.script('FLUSH');

  it('commands are executed, in two transactions each', async () => {
    const plain = tasks.define('plain');
    const [first = '', ...ids] = await plain.enqueueMany([[], [], []]);
    const actions = ['cancel', 'retry', 'cancel', 'delete'] as const;
    for (const action of actions) await tasks.control({ action, ids: [first] }, by);
    const transactions = beforeTransactions(line.port, flush);
    for (const action of actions) {
      const { results } = await tasks.control({ action, ids }, by);
      expect([action, results.map(({ ok }) => ok)]).toEqual([action, [true, true]]);
    }
    expect(transactions.times).toBe(8);
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({ pending: 0 });
  });

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
    beforeTransactions(line.port, flush);
    await other.control({ action: 'cancel', ids: [id] }, by);
    await inState(other, id, 'cancelled');
    expect(await redis.exists('{jobs}:~cancelling')).toBe(0);
  });
});

(hasRedis ? describe : describe.skip)('the end of a cancelled task that BullMQ refuses', () => {
  it('removes no request to cancel it, and notes no change', async () => {
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
