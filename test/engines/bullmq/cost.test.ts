import { describe, expect, it, jest } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import { attachQueues, bullmqEngine } from '../../../src/engines/bullmq/index.js';
import { QueueReads } from '../../../src/engines/bullmq/queues/queue-reads.js';
import { TaskManager } from '../../../src/index.js';
import type { TaskSource } from '../../../src/tasks/source.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { monitorRedis } from '../../helpers/redis-monitor.js';
import { sleep, waitFor } from '../../helpers/wait.js';

const by = { actor: 'ada' };
/** The number of ended and of waiting tasks at each measurement. */
const sizes = { few: 50, many: 1000 };
/** How often each step is measured. */
const rounds = 10;

/** The load on Redis: its commands, including those of scripts, and the bytes that it sent. */
interface Cost {
  commands: number;
  sent: number;
}

(hasRedis ? describe : describe.skip)('the load on Redis', () => {
  const server = new RedisForEach();
  const { keep } = server;

  async function soFar(): Promise<Cost> {
    const [stats, net] = [
      await server.client.info('commandstats'),
      await server.client.info('stats'),
    ];
    const calls = [...stats.matchAll(/^cmdstat_(?!info)\S+:calls=(\d+)/gm)].map(([, n]) =>
      Number(n),
    );
    return {
      commands: calls.reduce((sum, n) => sum + n, 0),
      sent: Number(/total_net_output_bytes:(\d+)/.exec(net)?.[1]),
    };
  }

  async function costOfOne(run: () => Promise<void>): Promise<Cost> {
    const before = await soFar();
    await run();
    const after = await soFar();
    return { commands: after.commands - before.commands, sent: after.sent - before.sent };
  }

  /** The least cost of several runs, because what Redis does regularly falls into some of them. */
  async function costOf(run: () => Promise<void>): Promise<Cost> {
    const costs: Cost[] = [];
    for (let round = 0; round < rounds; round++) costs.push(await costOfOne(run));
    const measuring = await costOfOne(async () => undefined);
    const least = (part: keyof Cost): number =>
      Math.min(...costs.map((cost) => cost[part])) - measuring[part];
    return { commands: least('commands'), sent: least('sent') };
  }

  /**
   * The commands that read a whole key, whatever its size. It omits the children of a job, which
   * BullMQ removes with it, and the running jobs of a queue, whose locks BullMQ checks every few
   * seconds.
   */
  async function wholeReads(run: () => Promise<void>): Promise<string[]> {
    const monitor = await monitorRedis(server.redis.port);
    await run();
    await server.client.echo('the end of it');
    await waitFor(() => monitor.commands().some(([, word]) => word === 'the end of it'));
    const commands = monitor.commands();
    await monitor.close();
    const found = commands.filter(([name = '', key = '', from, to]) => {
      const isAll =
        /^(keys|smembers|hkeys|hvals|sort)$/i.test(name) ||
        (/^[lz](rev)?range$/i.test(name) && from === '0' && to === '-1');
      return isAll && !/:(dependencies|unsuccessful|active)$/.test(key);
    });
    return found.map((words) => words.join(' ').slice(0, 200));
  }

  /** Sends every query of the dashboard. */
  async function query(tasks: TaskSource, text: string): Promise<void> {
    await tasks.find({ limit: 50 });
    await tasks.find({ limit: 50, status: ['pending'] });
    await tasks.find({ limit: 50, q: text });
    await tasks.aggregate('statsSnapshot');
    await tasks.aggregate('workers');
    await tasks.aggregate('failures', { limit: 50 });
    await tasks.describe();
  }

  /** Sends every kind of command. `drop` is the command for the waiting task. */
  async function act(
    tasks: TaskSource,
    ids: { done: string; bad: string; waits: string; goes: string },
    drop: 'cancel' | 'delete',
  ) {
    await tasks.control({ action: 'rerun', ids: [ids.done] }, by);
    await tasks.control({ action: 'retry', ids: [ids.bad] }, by);
    await tasks.control({ action: drop, ids: [ids.waits] }, by);
    await tasks.control({ action: 'run', ids: [ids.goes] }, by);
    await tasks.control({ action: 'pause', queue: 'slow' }, by);
    await tasks.control({ action: 'resume', queue: 'slow' }, by);
  }

  /** Expects the same cost with few and with many tasks. */
  async function expectSame(
    fill: (amount: number) => Promise<void>,
    round: () => Promise<void>,
    amounts = sizes,
  ): Promise<void> {
    await fill(amounts.few);
    const few = await costOf(round);
    await fill(amounts.many);
    const many = await costOf(round);
    expect(many.commands).toBeLessThan(few.commands * 1.3 + 5);
    expect(many.sent).toBeLessThan(few.sent * 1.3 + 2000);
    expect(await wholeReads(round)).toEqual([]);
  }

  it('does not grow with the number of stored or waiting tasks', async () => {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
      concurrency: 50,
    });
    keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const quick = tasks.task('quick', (n: number) => {
      if (n % 10 === 0) throw new Error('every tenth');
    });
    // These tasks are not due, because a worker regularly fetches and delays due tasks without a
    // handler.
    const later = tasks.define<[n: number]>('later', { queue: 'slow' }).with({ runIn: 3600 });
    // This test waits for events and does not poll, because polls would add to the cost.
    const ends = new Map<string, number>();
    for (const status of ['success', 'failed'] as const)
      tasks.on(status, ({ id }) => ends.set(id, (ends.get(id) ?? 0) + 1));
    await tasks.start();
    const ended = (id: string, times = 1): boolean => (ends.get(id) ?? 0) >= times;
    const fill = async (amount: number): Promise<void> => {
      const list = Array.from({ length: amount }, (_, n): [number] => [n]);
      await later.enqueueMany(list);
      const ids = await quick.enqueueMany(list);
      await waitFor(() => ids.every((id) => ended(id)));
      // The first query reads all changes, however many there are.
      await query(tasks, 'tenth');
      await sleep(1);
    };
    const round = async (): Promise<void> => {
      await query(tasks, 'tenth');
      const [done, bad, waits, goes] = [
        await quick.enqueue(1),
        await quick.enqueue(10),
        await later.enqueue(1),
        await later.enqueue(2),
      ];
      await waitFor(() => ended(done) && ended(bad));
      await act(tasks, { done, bad, waits, goes }, 'cancel');
      await waitFor(() => ended(bad, 2));
    };
    // Up to a thousand tasks of a queue are compared at regular intervals.
    await expectSame(fill, round, { few: 1100, many: 2200 });
  });

  it('does not grow with the number of ended or waiting attached jobs', async () => {
    const [queue, slow] = ['quick', 'slow'].map((name) =>
      keep(new Queue(name, { connection: server.redis.connection })),
    ) as [Queue, Queue];
    keep(
      new Worker(
        'quick',
        async ({ data }) => {
          if (data % 10 === 0) throw new Error('every tenth');
        },
        { connection: server.redis.connection, concurrency: 50 },
      ),
    );
    const tasks = keep(attachQueues([queue, slow], { logger: false }));
    // This reads the local read model, because polls of Redis would add to the cost.
    const becomes = (id: string, state: string) =>
      waitFor(async () => (await tasks.find({ limit: 1, q: id })).items[0]?.engineState === state);
    const fill = async (amount: number): Promise<void> => {
      const jobs = Array.from({ length: amount }, (_, n) => ({ name: 'job', data: n }));
      const { success, failed } = (await tasks.aggregate('statsSnapshot')).counts;
      await Promise.all([queue.addBulk(jobs), slow.addBulk(jobs)]);
      await waitFor(async () => {
        const { counts } = await tasks.aggregate('statsSnapshot');
        return counts.success + counts.failed >= success + failed + amount;
      });
      await sleep(1);
    };
    const add = async (on: Queue, data: number, delay = 0): Promise<string> =>
      `${on.name}:${(await on.add('job', data, { delay })).id}`;
    const round = async (): Promise<void> => {
      await query(tasks, 'tenth');
      const [done, bad, waits, delayed] = [
        await add(queue, 1),
        await add(queue, 10),
        await add(slow, 1),
        await add(slow, 2, 60_000),
      ];
      await Promise.all([
        becomes(done, 'completed'),
        becomes(bad, 'failed'),
        becomes(waits, 'waiting'),
        becomes(delayed, 'delayed'),
      ]);
      await act(tasks, { done, bad, waits, goes: delayed }, 'delete');
      await becomes(bad, 'failed');
    };
    await expectSame(fill, round);
  });

  it('does not grow with the history of a busy queue', async () => {
    const history = 5000;
    const queue = keep(new Queue('busy', { connection: server.redis.connection }));
    const work = async (): Promise<void> => sleep(Math.random() * 0.05);
    keep(new Worker('busy', work, { connection: server.redis.connection, concurrency: 20 }));
    await queue.addBulk(Array.from({ length: history }, () => ({ name: 'job', data: 1 })));
    const tasks = keep(attachQueues([queue], { logger: false }));
    await waitFor(
      async () => (await tasks.aggregate('statsSnapshot')).counts.success === history,
      150,
    );
    const asking = jest.spyOn(QueueReads.prototype, 'ask');
    // In this time there are two checks for removals without an event. The counts differ at each.
    for (const end = Date.now() + 11_500; Date.now() < end; ) {
      await queue.add('job', 1);
      await sleep(0.01);
    }
    const names = new Set(
      asking.mock.calls.flatMap(([commands]) => commands.map(([name]) => name)),
    );
    asking.mockRestore();
    // The queue is compared, but its ended jobs are not read again.
    expect([names.has('lrange'), names.has('zrevrangebyscore')]).toEqual([true, false]);
  }, 240_000);
});
