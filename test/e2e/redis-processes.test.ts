import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { bullmqEngine } from '../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../src/manager.js';
import { ask, logIn, postForm, postJson } from '../helpers/client.js';
import { recordingLogger } from '../helpers/logs.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Child, startScript } from '../helpers/process.js';
import { hasRedis, RedisServer } from '../helpers/redis.js';
import { openStream } from '../helpers/stream.js';
import { sleep, waitFor } from '../helpers/wait.js';

/** Tasks of the longest test, in thousands: `TASKS=50` takes a minute and a half. */
const amount = Number(process.env.TASKS ?? 12) * 1000;

(hasRedis ? describe : describe.skip)('processes on one Redis', () => {
  let redis: RedisServer;
  let place: string;
  let children: Child[];
  let managers: TaskManager[];

  beforeEach(async () => {
    redis = await RedisServer.start();
    place = `redis://127.0.0.1:${redis.port}`;
    children = [];
    managers = [];
  });
  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
    await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
    await redis.remove();
  });

  function manager(logger: Parameters<typeof bullmqEngine>[0]['logger'] = false): TaskManager {
    const made = new TaskManager({ engine: bullmqEngine({ connection: place, logger }), logger });
    managers.push(made);
    return made;
  }

  function worker(): Child {
    const child = startScript('worker.js', place, 'run');
    children.push(child);
    return child;
  }
  const started = (child: Child): Promise<boolean> => waitFor(() => child.lines.includes('started'), 30);

  async function web(): Promise<string> {
    const child = startScript('web.js', place, secretKey, `admin ${cheapHash(password)}`);
    children.push(child);
    return `${await waitFor(() => child.lines.find((line) => line.startsWith('http')), 30)}/tasks`;
  }

  it('end all of many tasks, and lose none, while workers are killed again and again', async () => {
    const tasks = manager();
    await tasks.start({ run: false });
    const [again, once] = [
      tasks.define<[ms: number]>('again', { requeueOnInterrupt: true, maxInterrupts: 9 }),
      tasks.define<[ms: number]>('once'),
    ];
    const urls = await Promise.all([web(), web()]);
    let living = [worker(), worker(), worker()];
    await Promise.all(living.map(started));
    const ids: string[] = [];
    let kills = 0;
    const killing = (async () => {
      for (; kills < 4 + amount / 12_000; kills++) {
        await sleep(1.5 + Math.random());
        const [victim] = living.splice(Math.floor(Math.random() * living.length), 1);
        victim?.process.kill('SIGKILL');
        living = [...living, worker()];
      }
    })();
    for (let n = 0; n < amount; n += 500) {
      const task = n % 1000 === 0 ? again : once;
      ids.push(...(await task.enqueueMany(Array.from({ length: 500 }, () => [1]))));
    }
    await killing;
    const open = async (): Promise<number> => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total;
    await waitFor(async () => (await open()) === 0, 150);
    const { counts } = await tasks.aggregate('pulse');
    expect(counts).toMatchObject({ pending: 0, running: 0, failed: 0, cancelled: 0 });
    expect(counts.success + counts.interrupted).toBe(amount);
    // What a killed worker ran and may not run again, at most its slots for each kill.
    expect(counts.interrupted).toBeLessThanOrEqual(kills * 20);
    expect((await tasks.find({ limit: 1, name: 'again', status: ['interrupted'] })).total).toBe(0);
    expect(new Set(ids).size).toBe(amount);
    for (const url of urls) {
      const { json } = await ask(`${url}/metrics`, { headers: await logIn(url) });
      expect((json as { counts: object }).counts).toMatchObject({ success: counts.success, interrupted: counts.interrupted });
    }
  }, 240_000);

  it('show within half a second what another one did, and end a session and its stream within a second everywhere', async () => {
    const tasks = manager();
    await tasks.start({ run: false });
    const [a, b] = await Promise.all([web(), web()]);
    const id = await tasks.define('later').with({ runIn: 3600 }).enqueue();
    const [session, other] = [await logIn(a), await logIn(b)];
    const stream = await openStream(`${b}/dashboard/stream`, session);
    expect(stream.status).toBe(200);
    await waitFor(() => stream.of('hello').length > 0);
    const began = Date.now();
    expect((await postJson(`${a}/${id}/cancel`, {}, session)).status).toBe(202);
    await waitFor(() => JSON.stringify(stream.of('tasks')).includes('"cancelled"'));
    expect(Date.now() - began).toBeLessThan(500);
    const out = Date.now();
    await postForm(`${a}/auth/logout`, {}, session);
    await stream.ended;
    expect(Date.now() - out).toBeLessThan(1000);
    expect((await ask(b, { headers: session })).status).toBe(401);
    expect((await ask(b, { headers: other })).status).toBe(200);
  });

  it('cancel a task that runs in another process', async () => {
    const tasks = manager();
    await tasks.start({ run: false });
    await started(worker());
    const id = await tasks.define('obedient').enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    await waitFor(async () => (await tasks.get(id))?.status === 'cancelled', 2);
  });

  it('lose nothing that resolved when the Redis is stopped for 30 seconds under load, and go on by themselves', async () => {
    const { logger, lines } = recordingLogger();
    const tasks = manager(logger);
    await tasks.start({ run: false });
    const quick = tasks.define<[ms: number]>('once');
    await Promise.all([worker(), worker()].map(started));
    const stream = tasks.watch((await tasks.describe()).rev, new AbortController().signal);
    let seen = 0;
    void (async () => {
      for await (const { upserts } of stream) seen += upserts.length;
    })();
    const stored: string[] = [];
    let [refused, on] = [0, true];
    const load = (async () => {
      while (on) {
        await quick.enqueue(1).then(
          (id) => stored.push(id),
          (error) => {
            expect(error).toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
            refused += 1;
          },
        );
        await sleep(0.002);
      }
    })();
    await waitFor(() => stored.length > 200);
    await redis.stop();
    await sleep(2);
    await expect(tasks.find({ limit: 1 })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await sleep(28);
    const [before, seenBefore] = [stored.length, seen];
    await redis.start();
    await waitFor(() => stored.length > before + 200, 30);
    on = false;
    await load;
    expect(refused).toBeGreaterThan(5);
    await waitFor(async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0, 60);
    for (const id of stored) expect((await tasks.get(id))?.status).toMatch(/^(success|interrupted)$/);
    expect(seen).toBeGreaterThan(seenBefore);
    const said = lines.map(({ msg }) => String(msg));
    expect(said.filter((text) => /tasks cannot be used/.test(text))).toHaveLength(1);
    expect(said.filter((text) => /tasks can be used again/.test(text))).toHaveLength(1);
    expect(said.length).toBeLessThan(8);
  }, 120_000);

  it('are jobs of BullMQ: whoever knows that alone sees how many wait', async () => {
    const tasks = manager();
    const mail = tasks.define<[to: string]>('send mail', { queue: 'mail:out' });
    await mail.enqueueMany([['a'], ['b']]);
    await mail.with({ runIn: 3600 }).enqueue('c');
    const queue = new Queue('mail%3Aout/send%20mail', { connection: redis.connection, prefix: '{koa-taskflow}' });
    await waitFor(async () => (await queue.getPrioritizedCount()) === 2 && (await queue.getDelayedCount()) === 1);
    mail.handle(() => 'sent');
    await tasks.start();
    await waitFor(async () => (await tasks.aggregate('pulse')).counts.success === 2);
    await waitFor(async () => (await queue.getPrioritizedCount()) === 0 && (await queue.getActiveCount()) === 0);
    await queue.close();
  });

  it('run what waits although its jobs were lost', async () => {
    const tasks = manager();
    const mail = tasks.define('mail');
    await mail.enqueueMany([[], []]);
    const queue = new Queue('default/mail', { connection: redis.connection, prefix: '{koa-taskflow}' });
    await waitFor(async () => (await queue.getPrioritizedCount()) === 2);
    await queue.obliterate({ force: true });
    mail.handle(() => 'sent');
    await tasks.start();
    await waitFor(async () => (await tasks.aggregate('pulse')).counts.success === 2, 10);
    await queue.close();
  });
});
