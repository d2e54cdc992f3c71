import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { Executor } from '../../../../src/engines/bullmq/run/executor.js';
import { TaskManager } from '../../../../src/manager.js';
import type { Logger } from '../../../../src/options.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };
/** Seconds: many times what a cancel usually takes, and less than a timeout would. */
const limit = 5;

(hasRedis ? describe : describe.skip)('a signal to workers', () => {
  const server = new RedisForEach();
  afterEach(() => void jest.restoreAllMocks());

  function manager(logger: Logger | false = false): TaskManager {
    const engine = bullmqEngine({ connection: server.redis.connection, logger });
    const tasks = new TaskManager({ engine, logger: false });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  /** Starts a worker with tasks that run until they are cancelled. */
  async function running(
    count: number,
    logger?: Logger,
  ): Promise<{ web: TaskManager; worker: TaskManager; ids: string[]; aborted: Set<string> }> {
    const [web, worker, aborted] = [manager(), manager(logger), new Set<string>()];
    const task = worker.task('patient', async () => {
      const { id, signal } = taskContext();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      aborted.add(id);
    });
    await worker.start();
    const ids = await task.enqueueMany(Array.from({ length: count }, () => []));
    const isRunning = async (id: string): Promise<boolean> =>
      (await web.get(id))?.status === 'running';
    for (const id of ids) await waitFor(() => isRunning(id));
    return { web, worker, ids, aborted };
  }

  it('delivers each cancel immediately to the process that runs the task', async () => {
    const { web, ids, aborted } = await running(10);
    const durations: number[] = [];
    for (const id of ids) {
      const began = performance.now();
      await web.control({ action: 'cancel', ids: [id] }, by);
      await waitFor(() => aborted.has(id));
      durations.push(performance.now() - began);
    }
    // A cancel takes about 100 ms, and 600 ms without signals. The median leaves out a stall of the
    // machine.
    durations.sort((a, b) => a - b);
    expect(durations[5]).toBeLessThan(450);
  });

  it('delivers a cancel again if the task was fetched but not yet started', async () => {
    const { web, ids, aborted } = await running(1);
    // The first poll comes before the attempt exists.
    const cancel = jest.spyOn(Executor.prototype, 'cancel').mockImplementationOnce(() => undefined);
    await web.control({ action: 'cancel', ids }, by);
    await waitFor(() => aborted.size === 1, limit);
    expect(cancel.mock.calls.length).toBeGreaterThan(1);
  });

  it('delivers a cancel to a process that waits for its tasks before it stops', async () => {
    const { web, worker, ids, aborted } = await running(1);
    const stopped = worker.stop({ timeout: 60 });
    await web.control({ action: 'cancel', ids }, by);
    await waitFor(() => aborted.size === 1, limit);
    await stopped;
  });

  it('arrives after all connections were closed', async () => {
    const { web, ids, aborted } = await running(1);
    await server.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await waitFor(
      async () => (await web.get(ids[0] ?? '').catch(() => undefined))?.status === 'running',
    );
    await web.control({ action: 'cancel', ids }, by);
    await waitFor(() => aborted.size === 1, limit);
  });

  it('is replaced by polling, with one logged error, if its read fails', async () => {
    const { logger, lines } = recordingLogger();
    const { web, ids, aborted } = await running(2, logger);
    await server.client.call('ACL', 'SETUSER', 'default', '-xrevrange');
    for (const id of ids) {
      // The read that is already waiting gets the first signal, and no later one.
      await web.control({ action: 'cancel', ids: [id] }, by);
      await waitFor(() => aborted.has(id), limit);
    }
    const id = await web.define('patient').with({ queue: 'new' }).enqueue();
    await waitFor(async () => (await web.get(id))?.status === 'running', limit);
    const said = (words: RegExp): number =>
      lines.filter(({ msg }) => words.test(String(msg))).length;
    await waitFor(() => said(/signals .* failed$/) === 1);
    await server.client.call('ACL', 'SETUSER', 'default', '+xrevrange');
    await web.control({ action: 'cancel', ids: [id] }, by);
    await waitFor(() => said(/signals .* works again$/) === 1);
    expect(said(/signals .* failed$/)).toBe(1);
  });

  it('makes a worker poll at most a few times a second', async () => {
    await running(1);
    const polls = async (): Promise<number> =>
      Number(
        /^cmdstat_xrevrange:calls=(\d+)/m.exec(await server.client.info('commandstats'))?.[1] ?? 0,
      );
    const [before, began] = [await polls(), performance.now()];
    while (performance.now() - began < 500) {
      await server.client.xadd('{koa-taskflow}:~signals', '*', 'cancel', 'none');
      await sleep(0.001);
    }
    const seconds = (performance.now() - began) / 1000;
    expect((await polls()) - before).toBeLessThanOrEqual(seconds * 10 + 2);
  });

  it('makes workers serve a new queue immediately', async () => {
    const [web, worker] = [manager(), manager()];
    worker.task('anywhere', () => 1);
    await worker.start();
    const task = web.define('anywhere');
    const began = performance.now();
    for (let n = 0; n < 10; n++) {
      const id = await task.with({ queue: `queue-${n}` }).enqueue();
      await waitFor(async () => (await web.get(id))?.status === 'success');
    }
    expect(performance.now() - began).toBeLessThan(limit * 1000);
  });
});
