import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { FlowProducer, type Job, type JobsOptions, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import {
  type AttachedQueues,
  type AttachOptions,
  attachQueues,
} from '../../../../src/engines/bullmq/index.js';
import type { FindQuery, TaskDetail, TaskSummary } from '../../../../src/index.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../../helpers/wait.js';

const by = { actor: 'ada' };

(hasRedis ? describe : describe.skip)('attachQueues', () => {
  let redis: RedisServer;
  let queue: Queue;
  let tasks: AttachedQueues;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());
  beforeEach(async () => {
    queue = keep(
      new Queue(`mail-${Math.random().toString(36).slice(2)}`, { connection: redis.connection }),
    );
    await queue.waitUntilReady();
  });

  function attach(queues: Queue[] = [queue], options: AttachOptions = {}): AttachedQueues {
    tasks = keep(attachQueues(queues, { logger: false, ...options }));
    return tasks;
  }

  /** Starts a plain BullMQ worker. */
  function work(run: (job: Job) => Promise<unknown>, on = queue): Worker {
    return keep(new Worker(on.name, run, { connection: redis.connection, concurrency: 10 }));
  }

  const add = async (
    name: string,
    data: unknown = {},
    options: JobsOptions = {},
  ): Promise<string> => `${queue.name}:${(await queue.add(name, data, options)).id}`;

  const becomes = async (id: string, state: string): Promise<TaskDetail> => {
    await waitFor(async () => (await tasks.get(id))?.engineState === state);
    return (await tasks.get(id)) as TaskDetail;
  };

  /** Returns the tasks of a list from all of its pages. */
  async function pagesOf(query: FindQuery): Promise<TaskSummary[]> {
    const items: TaskSummary[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await tasks.find({ ...query, cursor });
      items.push(...page.items);
      if (page.nextCursor === null) return items;
      cursor = page.nextCursor;
    }
  }

  it('shows existing and new jobs under the name of their BullMQ state', async () => {
    const waiting = await add('waits');
    const prioritized = await add('first', {}, { priority: 5 });
    const delayed = await add('later', {}, { delay: 60_000 });
    attach();
    expect((await tasks.find({ limit: 10 })).total).toBe(3);
    expect(await tasks.get(waiting)).toMatchObject({
      name: 'waits',
      status: 'pending',
      engineState: 'waiting',
      queue: queue.name,
    });
    expect(await tasks.get(prioritized)).toMatchObject({
      status: 'pending',
      engineState: 'prioritized',
      priority: -5,
    });
    const late = await tasks.get(delayed);
    expect(late).toMatchObject({ status: 'pending', engineState: 'delayed' });
    expect(Date.parse(late?.runAt ?? '') - Date.parse(late?.createdAt ?? '')).toBe(60_000);
    const more = await add('comes');
    await becomes(more, 'waiting');
    const { passed, open } = gate();
    work(async (job) => {
      if (job.name === 'waits') throw new TypeError('no address');
      if (job.name === 'comes') await passed;
      return { sent: true };
    });
    expect(await becomes(waiting, 'failed')).toMatchObject({
      status: 'failed',
      error: { name: 'TypeError', message: 'no address' },
      attempt: 1,
      maxAttempts: 1,
    });
    expect(await becomes(more, 'active')).toMatchObject({
      status: 'running',
      startedAt: expect.any(String),
      endedAt: null,
    });
    open();
    const done = await becomes(more, 'completed');
    expect(done).toMatchObject({
      status: 'success',
      result: { sent: true },
      args: [{}],
      error: null,
    });
    expect(done.duration).toBeGreaterThan(0);
    const { counts } = await tasks.aggregate('statsSnapshot');
    expect(counts).toMatchObject({ pending: 1, running: 0, success: 2, failed: 1 });
  });

  it('keeps jobs that BullMQ removes when they end', async () => {
    attach();
    await tasks.find({ limit: 1 });
    const kept = await add('gone', { a: 1 }, { removeOnComplete: true });
    const failing = await add('gone_too', {}, { removeOnFail: true });
    work(async (job) => {
      if (job.name === 'gone_too') throw new Error('not this time');
    });
    expect(await becomes(kept, 'completed')).toMatchObject({
      name: 'gone',
      status: 'success',
      resultOmitted: 'BullMQ has removed the job',
    });
    expect(await becomes(failing, 'failed')).toMatchObject({
      status: 'failed',
      error: { message: 'not this time' },
    });
    expect(await queue.getJob(kept.split(':')[1] ?? '')).toBeUndefined();
  });

  it('shows the names of many jobs that were removed before they could be read', async () => {
    attach();
    await tasks.find({ limit: 1 });
    work(async () => 'quick');
    for (let round = 0; round < 10; round++) {
      const options = { removeOnComplete: true };
      await queue.addBulk(
        Array.from({ length: 30 }, () => ({ name: 'fleeting', data: {}, opts: options })),
      );
      await sleep(0.03);
    }
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 300);
    expect((await tasks.find({ name: 'fleeting', limit: 1 })).total).toBe(300);
  });

  it('lists each attempt with its error, and retries a failed job', async () => {
    attach();
    let healthy = false;
    const id = await add('flaky', {}, { attempts: 2, backoff: { type: 'fixed', delay: 300 } });
    work(async () => {
      if (!healthy) throw new RangeError('too much');
    });
    const failed = await becomes(id, 'failed');
    expect(failed.attempts).toMatchObject([
      { number: 1, status: 'failed', error: { name: 'RangeError' } },
      { number: 2, status: 'failed', error: { name: 'RangeError' } },
    ]);
    expect(failed.stack).toContain('attach-queues.test');
    healthy = true;
    const { results } = await tasks.control(
      { action: 'retry', ids: [id, `${queue.name}:none`] },
      by,
    );
    expect(results).toMatchObject([
      { id, ok: true, task: { status: 'pending' } },
      { ok: false, code: 'TASK_NOT_FOUND' },
    ]);
    expect(await becomes(id, 'completed')).toMatchObject({ status: 'success', error: null });
    expect((await tasks.control({ action: 'retry', ids: [id] }, by)).results).toMatchObject([
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'success' },
    ]);
  });

  it('promotes delayed jobs and deletes ended jobs, but no running ones', async () => {
    attach();
    const delayed = await add('later', {}, { delay: 60_000 });
    await becomes(delayed, 'delayed');
    expect((await tasks.control({ action: 'run', ids: [delayed] }, by)).results).toMatchObject([
      { ok: true },
    ]);
    await becomes(delayed, 'waiting');
    const { passed, open } = gate();
    work(() => passed);
    await becomes(delayed, 'active');
    expect((await tasks.control({ action: 'delete', ids: [delayed] }, by)).results).toMatchObject([
      { ok: false, code: 'TASK_STATE_CONFLICT', status: 'running' },
    ]);
    open();
    await becomes(delayed, 'completed');
    expect((await tasks.control({ action: 'delete', ids: [delayed] }, by)).results).toMatchObject([
      { ok: true },
    ]);
    expect(await tasks.get(delayed)).toBeUndefined();
    expect(await queue.getJob(delayed.split(':')[1] ?? '')).toBeUndefined();
  });

  it('applies a command to exactly the jobs that its filter counted', async () => {
    await queue.addBulk(
      Array.from({ length: 300 }, (_, n) => ({ name: n % 3 === 0 ? 'odd' : 'even', data: { n } })),
    );
    attach();
    const filter = { name: 'odd', status: ['pending'] as const };
    const counted = await tasks.control({ action: 'delete', filter }, { ...by, dryRun: true });
    expect(counted.found).toEqual({ count: 100, relation: 'eq' });
    await expect(
      tasks.control({ action: 'delete', filter }, { ...by, expect: 99 }),
    ).rejects.toMatchObject({ code: 'COUNT_CHANGED' });
    const { results } = await tasks.control({ action: 'delete', filter }, { ...by, expect: 100 });
    expect(results.filter(({ ok }) => ok)).toHaveLength(100);
    expect(await queue.getJobCountByTypes('wait')).toBe(200);
    expect((await tasks.find({ limit: 1 })).total).toBe(200);
    await expect(tasks.control({ action: 'cancel', filter: 'all' }, by)).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
    });
    await expect(
      tasks.control({ action: 'retry', filter: 'all', spread: 60 }, by),
    ).resolves.toMatchObject({ results: [] });
  });

  it('rejects an invalid query or command target, and changes no job', async () => {
    const id = await add('send', { to: 'a@x.org' });
    attach();
    const refused = { code: 'INVALID_INPUT' };
    const commands: object[] = [
      { action: 'delete', id },
      { action: 'delete', ids: undefined },
      { action: 'delete', filter: {} },
      { action: 'delete', filter: { nmae: 'other' } },
      { action: 'delete', filter: { name: undefined } },
      { action: 'pause' },
    ];
    for (const command of commands)
      await expect(tasks.control(command as never, by)).rejects.toMatchObject(refused);
    await expect(
      tasks.control({ action: 'delete', filter: 'all' }, {} as never),
    ).rejects.toMatchObject(refused);
    await expect(tasks.find({ nmae: 'other' } as never)).rejects.toMatchObject(refused);
    await expect(tasks.get(undefined as never)).rejects.toMatchObject(refused);
    expect((await tasks.find()).total).toBe(1);
    expect(await queue.getJobCountByTypes('wait')).toBe(1);
  });

  it('pauses and resumes a queue, and shows pauses made by other programs', async () => {
    attach();
    await tasks.control(
      { action: 'pause', queue: queue.name },
      { actor: 'ada', reason: 'the bank is down' },
    );
    expect(await queue.isPaused()).toBe(true);
    await sleep(0.3);
    expect((await tasks.describe()).queues).toMatchObject([
      { name: queue.name, paused: true, pause: { by: 'ada', reason: 'the bank is down' } },
    ]);
    await tasks.control({ action: 'resume', queue: queue.name }, by);
    expect(await queue.isPaused()).toBe(false);
    await queue.pause();
    await waitFor(async () => (await tasks.describe()).queues[0]?.paused === true);
    expect((await tasks.describe()).queues[0]?.pause?.by).toBe('');
    await expect(tasks.control({ action: 'pause', queue: 'other' }, by)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('keeps who paused a queue first, when and why, until it is resumed', async () => {
    attach();
    const pause = (actor: string, reason?: string) =>
      tasks.control({ action: 'pause', queue: queue.name }, { actor, reason });
    const pauseOf = async () => (await tasks.describe()).queues[0]?.pause;
    await pause('ada', 'upgrade');
    const first = await pauseOf();
    expect(first).toMatchObject({ by: 'ada', reason: 'upgrade' });
    await sleep(0.01);
    await pause('bob');
    expect(await pauseOf()).toEqual(first);
    // Another program resumes the queue, and another one pauses it.
    await queue.resume();
    await pause('bob');
    expect(await pauseOf()).toMatchObject({ by: 'bob', reason: null });
    await queue.resume();
    await waitFor(async () => (await tasks.describe()).queues[0]?.paused === false);
    await queue.pause();
    expect((await pauseOf())?.by).toBe('');
    await pause('eve');
    expect((await pauseOf())?.by).toBe('eve');
  });

  it('reruns an ended job as a new job with other data', async () => {
    attach();
    const id = await add('send', { to: 'a@x.org' }, { jobId: 'order-7', attempts: 3 });
    const seen: unknown[] = [];
    work(async (job) => {
      seen.push(job.data);
    });
    await becomes(id, 'completed');
    const [result] = (
      await tasks.control({ action: 'rerun', ids: [id], args: [{ to: 'b@x.org' }] }, by)
    ).results;
    if (!result?.ok) throw new Error('the job was not rerun');
    expect(result.task.id).not.toBe(id);
    const made = await becomes(result.task.id, 'completed');
    expect(made).toMatchObject({ args: [{ to: 'b@x.org' }], maxAttempts: 3 });
    expect(seen).toEqual([{ to: 'a@x.org' }, { to: 'b@x.org' }]);
    await expect(
      tasks.control({ action: 'rerun', ids: [id], args: [1, 2] }, by),
    ).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('shows the log and progress of a job, and finds it by id or error text', async () => {
    attach();
    const { passed, open } = gate();
    const id = await add('long', { a: 1 });
    work(async (job) => {
      await job.log('first line');
      await job.log('second line');
      await job.updateProgress(42);
      await passed;
      throw new Error('quicksilver in the pipe');
    });
    await waitFor(async () => (await tasks.get(id))?.progress === 0.42);
    expect(await tasks.logs(id, {})).toEqual([
      { n: 1, at: null, attempt: null, level: 'info', message: 'first line', fields: null },
      { n: 2, at: null, attempt: null, level: 'info', message: 'second line', fields: null },
    ]);
    expect(await tasks.logs(id, { after: 1 })).toMatchObject([{ n: 2 }]);
    expect(await tasks.logs(id, { before: 2, limit: 10 })).toMatchObject([{ n: 1 }]);
    expect(await tasks.logs(id, { q: 'SECOND' })).toMatchObject([{ n: 2 }]);
    open();
    await becomes(id, 'failed');
    expect((await tasks.find({ q: id, limit: 5 })).items).toMatchObject([{ id }]);
    expect((await tasks.find({ q: id.split(':')[1] ?? '', limit: 5 })).items).toMatchObject([
      { id },
    ]);
    await waitFor(async () => (await tasks.find({ q: 'quicksilver', limit: 5 })).total === 1);
    const { items } = await tasks.aggregate('failures', { limit: 5 });
    expect(items).toMatchObject([{ name: 'long', count: 1, lastTaskId: id }]);
  });

  it('shows a flow as a tree from any of its jobs', async () => {
    const other = keep(new Queue(`${queue.name}-pages`, { connection: redis.connection }));
    attach([queue, other]);
    const flows = keep(new FlowProducer({ connection: redis.connection }));
    const { job } = await flows.add({
      name: 'book',
      queueName: queue.name,
      children: [
        { name: 'page', queueName: other.name, data: { n: 1 } },
        {
          name: 'page',
          queueName: other.name,
          data: { n: 2 },
          children: [{ name: 'picture', queueName: other.name }],
        },
      ],
    });
    const top = `${queue.name}:${job.id}`;
    const book = await becomes(top, 'waiting-children');
    expect(book.flow).toMatchObject({
      id: top,
      name: 'book',
      status: 'pending',
      children: [{ name: 'page' }, { name: 'page' }],
      more: 0,
    });
    const pages = book.flow?.children ?? [];
    expect(pages.map(({ children }) => children.length).sort()).toEqual([0, 1]);
    const picture = pages.flatMap(({ children }) => children)[0];
    expect(picture).toMatchObject({ name: 'picture', engineState: 'waiting' });
    expect((await tasks.get(picture?.id ?? ''))?.flow?.id).toBe(top);
    expect((await tasks.aggregate('waits')).map((wait) => wait.queue)).toEqual([other.name]);
    work(async () => 'ok', other);
    work(async () => 'bound');
    expect(await becomes(top, 'completed')).toMatchObject({ status: 'success', result: 'bound' });
    const after = (await tasks.get(top))?.flow;
    expect(after?.children.map(({ status }) => status)).toEqual(['success', 'success']);
  });

  it.each<[string, JobsOptions, string]>([
    ['waits for it', {}, 'waiting-children'],
    ['has failed with it', { failParentOnFailure: true }, 'failed'],
    ['has continued without it', { ignoreDependencyOnFailure: true }, 'completed'],
  ])('retries a failed child whose parent %s, as BullMQ does', async (_, opts, parentState) => {
    attach();
    let healthy = false;
    work(async ({ name }) => {
      if (name === 'page' && !healthy) throw new Error('no paper');
    });
    const flows = keep(new FlowProducer({ connection: redis.connection }));
    const children = [{ name: 'page', queueName: queue.name, opts }];
    const { job, children: added = [] } = await flows.add({
      name: 'book',
      queueName: queue.name,
      children,
    });
    const [book, page] = [`${queue.name}:${job.id}`, `${queue.name}:${added[0]?.job.id}`];
    await becomes(page, 'failed');
    await becomes(book, parentState);
    healthy = true;
    for (const how of [{ ...by, dryRun: true }, by])
      expect((await tasks.control({ action: 'retry', ids: [page] }, how)).results).toMatchObject([
        { id: page, ok: true },
      ]);
    await becomes(page, 'completed');
    if (parentState === 'failed') await tasks.control({ action: 'retry', ids: [book] }, by);
    await becomes(book, 'completed');
  });

  it('shows job schedulers with their next runs, and runs one now', async () => {
    attach();
    await queue.upsertJobScheduler(
      'nightly',
      { pattern: '0 3 * * *', tz: 'Europe/Berlin' },
      { name: 'report', data: { region: 'eu' } },
    );
    await queue.upsertJobScheduler('often', { every: 60_000 }, { name: 'clean' });
    const { schedules } = await tasks.describe();
    const nightly = schedules.find(({ name }) => name === `${queue.name}:nightly`);
    expect(nightly).toMatchObject({
      task: 'report',
      rule: '0 3 * * * Europe/Berlin',
      paused: false,
      pausable: false,
      lastRunAt: null,
    });
    expect(Date.parse(nightly?.nextRunAt ?? '')).toBeGreaterThan(Date.now());
    expect(schedules.find(({ name }) => name === `${queue.name}:often`)).toMatchObject({
      rule: 'every 60',
    });
    const next = Date.parse(nightly?.nextRunAt ?? '');
    const runs = tasks.definitions?.().runsAfter(`${queue.name}:nightly`, next, 4) ?? [];
    expect(runs).toHaveLength(4);
    const hour = (at: number) =>
      new Date(at).toLocaleString('en', {
        timeZone: 'Europe/Berlin',
        hour: '2-digit',
        hourCycle: 'h23',
      });
    expect(new Set([next, ...runs].map(hour))).toEqual(new Set(['03']));
    const { known, results } = await tasks.control(
      { action: 'run', schedule: `${queue.name}:nightly` },
      by,
    );
    expect(known).toBe(true);
    expect(results).toMatchObject([{ ok: true, task: { name: 'report', status: 'pending' } }]);
    const [result] = results;
    expect(await tasks.get(result?.id ?? '')).toMatchObject({ args: [{ region: 'eu' }] });
    await expect(
      tasks.control({ action: 'run', schedule: `${queue.name}:none` }, by),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      tasks.control({ action: 'pause', schedule: `${queue.name}:nightly` }, by),
    ).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
    });
    const [scheduled] = (await tasks.find({ schedule: `${queue.name}:nightly`, limit: 5 })).items;
    expect(scheduled).toMatchObject({
      name: 'report',
      source: 'scheduled',
      engineState: 'delayed',
    });
  });

  it('lists the connections of workers', async () => {
    attach();
    work(async () => {});
    await waitFor(async () => (await tasks.aggregate('workers')).length === 1);
    expect(await tasks.aggregate('workers')).toMatchObject([
      { host: expect.stringContaining('127.0.0.1'), pid: null, slots: null, queue: queue.name },
    ]);
  });

  it('reports changes and removals to watchers', async () => {
    attach();
    const { rev } = await tasks.describe();
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { upserts, removed } of tasks.watch(rev, stop.signal))
        seen.push(
          ...upserts.map(({ id, engineState }) => `${id} ${engineState}`),
          ...removed.map((id) => `${id} gone`),
        );
    })();
    const id = await add('seen');
    await waitFor(() => seen.includes(`${id} waiting`));
    await queue.remove(id.split(':')[1] ?? '');
    await waitFor(() => seen.includes(`${id} gone`));
    stop.abort();
    await watching;
  });

  it('detects drained queues and added jobs without events', async () => {
    const [drained, silent] = ['drained', 'silent'].map((name) =>
      keep(new Queue(`${queue.name}-${name}`, { connection: redis.connection })),
    );
    if (!drained || !silent) throw new Error('no queues');
    await Promise.all([drained.waitUntilReady(), silent.waitUntilReady()]);
    const busy = [drained, silent];
    for (const each of busy) work(() => sleep(Math.random() * 0.05), each);
    const later = Array.from({ length: 200 }, (_, n) => ({
      name: 'never',
      data: { n },
      opts: { delay: 600_000 },
    }));
    await Promise.all([queue.addBulk(later), drained.addBulk(later)]);
    attach([queue, ...busy]);
    expect((await tasks.aggregate('statsSnapshot')).pending).toBe(400);
    await Promise.all([queue.drain(true), drained.drain(true)]);
    const client = new Redis(redis.connection);
    keep({ close: async () => client.disconnect() });
    const job = {
      name: 'silent',
      data: '{}',
      opts: '{}',
      timestamp: Date.now(),
      delay: 600_000,
      priority: 0,
    };
    await client.hset(silent.toKey('silent'), job);
    await client.zadd(silent.toKey('delayed'), (Date.now() + 600_000) * 0x1000, 'silent');
    const known = async (name: string): Promise<number> =>
      (await tasks.find({ name, limit: 1 })).total;
    const end = Date.now() + 40_000;
    while ((await known('never')) > 0 || (await known('silent')) === 0) {
      if (Date.now() > end)
        throw new Error(
          `${await known('never')} removed jobs are shown, ` +
            `and ${await known('silent')} of 1 added job`,
        );
      await Promise.all(busy.map((each) => each.add('flows', {})));
      await sleep(0.01);
    }
  });

  it('reads only the newest ended jobs at startup, but counts and finds all', async () => {
    const worker = work(async ({ data }) => {
      if (data.n < 2) throw new Error('too early');
    });
    for (let n = 0; n < 30; n++) await queue.add('past', { n });
    await waitFor(async () => (await queue.getJobCountByTypes('completed', 'failed')) === 30);
    await worker.close();
    attach([queue], { history: 10 });
    const all = (await queue.getCompleted(0, 27)).map(({ id }) => `${queue.name}:${id}`);
    const newestFirst = await pagesOf({ limit: 7, sort: '-endedAt', status: ['success'] });
    expect(new Set(newestFirst.map(({ id }) => id))).toEqual(new Set(all));
    const ends = newestFirst.map(({ endedAt }) => endedAt);
    expect(ends).toEqual([...ends].sort().reverse());
    expect(await pagesOf({ limit: 7, sort: 'endedAt', status: ['success'] })).toEqual(
      [...newestFirst].reverse(),
    );
    const first = await tasks.find({ limit: 7, sort: '-endedAt', status: ['success'] });
    expect(first).toMatchObject({ total: 28, totalRelation: 'eq' });
    expect(first).not.toHaveProperty('limited');
    expect(await tasks.find({ limit: 50, status: ['success'] })).toMatchObject({
      total: 28,
      limited: true,
      searched: 12,
    });
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      success: 28,
      failed: 2,
    });
    // All failed jobs are in memory.
    expect(await tasks.find({ status: ['failed'] })).not.toHaveProperty('limited');
    expect(await tasks.find({ name: 'past' })).toMatchObject({
      limited: true,
      totalRelation: 'gte',
    });
    const old = (await queue.getCompleted(20, 27)).map(({ id }) => `${queue.name}:${id}`);
    expect(await tasks.get(old[0] ?? '')).toMatchObject({
      id: old[0],
      status: 'success',
      name: 'past',
    });
    expect((await tasks.find({ q: old[1]?.split(':')[1] ?? '' })).items).toMatchObject([
      { id: old[1] },
    ]);
    const { results } = await tasks.control({ action: 'delete', ids: old.slice(2, 5) }, by);
    expect(results.filter(({ ok }) => ok)).toHaveLength(3);
    expect((await tasks.aggregate('statsSnapshot')).counts.success).toBe(25);
    expect((await tasks.find({ status: ['success'] })).total).toBe(25);
    expect(await tasks.get(`${queue.name}:none`)).toBeUndefined();
  });

  it('lists removed jobs by end time, together with older jobs', async () => {
    const other = keep(new Queue(`${queue.name}-other`, { connection: redis.connection }));
    // The jobs have the same ids in both queues, and end within a few milliseconds.
    for (const each of [queue, other]) {
      work(async () => {}, each);
      await each.addBulk(Array.from({ length: 15 }, () => ({ name: 'past', data: {} })));
    }
    const completed = async (): Promise<number> =>
      (await queue.getCompletedCount()) + (await other.getCompletedCount());
    await waitFor(async () => (await completed()) === 30);
    attach([queue, other], { history: 5, keep: 12 });
    await tasks.find({ limit: 1 });
    const removed: string[] = [];
    for (let n = 0; n < 5; n++) {
      const id = await add('gone', {}, { removeOnComplete: true });
      await waitFor(async () => (await tasks.find({ q: id })).items[0]?.status === 'success');
      removed.push(id);
    }
    for (const limit of [4, 100]) {
      const newestFirst = await pagesOf({ limit, sort: '-endedAt', status: ['success'] });
      expect(newestFirst.slice(0, 5).map(({ id }) => id)).toEqual([...removed].reverse());
      expect(new Set(newestFirst.map(({ id }) => id)).size).toBe(35);
      expect(newestFirst).toHaveLength(35);
      expect(await pagesOf({ limit, sort: 'endedAt', status: ['success'] })).toEqual(
        [...newestFirst].reverse(),
      );
    }
    expect((await tasks.find({ limit: 4, sort: '-endedAt', status: ['success'] })).total).toBe(35);
    expect((await tasks.aggregate('statsSnapshot')).counts.success).toBe(35);
  });

  it('counts each end once, even if events are lost or the job is removed', async () => {
    attach([queue], { keep: 8 });
    const ended = async (): Promise<number> =>
      (await tasks.aggregate('metrics', { from: '-1h' })).counts.success;
    expect(await ended()).toBe(0);
    work(async () => {});
    await queue.addBulk(Array.from({ length: 10 }, () => ({ name: 'seen', data: {} })));
    await waitFor(async () => (await ended()) === 10);
    await queue.addBulk(Array.from({ length: 4 }, () => ({ name: 'unseen', data: {} })));
    await waitFor(async () => (await queue.getCompletedCount()) === 14);
    await queue.trimEvents(0);
    await waitFor(async () => (await ended()) === 14);
    await add('seen');
    await waitFor(async () => (await ended()) > 14);
    expect(await ended()).toBe(15);
    expect((await tasks.find({ limit: 5, sort: '-endedAt', status: ['success'] })).total).toBe(15);
  });

  it('shows a new job instead of an earlier one with the same id', async () => {
    attach();
    const worker = work(async () => {});
    const id = await add('first', {}, { jobId: 'same', removeOnComplete: true });
    await becomes(id, 'completed');
    await worker.close();
    await add('second', {}, { jobId: 'same' });
    expect(await becomes(id, 'waiting')).toMatchObject({ name: 'second', attempts: [] });
    expect((await tasks.find()).items).toMatchObject([{ id, name: 'second' }]);
  });

  it('includes jobs that ended before startup in the metrics', async () => {
    const worker = work(async (job) => {
      if (job.data.n % 4 === 0) throw new Error(`no address for order ${job.data.n}`);
    });
    await queue.addBulk(Array.from({ length: 40 }, (_, n) => ({ name: 'past', data: { n } })));
    await waitFor(
      async () => (await queue.getFailedCount()) + (await queue.getCompletedCount()) === 40,
    );
    await worker.close();
    attach();
    const metrics = await tasks.aggregate('metrics', { from: '-1h' });
    expect(metrics.counts).toMatchObject({ success: 30, failed: 10 });
    expect(metrics.successRate).toBe(0.75);
    const { items } = await tasks.aggregate('failures', { limit: 5 });
    expect(items).toMatchObject([
      { count: 10, failed: 10, error: { message: expect.stringContaining('no address') } },
    ]);
    expect(Date.parse(items[0]?.first ?? '')).toBeLessThanOrEqual(Date.parse(items[0]?.last ?? ''));
  });

  it.each([
    ['undefined', undefined],
    ['an empty list', []],
    ['an object that is not a queue', [{ name: 'mail' }]],
  ])('rejects %s immediately', (_, queues) => {
    expect(() => attachQueues(queues as never)).toThrow('it must be a list of BullMQ queues');
  });

  it('rejects queues with the same name, and unknown options', () => {
    expect(() => attachQueues([queue, queue])).toThrow(`two queues with the name '${queue.name}'`);
    expect(() => attachQueues([queue], { histroy: 5 } as never)).toThrow('histroy');
  });
});
