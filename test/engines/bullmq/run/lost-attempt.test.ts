import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { RedisQueueBackend } from 'bullmq';
import { taskContext } from '../../../../src/tasks/context.js';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { hasRedis } from '../../../helpers/redis.js';
import { gate, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('an attempt that has lost its lock', () => {
  const processes = useJobProcesses();
  afterEach(() => void jest.restoreAllMocks());

  it('lets its process settle the task when the other process dies', async () => {
    const client = processes.client();
    const tasks = processes.manager();
    const [aborted, end] = [gate(), gate()];
    const task = tasks.task('deaf', async () => {
      taskContext().signal.addEventListener('abort', () => aborted.open());
      await end.passed;
    });
    await tasks.start();
    const id = await task.enqueue();
    await inState(tasks, id, 'running');
    const lock = `{jobs}:default:${id}:lock`;
    // As if another process ran the task.
    await client.set(lock, 'another');
    await aborted.passed;
    // As if that process had died.
    await client.del(lock);
    await inState(tasks, id, 'interrupted');
    expect(await client.exists(lock)).toBe(0);
    end.open();
    client.disconnect();
  });

  it('aborts its signal if its job is fetched here again before the lock is renewed', async () => {
    const client = processes.client();
    const tasks = processes.manager();
    const [aborted, end] = [gate(), gate()];
    const task = tasks.task('deaf', async () => {
      taskContext().signal.addEventListener('abort', () => aborted.open());
      await end.passed;
    });
    // No renewal finds out that the lock is lost.
    jest.spyOn(RedisQueueBackend.prototype, 'extendLocks').mockResolvedValue([]);
    await tasks.start();
    const id = await task.enqueue();
    await inState(tasks, id, 'running');
    // As if another process had taken over the job and put it back.
    await client
      .multi()
      .lrem('{jobs}:default:active', 1, id)
      .del(`{jobs}:default:${id}:lock`)
      .rpush('{jobs}:default:wait', id)
      .zadd('{jobs}:default:marker', 0, '0')
      .exec();
    await aborted.passed;
    end.open();
    client.disconnect();
  });

  it('does not abort the next attempt of its task if Redis answers late', async () => {
    const tasks = processes.manager();
    const [renewing, retried] = [gate(), gate()];
    const { extendLocks } = RedisQueueBackend.prototype;
    let answers = 0;
    const task = tasks.task(
      'again',
      async () => {
        if (taskContext().attempt === 1) {
          await renewing.passed;
          throw new Error('down');
        }
        retried.open();
        await waitFor(() => answers >= 2);
        return taskContext().signal.aborted;
      },
      { retries: 1 },
    );
    // Redis executes the first renewal only when the next attempt has begun.
    jest.spyOn(RedisQueueBackend.prototype, 'extendLocks').mockImplementation(async function (
      this: RedisQueueBackend,
      ...args
    ) {
      renewing.open();
      await retried.passed;
      const failed = await extendLocks.apply(this, args);
      answers += 1;
      return failed;
    });
    await tasks.start();
    expect(await inState(tasks, await task.enqueue(), 'success')).toMatchObject({ result: false });
  });
});
