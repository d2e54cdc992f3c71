import { beforeEach, describe, expect, it } from '@jest/globals';
import * as bullmq from 'bullmq';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { JobHandOut } from '../../../src/engines/bullmq/hand-out.js';
import { openDatabase } from '../../../src/engines/embedded/database.js';
import { layOut } from '../../../src/engines/embedded/layout.js';
import { packTasks } from '../../../src/engines/embedded/write.js';
import { TaskManager } from '../../../src/manager.js';
import { newTaskId } from '../../../src/tasks/task-id.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { promptly, waitFor } from '../../helpers/wait.js';

const by = { actor: 'ada' };
const prefix = 'koa-taskflow';

(hasRedis ? describe : describe.skip)('tasks with an idempotency key on a Redis', () => {
  const server = new RedisForEach();
  const { keep } = server;
  /** The queue of the tasks as any other program has it. */
  let queue: bullmq.Queue;
  beforeEach(() => {
    queue = keep(new bullmq.Queue('default/charge', { connection: server.redis.connection, prefix: `{${prefix}}` }));
  });

  function manager(): TaskManager {
    const tasks = new TaskManager({ engine: bullmqEngine({ connection: server.redis.connection, prefix, logger: false }), logger: false });
    keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }
  const waiting = (): Promise<number> => queue.getJobCountByTypes('waiting', 'prioritized', 'delayed', 'active');

  it('are deduplicated jobs of BullMQ, by which its own tools find the task that has a key', async () => {
    const charge = manager().define('charge').with({ idempotencyKey: 'order 7' });
    const id = await charge.enqueue();
    expect(await charge.enqueue()).toBe(id);
    await waitFor(async () => (await waiting()) === 1);
    expect(await queue.getDeduplicationJobId('order 7')).toBe(`${id}-0`);
    // A program for BullMQ that adds by the same key is told of that job.
    const added = await queue.add('charge', {}, { deduplication: { id: 'order 7' } });
    expect(added.id).toBe(`${id}-0`);
  });

  it('count once among what waits, however many processes ask at the same time', async () => {
    const managers = Array.from({ length: 4 }, manager);
    const keys = Array.from({ length: 25 }, (_, n) => `order ${n}`);
    const asked = managers.map((tasks) => tasks.define('charge'));
    await Promise.all(managers.map((tasks) => tasks.start({ run: false })));
    const ids = await Promise.all(
      keys.map((idempotencyKey) => Promise.all(asked.map((charge) => charge.with({ idempotencyKey }).enqueue()))),
    );
    expect(ids.map((each) => new Set(each).size)).toEqual(keys.map(() => 1));
    await waitFor(async () => (await waiting()) === keys.length);
    const jobs = await queue.getJobs(['waiting', 'prioritized']);
    expect(jobs.map(({ id }) => id).sort()).toEqual(ids.map(([id]) => `${id}-0`).sort());
    for (const idempotencyKey of keys) await asked[0]?.with({ idempotencyKey }).enqueue();
    expect(await waiting()).toBe(keys.length);
  });

  it('free their key in BullMQ when they are cancelled, and when they end', async () => {
    const tasks = manager();
    const charge = tasks.task('charge', () => 1);
    const once = charge.with({ idempotencyKey: 'order 7' });
    const cancelled = await once.enqueue();
    await tasks.control({ action: 'cancel', ids: [cancelled] }, by);
    await waitFor(async () => (await queue.getDeduplicationJobId('order 7')) === null);
    const second = await once.enqueue();
    expect(second).not.toBe(cancelled);
    await waitFor(async () => (await queue.getDeduplicationJobId('order 7')) === `${second}-0`);
    await tasks.start();
    await waitFor(async () => (await tasks.get(second))?.status === 'success');
    await waitFor(async () => (await queue.getDeduplicationJobId('order 7')) === null);
    // The task still has it, which asks nothing of BullMQ.
    const events = await server.client.xlen(`{${prefix}}:default/charge:events`);
    expect(await once.enqueue()).toBe(second);
    expect(await server.client.xlen(`{${prefix}}:default/charge:events`)).toBe(events);
    expect(await waiting()).toBe(0);
  });

  it('wait no longer in BullMQ when the journal has had another task with their key before', async () => {
    const database = await openDatabase(':memory:');
    layOut(database, ':memory:');
    const handOut = new JobHandOut({
      bullmq,
      redis: server.client,
      database,
      prefix: `{${prefix}}`,
      token: 'mine',
      inHand: () => undefined,
    });
    keep(handOut);
    const tasks = packTasks([
      {
        ...{ id: newTaskId(), name: 'charge', args: '[]', queue: 'default', priority: 0, tags: {}, source: 'manual', attempts: 1 },
        ...{ interrupts: 0, createdAt: Date.now(), runAt: Date.now(), idempotency: { key: 'order 7', until: Date.now() + 60_000 } },
      },
    ]);
    const batch = { writes: [{ kind: 'enqueue' as const, tasks }], claim: undefined, at: Date.now() };
    handOut.announce(batch);
    await waitFor(async () => (await waiting()) === 1);
    handOut.applied(batch, { outcomes: [], claimed: [], begun: [], expired: [], nextDue: null, diskBound: false }, 0);
    await waitFor(async () => (await waiting()) === 0);
    expect(await queue.getDeduplicationJobId('order 7')).toBeNull();
    database.close();
  });

  it('run at once although another job has their key, as one that somebody else added', async () => {
    await queue.add('charge', {}, { deduplication: { id: 'order 7' }, delay: 60_000 });
    const tasks = manager();
    const charge = tasks.task('charge', () => 1);
    await tasks.start();
    const began = Date.now();
    const id = await charge.with({ idempotencyKey: 'order 7' }).enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    expect(Date.now() - began).toBeLessThan(promptly * 1000);
  });
});
