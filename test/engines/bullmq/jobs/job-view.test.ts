import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import type { TaskManagerOptions } from '../../../../src/manager-options.js';
import type { TaskDetail } from '../../../../src/tasks/types.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

let redis: RedisServer;
const managers: TaskManager[] = [];

const engines: [string, () => TaskManagerOptions][] = [
  ['the embedded engine', () => ({ database: ':memory:' })],
];
if (hasRedis)
  engines.push([
    'bullmqEngine',
    () => ({ engine: bullmqEngine({ connection: redis.connection, logger: false }) }),
  ]);

beforeEach(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterEach(async () => {
  await Promise.all(managers.splice(0).map((tasks) => tasks.stop({ timeout: 0.1 })));
  if (hasRedis) await redis.remove();
});

function managerOf(options: TaskManagerOptions): TaskManager {
  const tasks = new TaskManager({ ...options, logger: false });
  managers.push(tasks);
  return tasks;
}

/** The times of a task, as a list and its own page show them: the two must agree. */
async function timesOf(
  tasks: TaskManager,
  id: string,
): Promise<Pick<TaskDetail, 'status' | 'runAt' | 'startedAt' | 'duration'>> {
  const [task, { items }] = await Promise.all([tasks.get(id), tasks.find()]);
  const { status, runAt, startedAt, duration } = task ?? ({} as TaskDetail);
  expect(items.find((each) => each.id === id)).toMatchObject({
    status,
    runAt,
    startedAt,
    duration,
  });
  return { status, runAt, startedAt, duration };
}

const millis = (text: string | null | undefined): number => Date.parse(text ?? '');

describe.each(engines)('the times of a task on %s', (_name, optionsOf) => {
  it('show when a failed attempt started and when the next one is due', async () => {
    const tasks = managerOf(optionsOf());
    const began: number[] = [];
    const work = tasks.task(
      'work',
      () => {
        began.push(Date.now());
        throw new Error('no');
      },
      { retries: 1, delay: 60 },
    );
    await tasks.start();
    const id = await work.enqueue();
    await waitFor(async () => (await tasks.get(id))?.error);
    const { status, runAt, startedAt } = await timesOf(tasks, id);
    expect(status).toBe('pending');
    expect(Math.abs(millis(startedAt) - (began[0] ?? 0))).toBeLessThan(5000);
    expect(millis(runAt) - millis(startedAt)).toBeGreaterThan(59_000);
    expect(millis(runAt) - millis(startedAt)).toBeLessThan(65_000);

    // The time of the retry stays that of the attempt which it begins.
    await tasks.control({ action: 'run', ids: [id] }, { actor: 'test' });
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    const ended = await timesOf(tasks, id);
    expect(Math.abs(millis(ended.startedAt) - millis(ended.runAt))).toBeLessThan(5000);
    expect(ended.duration ?? -1).toBeLessThan(30);
  });

  it('show no start if the task was cancelled while it waited for a retry', async () => {
    const tasks = managerOf(optionsOf());
    const work = tasks.task(
      'work',
      () => {
        throw new Error('no');
      },
      { retries: 1, delay: 60 },
    );
    await tasks.start();
    const id = await work.enqueue();
    await waitFor(async () => (await tasks.get(id))?.error);
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    expect(await timesOf(tasks, id)).toMatchObject({
      status: 'cancelled',
      startedAt: null,
      duration: null,
    });
  });

  it('show no start if the deadline passed before the first attempt', async () => {
    const tasks = managerOf(optionsOf());
    const notified: unknown[] = [];
    tasks.on('failed', ({ startedAt, duration }) => notified.push({ startedAt, duration }));
    const work = tasks.define('work', { deadline: 0.05 });
    const id = await work.enqueue();
    await sleep(0.2);
    work.handle(() => 1);
    await tasks.start();
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    expect(await timesOf(tasks, id)).toMatchObject({ startedAt: null, duration: null });
    await waitFor(() => notified.length === 1);
    expect(notified).toEqual([{ startedAt: null, duration: null }]);
  });
});

(hasRedis ? describe : describe.skip)(
  'the times of a task whose deadline passed before its second attempt',
  () => {
    it('show no start of the second attempt', async () => {
      const options = (): TaskManagerOptions => ({
        engine: bullmqEngine({ connection: redis.connection, logger: false }),
      });
      const handler = (): never => {
        throw new Error('no');
      };
      const [first, second] = [managerOf(options()), managerOf(options())];
      // On a slow machine, too, the first attempt fails early enough for a second one before the
      // deadline, and the first process stops before that one is due.
      const settings = { retries: 1, delay: 3, deadline: 5.5 };
      const work = first.task('work', handler, settings);
      await first.start();
      const id = await work.enqueue();
      await waitFor(async () => (await first.get(id))?.error);
      await first.stop();
      await sleep(settings.deadline);
      second.task('work', handler, settings);
      const notified: unknown[] = [];
      second.on('failed', ({ startedAt, duration }) => notified.push({ startedAt, duration }));
      await second.start();
      await waitFor(async () => (await second.get(id))?.status === 'failed');
      expect(await timesOf(second, id)).toMatchObject({ startedAt: null, duration: null });
      await waitFor(() => notified.length === 1);
      expect(notified).toEqual([{ startedAt: null, duration: null }]);
    });
  },
);

(hasRedis ? describe : describe.skip)('the time of a retry', () => {
  it('is the same in the job and in the order of the queue', async () => {
    const tasks = managerOf({
      engine: bullmqEngine({ connection: redis.connection, logger: false }),
      concurrency: 100,
    });
    const handler = (): never => {
      throw new Error('no');
    };
    const work = tasks.task('work', handler, { retries: 1, delay: 60 });
    const ids = await work.enqueueMany(Array.from({ length: 100 }, () => []));
    await tasks.start();
    await waitFor(async () =>
      (await Promise.all(ids.map((id) => redisField(id, 'tfw')))).every(Boolean),
    );
    expect(await Promise.all(ids.map(placeInQueue))).toEqual(
      await Promise.all(ids.map((id) => redisField(id, 'tfw'))),
    );
  });
});

(hasRedis ? describe : describe.skip)(
  'the times of a task that a process without its handler delays',
  () => {
    it('do not change', async () => {
      const options = (): TaskManagerOptions => ({
        engine: bullmqEngine({ connection: redis.connection, logger: false }),
      });
      const first = managerOf(options());
      let fails = true;
      const handler = (): number => {
        if (fails) throw new Error('no');
        return 1;
      };
      const work = first.task('work', handler, { retries: 3, delay: 3 });
      await first.start();
      const id = await work.enqueue();
      await waitFor(async () => (await first.get(id))?.error);
      const before = await timesOf(first, id);
      await first.stop();

      const without = managerOf(options());
      await without.start();
      const second = managerOf(options());
      const fresh = await second.define('never').enqueue();
      const isPutBack = async (): Promise<boolean> =>
        (await Promise.all([id, fresh].map((each) => redisField(each, 'tfb')))).every(
          (times) => Number(times) > 0,
        );
      await waitFor(isPutBack, 10);
      expect(await timesOf(second, id)).toEqual(before);
      const { runAt, startedAt } = await timesOf(second, fresh);
      expect({ startedAt, late: millis(runAt) > Date.now() }).toEqual({
        startedAt: null,
        late: false,
      });

      // Its next attempt is one like any other.
      fails = false;
      second.task('work', handler, { retries: 3, delay: 3 });
      await without.stop();
      await second.start();
      await second.control({ action: 'run', ids: [id] }, { actor: 'test' });
      await waitFor(async () => (await second.get(id))?.status === 'success', 10);
      expect((await timesOf(second, id)).runAt).toBe(before.runAt);
    });
  },
);

/** Until when a delayed job waits, by the score that BullMQ gives it; Unix milliseconds. */
async function placeInQueue(id: string): Promise<string> {
  const client = new Redis(redis.connection);
  try {
    return String(
      Math.floor(Number(await client.zscore('{koa-taskflow}:default:delayed', id)) / 0x1000),
    );
  } finally {
    client.disconnect();
  }
}

async function redisField(id: string, field: string): Promise<string | null> {
  const client = new Redis(redis.connection);
  try {
    return await client.hget(`{koa-taskflow}:default:${id}`, field);
  } finally {
    client.disconnect();
  }
}
