import { describe, expect, it } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import { attachQueues, bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../../src/manager.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('an engine after Redis has lost its scripts', () => {
  const forEach = new RedisForEach();
  const by = { actor: 'test' };

  it('enqueues, ends, reads and commands tasks', async () => {
    const engine = bullmqEngine({ connection: forEach.redis.connection, logger: false });
    const tasks = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const job = tasks.task('job', (n: number) => n);
    const held = tasks.define('held');
    const failing = tasks.task('failing', () => {
      throw new Error('down');
    });
    const endless = tasks.task('endless', () => new Promise(() => undefined), {
      cancelGrace: 0.01,
    });
    const inState = (id: string, status: string): Promise<unknown> =>
      waitFor(async () => (await tasks.get(id))?.status === status);
    tasks.schedule('often', job, { every: 60, args: [1] });
    await tasks.start();
    const later = held.with({ runIn: 60 });
    const ids: string[] = [];
    const operations: [what: string, operation: () => Promise<unknown>][] = [
      ['one task', () => job.enqueue(1)],
      ['a batch', () => job.enqueueMany([[1], [2]])],
      ['a delayed task', async () => ids.push(await later.enqueue())],
      ['a delayed batch', async () => ids.push(...(await later.enqueueMany([[], []])))],
      ['a batch with a key', () => job.with({ idempotencyKey: 'k', runIn: 60 }).enqueueMany([[1]])],
      [
        'a batch with a priority',
        async () =>
          ids.push(...(await held.with({ priority: 2, runIn: 60 }).enqueueMany([[], []]))),
      ],
      [
        'a mixed batch',
        async () => tasks.enqueue([job.prepare(1), later.prepare(), job.prepare(2)]),
      ],
      ['a cancel', () => tasks.control({ action: 'cancel', ids }, by)],
      ['a retry', () => tasks.control({ action: 'retry', ids }, by)],
      ['a rerun', () => tasks.control({ action: 'rerun', ids }, by)],
      ['a pause', () => tasks.control({ action: 'pause', queue: 'default' }, by)],
      ['a resume', () => tasks.control({ action: 'resume', queue: 'default' }, by)],
      ['a schedule', () => tasks.control({ action: 'run', schedule: 'often' }, by)],
      ['a list', () => tasks.find({ limit: 10 })],
      ['metrics', () => tasks.aggregate('metrics', {})],
      ['a failure', async () => inState(await failing.enqueue(), 'failed')],
      ['failure groups', () => tasks.aggregate('failures', { limit: 10 })],
      [
        'a running task',
        async () => inState(ids[ids.push(await endless.enqueue()) - 1] ?? '', 'running'),
      ],
      ['a cancel of it', () => tasks.control({ action: 'cancel', ids: ids.slice(-1) }, by)],
      ['its end', () => inState(ids.at(-1) ?? '', 'cancelled')],
    ];
    const connections = async (): Promise<string | undefined> =>
      /total_connections_received:(\d+)/.exec(await forEach.client.info('stats'))?.[1];
    let before: string | undefined;
    // Each connection has sent each script once before.
    for (const round of ['first', 'flushed']) {
      before = await connections();
      for (const [what, operation] of operations) {
        if (round === 'flushed') await forEach.client.script('FLUSH');
        if (what === 'one task') ids.length = 0;
        const failed = await operation().then(
          () => undefined,
          (error: unknown) => error,
        );
        expect([round, what, failed]).toEqual([round, what, undefined]);
      }
    }
    expect(await connections()).toBe(before);
    await forEach.client.script('FLUSH');
    const last = await job.enqueueMany([[1], [2]]);
    expect(new Set(last).size).toBe(2);
    for (const id of last) await waitFor(async () => (await tasks.get(id))?.status === 'success');
  });

  it('reads and commands attached queues', async () => {
    const connection = forEach.redis.connection;
    const queue = forEach.keep(new Queue('mail', { connection }));
    const scheduled = { every: 60_000 };
    await queue.upsertJobScheduler('often', scheduled, { name: 'tick' });
    forEach.keep(
      new Worker(
        'mail',
        async (job) => (job.name === 'bad' ? Promise.reject(new Error('down')) : job.log('line')),
        { connection },
      ),
    );
    const { id = '' } = await queue.add('bad', {});
    const later = await queue.add('later', {}, { delay: 60_000 });
    const tasks = forEach.keep(attachQueues([queue], { logger: false }));
    const bad = `mail:${id}`;
    await waitFor(async () => (await tasks.get(bad))?.status === 'failed');
    const delayed = `mail:${later.id}`;
    const operations: [what: string, operation: () => Promise<unknown>][] = [
      ['a list', () => tasks.find({ limit: 10 })],
      ['a task', () => tasks.get(bad)],
      ['a log', () => tasks.logs(bad, {})],
      ['schedulers', () => tasks.describe()],
      ['metrics', () => tasks.aggregate('metrics', {})],
      ['a preview', () => tasks.control({ action: 'delete', ids: [bad] }, { ...by, dryRun: true })],
      ['a rerun', () => tasks.control({ action: 'rerun', ids: [bad] }, by)],
      ['a retry', () => tasks.control({ action: 'retry', ids: [bad] }, by)],
      ['a promotion', () => tasks.control({ action: 'run', ids: [delayed] }, by)],
      ['a pause', () => tasks.control({ action: 'pause', queue: 'mail' }, by)],
      ['a resume', () => tasks.control({ action: 'resume', queue: 'mail' }, by)],
    ];
    for (const round of ['first', 'flushed'])
      for (const [what, operation] of operations) {
        if (round === 'flushed') await forEach.client.script('FLUSH');
        const failed = await operation().then(
          () => undefined,
          (error: unknown) => error,
        );
        expect([round, what, failed]).toEqual([round, what, undefined]);
      }
  });
});
