import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { Executor } from '../../../../src/engines/bullmq/run/executor.js';
import { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };
/** Seconds: several times what the cancels usually take, and less than a timeout would. */
const limit = 2.5;

(hasRedis ? describe : describe.skip)('a signal to workers', () => {
  const server = new RedisForEach();
  afterEach(() => void jest.restoreAllMocks());

  function manager(): TaskManager {
    const engine = bullmqEngine({ connection: server.redis.connection, logger: false });
    const tasks = new TaskManager({ engine, logger: false });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  /** Starts a worker with tasks that run until they are cancelled. */
  async function running(count: number): Promise<{ web: TaskManager; worker: TaskManager; ids: string[]; aborted: Set<string> }> {
    const [web, worker, aborted] = [manager(), manager(), new Set<string>()];
    const task = worker.task('patient', async () => {
      const { id, signal } = taskContext();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      aborted.add(id);
    });
    await worker.start();
    const ids = await task.enqueueMany(Array.from({ length: count }, () => []));
    const isRunning = async (id: string): Promise<boolean> => (await web.get(id))?.status === 'running';
    for (const id of ids) await waitFor(() => isRunning(id));
    return { web, worker, ids, aborted };
  }

  it('delivers each cancel at once to the process that runs the task', async () => {
    const { web, ids, aborted } = await running(10);
    const began = performance.now();
    for (const id of ids) {
      await web.control({ action: 'cancel', ids: [id] }, by);
      await waitFor(() => aborted.has(id));
    }
    expect(performance.now() - began).toBeLessThan(limit * 1000);
  });

  it('delivers a cancel again if the task was fetched but not yet started', async () => {
    const { web, ids, aborted } = await running(1);
    // The first look comes before the attempt exists.
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

  it('arrives after all connections were cut', async () => {
    const { web, ids, aborted } = await running(1);
    await server.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await waitFor(async () => (await web.get(ids[0] ?? '').catch(() => undefined))?.status === 'running');
    await web.control({ action: 'cancel', ids }, by);
    await waitFor(() => aborted.size === 1, limit);
  });

  it('makes workers serve a new queue at once', async () => {
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
