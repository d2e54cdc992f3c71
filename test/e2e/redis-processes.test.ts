import { describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { ask, logIn, postForm, postJson } from '../helpers/client.js';
import { recordingLogger } from '../helpers/logs.js';
import { hasRedis } from '../helpers/redis.js';
import { useRedisProcesses } from '../helpers/redis-processes.js';
import { openStream } from '../helpers/stream.js';
import { sleep, waitFor } from '../helpers/wait.js';

(hasRedis ? describe : describe.skip)('processes with a shared Redis', () => {
  const on = useRedisProcesses();

  it("show each other's changes and end each other's sessions within two seconds", async () => {
    const tasks = on.manager();
    await tasks.start({ run: false });
    const [a, b] = await Promise.all([on.web(), on.web()]);
    const later = tasks.define('later').with({ runIn: 3600 });
    const look = async (): Promise<{ shown: number; ended: number }> => {
      const id = await later.enqueue();
      const [session, other] = [await logIn(a), await logIn(b)];
      const stream = await openStream(`${b}/dashboard/stream`, session);
      expect(stream.status).toBe(200);
      await waitFor(() => stream.of('hello').length > 0);
      const began = Date.now();
      expect((await postJson(`${a}/${id}/cancel`, {}, session)).status).toBe(202);
      await waitFor(() => JSON.stringify(stream.of('tasks')).includes('"cancelled"'));
      const shown = Date.now() - began;
      const out = Date.now();
      await postForm(`${a}/auth/logout`, {}, session);
      await stream.ended;
      const ended = Date.now() - out;
      expect((await ask(b, { headers: session })).status).toBe(401);
      expect((await ask(b, { headers: other })).status).toBe(200);
      return { shown, ended };
    };
    // Other tests share the machine, so the best of several tries counts.
    let best = await look();
    for (let tries = 4; tries > 0 && (best.shown >= 2000 || best.ended >= 2000); tries--) {
      const again = await look();
      best = { shown: Math.min(best.shown, again.shown), ended: Math.min(best.ended, again.ended) };
    }
    expect(best.shown).toBeLessThan(2000);
    expect(best.ended).toBeLessThan(2000);
  });

  it('report a blocked event loop and leave its task alone while its lock lasts', async () => {
    const tasks = on.manager();
    await tasks.start({ run: false });
    await on.startedWorkers(2);
    expect(tasks.promises.longestBlock).toBe(20);
    const id = await tasks.define<[ms: number]>('stuck').enqueue(10_000);
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    await sleep(8);
    expect(await tasks.get(id)).toMatchObject({ status: 'running', attempt: 1 });
    expect((await tasks.aggregate('workers')).filter(({ lastSign }) => lastSign > 6)).toHaveLength(
      1,
    );
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    expect((await tasks.get(id))?.attempts).toHaveLength(1);
  });

  it('cancel tasks that run in other processes', async () => {
    const tasks = on.manager();
    await tasks.start({ run: false });
    await on.startedWorkers(1);
    const id = await tasks.define('obedient').enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    await waitFor(async () => (await tasks.get(id))?.status === 'cancelled');
  });

  it('lose no stored task in a long outage of Redis and recover', async () => {
    const { logger, lines } = recordingLogger();
    const tasks = on.manager(logger);
    await tasks.start({ run: false });
    const quick = tasks.define<[ms: number]>('once');
    await on.startedWorkers(2);
    const stream = tasks.watch((await tasks.describe()).rev, new AbortController().signal);
    let seen = 0;
    void (async () => {
      for await (const { upserts } of stream) seen += upserts.length;
    })();
    const stored: string[] = [];
    let [refused, loading] = [0, true];
    const load = (async () => {
      while (loading) {
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
    await on.redis.stop();
    await sleep(2);
    await expect(tasks.find({ limit: 1 })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await sleep(22);
    const [before, seenBefore] = [stored.length, seen];
    await on.redis.start();
    await waitFor(() => stored.length > before + 200);
    loading = false;
    await load;
    expect(refused).toBeGreaterThan(5);
    await waitFor(
      async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
    );
    for (const id of stored)
      expect((await tasks.get(id))?.status).toMatch(/^(success|interrupted)$/);
    expect(seen).toBeGreaterThan(seenBefore);
    const said = lines.map(({ msg }) => String(msg));
    expect(said.filter((text) => /Redis is unreachable/.test(text))).toHaveLength(1);
    expect(said.filter((text) => /Redis is reachable again/.test(text))).toHaveLength(1);
    expect(said.length).toBeLessThan(8);
  });

  it('store tasks as jobs that BullMQ tools can read', async () => {
    const tasks = on.manager();
    const mail = tasks.define<[to: string]>('send mail', { queue: 'mail:out' });
    const [first = ''] = await mail.enqueueMany([['a'], ['b']]);
    await mail.with({ runIn: 3600 }).enqueue('c');
    const queue = new Queue('mail%3Aout', {
      connection: on.redis.connection,
      prefix: '{koa-taskflow}',
    });
    expect([await queue.getWaitingCount(), await queue.getDelayedCount()]).toEqual([2, 1]);
    expect(await queue.getJob(first)).toMatchObject({ name: 'send mail', data: ['a'] });
    mail.handle((to) => {
      if (to === 'b') throw new RangeError('no such address');
      return { sent: to };
    });
    await tasks.start();
    await waitFor(
      async () => (await queue.getCompletedCount()) + (await queue.getFailedCount()) === 2,
    );
    expect(await queue.getJob(first)).toMatchObject({ returnvalue: { sent: 'a' } });
    const [failed] = await queue.getFailed();
    expect(failed).toMatchObject({ data: ['b'], failedReason: 'no such address' });
    expect(failed?.stacktrace?.[0]).toContain('RangeError: no such address');
    await queue.close();
  });
});
