import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { type AttachedQueues, attachQueues } from '../../../../src/engines/bullmq/index.js';
import { taskAdmin } from '../../../../src/index.js';
import { ask } from '../../../helpers/client.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { startProcess } from '../../../helpers/process.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { type Served, serve } from '../../../helpers/serve.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('attachQueues with hostile data and connections', () => {
  let redis: RedisServer;
  let client: Redis;
  let queue: Queue;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
    client = new Redis(redis.connection);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.remove();
  });
  beforeEach(async () => {
    queue = keep(
      new Queue(`q-${Math.random().toString(36).slice(2)}`, { connection: redis.connection }),
    );
    await queue.waitUntilReady();
  });

  const attach = (queues = [queue]): AttachedQueues =>
    keep(attachQueues(queues, { logger: false }));

  async function admin(tasks: AttachedQueues): Promise<Served> {
    const app = new Koa();
    app.use(taskAdmin(tasks, { auth: null, displayFuncArgs: true, logger: false }));
    return keep(await serve(app));
  }

  it('lists older jobs page by page, whatever the length of their ids', async () => {
    const worker = keep(new Worker(queue.name, async () => 1, { connection: redis.connection }));
    const ids = [1, 2, 3].map((n) => `${'é'.repeat(2000)}-${n}`);
    for (const jobId of ids) await queue.add('long', {}, { jobId });
    await waitFor(async () => (await queue.getCompletedCount()) === 3);
    await worker.close();
    const tasks = keep(attachQueues([queue], { logger: false, history: 0 }));
    const listed: string[] = [];
    for (let cursor: string | undefined; listed.length < 4; ) {
      const page = await tasks.find({
        status: 'success',
        sort: '-endedAt',
        limit: 1,
        ...(cursor !== undefined && { cursor }),
      });
      listed.push(...page.items.map(({ id }) => id));
      if (page.nextCursor === null) break;
      cursor = page.nextCursor;
    }
    expect(listed.sort()).toEqual(ids.map((jobId) => `${queue.name}:${jobId}`));
  });

  it.each([
    ['a short', 'orders'],
    ['a long', 'ö'.repeat(300)],
  ])(
    'opens and deletes jobs with any characters in their ids, in a queue with %s name',
    async (_case, name) => {
      queue = keep(new Queue(name, { connection: redis.connection }));
      const ids = [
        'order/42?x=1&y=#2',
        'é ü 漢字',
        '..%2f..',
        "'; DROP TABLE task; --",
        '👩‍👩‍👧\t\u200b',
        'a'.repeat(3000),
      ];
      for (const jobId of ids) await queue.add('odd', { jobId }, { jobId });
      const { url } = await admin(attach());
      for (const jobId of ids) {
        const id = `${queue.name}:${jobId}`;
        const { status, json } = await ask(`${url}/tasks/${encodeURIComponent(id)}`);
        expect([status, json]).toMatchObject([200, { id, name: 'odd', args: [{ jobId }] }]);
        expect((await ask(`${url}/tasks/${encodeURIComponent(id)}/logs`)).status).toBe(200);
      }
      const answer = await ask(`${url}/tasks/bulk`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
          action: 'delete',
          ids: ids.map((jobId) => `${queue.name}:${jobId}`),
        }),
      });
      expect(answer.json).toMatchObject({ dispatched: ids.length, skipped: 0 });
      expect(await queue.getJobCountByTypes('wait')).toBe(0);
    },
  );

  it('filters, pauses and reruns by names that are too long for tasks', async () => {
    const [name, jobName] = [`${'ö'.repeat(200)}/€`, 'j'.repeat(300)];
    queue = keep(new Queue(name, { connection: redis.connection }));
    const worker = keep(new Worker(name, async () => 1, { connection: redis.connection }));
    await queue.add(jobName, 1, { jobId: 'ä:ö:€' });
    const { url } = await admin(attach());
    const query = new URLSearchParams({ queue: name, name: jobName, status: 'success' });
    const list = `${url}/tasks?${query}`;
    await waitFor(async () => ((await ask(list)).json as { total: number }).total === 1);
    await worker.close();
    const post = (path: string) => ask(`${url}/tasks${path}`, { method: 'POST' });
    expect((await post(`/queues/${encodeURIComponent(name)}/pause`)).status).toBe(202);
    expect(await queue.isPaused()).toBe(true);
    const answer = await post(`/${encodeURIComponent(`${name}:ä:ö:€`)}/rerun`);
    const { id } = answer.json as { id: string };
    expect(answer.status).toBe(201);
    const made = await ask(new URL(String(answer.headers.get('location')), url).href);
    expect(made.json).toMatchObject({ id, name: jobName, queue: name });
  });

  it.each([
    ['a word', 'nothing'],
    ['a job of another queue', 'other:1'],
    ['a job of another queue with a long name', `${'q'.repeat(200)}:1`],
    ['more than 4,096 bytes', `q:${'é'.repeat(2100)}`],
    ['a NUL', 'q\u0000:1'],
    ['a job without a queue', ':1'],
    ['a queue without a job', 'q:'],
    ['a path', '../x:1'],
  ])('answers 404 for an id that is not a job of an attached queue: %s', async (_case, id) => {
    const { url } = await admin(attach());
    expect((await ask(`${url}/tasks/${encodeURIComponent(id)}`)).status).toBe(404);
  });

  it('shows hostile names and errors unchanged, and truncates long ones', async () => {
    const name = '<img src=x onerror=alert(1)>';
    keep(
      new Worker(
        queue.name,
        async () => {
          throw new Error(`=cmd()${'x'.repeat(1_000_000)}`);
        },
        { connection: redis.connection },
      ),
    );
    const tasks = attach();
    await queue.add(name, { text: 'y'.repeat(1_000_000) });
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 1);
    const { items } = await tasks.find({ limit: 1 });
    expect(items[0]).toMatchObject({ name, status: 'failed' });
    expect(items[0]?.error?.message.length).toBe(10_000);
    expect(JSON.stringify(items).length).toBeLessThan(11_000);
    const detail = await tasks.get(items[0]?.id ?? '');
    expect(JSON.stringify(detail?.args).length).toBeGreaterThan(1_000_000);
  });

  it('shows jobs with invalid options, and takes no other key for a job', async () => {
    await queue.upsertJobScheduler('nightly', { pattern: '0 3 * * *' }, { name: 'night' });
    for (const [n, opts] of ['not JSON', '{"attempts":"many"}', '[]'].entries()) {
      await client.hset(queue.toKey(`odd${n}`), {
        name: 'odd',
        data: '{}',
        opts,
        timestamp: 8.7e15,
        delay: 0,
        priority: 0,
      });
      await client.lpush(queue.toKey('wait'), `odd${n}`);
    }
    const tasks = attach();
    expect(
      (await tasks.find({ name: 'odd' })).items.map(({ status, maxAttempts }) => [
        status,
        maxAttempts,
      ]),
    ).toEqual([
      ['pending', 1],
      ['pending', 1],
      ['pending', 1],
    ]);
    for (const key of ['repeat:nightly', 'meta', 'wait'])
      expect(await tasks.get(`${queue.name}:${key}`)).toBeUndefined();
  });

  it('shares one connection of the app between queues, and leaves it open', async () => {
    const shared = new Redis({ ...redis.connection, maxRetriesPerRequest: null });
    const queues = ['a', 'b', 'c'].map((name) =>
      keep(new Queue(`${queue.name}-${name}`, { connection: shared })),
    );
    await queues[1]?.add('x', {});
    const tasks = attachQueues(queues, { logger: false });
    expect((await tasks.find({ limit: 5 })).total).toBe(1);
    await tasks.close();
    expect(await shared.ping()).toBe('PONG');
    await queues[0]?.add('still', {});
    expect(await queues[0]?.getJobCountByTypes('wait')).toBe(1);
    await Promise.all(queues.map((each) => each.close()));
    shared.disconnect();
  });

  it('recovers from an error on an open connection, and closes during events', async () => {
    const tasks = attach();
    await tasks.describe();
    queue.emit('error', new Error('something else'));
    await expect(tasks.find({ limit: 1 })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await queue.add('x', {});
    await waitFor(() =>
      tasks.find({ limit: 1 }).then(
        ({ total }) => total === 1,
        () => false,
      ),
    );
    const pausing = (async () => {
      for (let n = 0; n < 10; n++) await (n % 2 === 0 ? queue.pause() : queue.resume());
    })();
    await tasks.close();
    await pausing;
  });

  it('reads a queue with its own BullMQ prefix', async () => {
    const other = keep(new Queue('mail', { connection: redis.connection, prefix: 'shop' }));
    await other.add('x', {});
    const tasks = attach([other]);
    expect((await tasks.find({ limit: 5 })).items).toMatchObject([
      { id: expect.stringMatching(/^mail:/) },
    ]);
    await other.add('y', {});
    await waitFor(async () => (await tasks.find({ limit: 5 })).total === 2);
  });

  it('counts every job even if connections are killed while jobs are added', async () => {
    const tasks = attach();
    await tasks.describe();
    const adding = (async () => {
      for (let n = 0; n < 60; n++) {
        await queue.add('n', { n }).catch(() => undefined);
        await sleep(0.02);
      }
    })();
    for (let n = 0; n < 4; n++) {
      await sleep(0.3);
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }
    await adding;
    await waitFor(async () => {
      const there = await queue.getJobCountByTypes('wait');
      return tasks.aggregate('statsSnapshot').then(
        ({ pending }) => there > 0 && pending === there,
        () => false,
      );
    });
  });

  it('shows that another worker completes the job of a killed worker', async () => {
    const program = `
      import { Worker } from 'bullmq';
      new Worker(${JSON.stringify(queue.name)}, () => new Promise(() => {}), {
        connection: ${JSON.stringify(redis.connection)},
        lockDuration: 500,
        stalledInterval: 300,
      });
    `;
    const first = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    const tasks = attach();
    const id = `${queue.name}:${(await queue.add('long', {})).id}`;
    await waitFor(async () => (await tasks.get(id))?.engineState === 'active');
    first.process.kill('SIGKILL');
    await first.ended;
    keep(
      new Worker(queue.name, async () => 'done', {
        connection: redis.connection,
        lockDuration: 500,
        stalledInterval: 300,
      }),
    );
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    expect(await tasks.get(id)).toMatchObject({ result: 'done', attempt: expect.any(Number) });
  });

  it('answers ENGINE_UNAVAILABLE while Redis hangs, and recovers afterwards', async () => {
    const own = await RedisServer.start();
    const stuck = new Queue('mail', { connection: own.connection });
    await stuck.add('x', {});
    const tasks = attachQueues([stuck], { logger: false });
    const [task] = (await tasks.find({ limit: 1 })).items;
    own.signal('SIGSTOP');
    await expect(tasks.get(task?.id ?? '')).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    own.signal('SIGCONT');
    await waitFor(() => tasks.get(task?.id ?? '').then(Boolean, () => false));
    await tasks.close();
    await stuck.close();
    await own.remove();
  });

  it('shows no jobs after a queue is obliterated', async () => {
    await queue.addBulk(Array.from({ length: 20 }, (_, n) => ({ name: 'x', data: { n } })));
    const tasks = attach();
    expect((await tasks.aggregate('statsSnapshot')).pending).toBe(20);
    await queue.obliterate({ force: true });
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).pending === 0);
  });

  it('logs a wrong password once, without the password', async () => {
    const own = await RedisServer.start('--requirepass', 'right');
    const { logger, lines, text } = recordingLogger();
    const rejected = new Redis({
      ...own.connection,
      password: 'wr0ng-one',
      maxRetriesPerRequest: null,
    });
    const locked = new Queue('mail', { connection: rejected });
    const tasks = attachQueues([locked], { logger });
    for (let n = 0; n < 3; n++)
      await expect(tasks.find({ limit: 1 })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    expect(lines.filter(({ level }) => Number(level) >= 40)).toHaveLength(1);
    expect(text()).toMatch(/WRONGPASS|NOAUTH/);
    expect(text()).not.toContain('wr0ng-one');
    await tasks.close();
    // `close` and `disconnect` of BullMQ never end if Redis rejects the password: both wait until
    // the connection is ready. It would reconnect for ever, and the process would not exit.
    rejected.disconnect();
    await own.remove();
  });

  it('can be closed immediately, and rejects later calls', async () => {
    const tasks = attachQueues([queue], { logger: false });
    await tasks.close();
    await expect(tasks.find({ limit: 1 })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await queue.add('still', {});
  });

  it('lets a process exit after it has closed everything', async () => {
    const index = fileURLToPath(
      new URL('../../../../dist/engines/bullmq/index.js', import.meta.url),
    );
    const program = `
      import { Queue } from 'bullmq';
      import { attachQueues } from ${JSON.stringify(index)};
      const queue = new Queue('mail', { connection: ${JSON.stringify(redis.connection)} });
      const tasks = attachQueues([queue], { logger: false });
      await tasks.store.set('a', 1, 60);
      console.log((await tasks.describe()).engine);
      await tasks.close();
      await queue.close();
    `;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect([await child.ended, child.lines]).toEqual([0, ['bullmq']]);
  });

  it('lets a process exit if it is closed while Redis is unreachable', async () => {
    const own = await RedisServer.start();
    const index = fileURLToPath(
      new URL('../../../../dist/engines/bullmq/index.js', import.meta.url),
    );
    const program = `
      import { Queue } from 'bullmq';
      import { attachQueues } from ${JSON.stringify(index)};
      const queue = new Queue('mail', { connection: ${JSON.stringify(own.connection)} });
      const tasks = attachQueues([queue], { logger: false });
      await tasks.store.set('a', 1, 60);
      await tasks.describe();
      console.log('ready');
      const wait = () => new Promise((resolve) => setTimeout(resolve, 20));
      while (await tasks.describe().then(() => true, () => false)) await wait();
      await tasks.close();
      // BullMQ closes a queue only after Redis has answered.
      (await queue.getBackend().client).disconnect();
    `;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    await waitFor(() => child.lines.includes('ready'));
    await own.remove();
    expect([await child.ended, child.lines]).toEqual([0, ['ready']]);
  });
});
