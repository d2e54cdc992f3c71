import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { heldTimers, quickTimers } from '../../../helpers/clock.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { eventually, sleep, waitFor } from '../../../helpers/wait.js';

const queues = '{koa-taskflow}:~queues';

(hasRedis ? describe : describe.skip)('the list of queues in Redis', () => {
  const forEach = new RedisForEach();
  afterEach(() => void jest.restoreAllMocks());

  function manager(): TaskManager {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: forEach.redis.connection, logger: false }),
      logger: false,
    });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  /** Runs the script of the documentation. */
  async function removeEmpty(): Promise<string[]> {
    const docs = readFileSync(
      new URL('../../../../docs/from-one-file-to-redis.md', import.meta.url),
      'utf8',
    );
    const [, script = ''] = /```lua\n(.*?)```/s.exec(docs) ?? [];
    return ((await forEach.client.eval(script, 1, '{koa-taskflow}')) as string[]).sort();
  }

  it('loses only empty queues to the documented script, and gets them back', async () => {
    const by = { actor: 'test' };
    const tasks = manager();
    const note = tasks.task('note', () => 1);
    const limited = tasks.task('limited', () => 1, { queue: 'narrow', concurrency: 1 });
    const nightly = tasks.task('nightly', () => 1, { queue: 'scheduled' });
    tasks.schedule('nightly', nightly, { cron: '0 3 * * *' });
    await tasks.start();
    const [empty, ended, paused] = ['empty', 'ended', 'paused'].map((queue) =>
      note.with({ queue }).enqueue(),
    );
    const gone = await Promise.all([empty, paused, limited.enqueue()] as Promise<string>[]);
    await ended;
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 4);
    const waits = await note.with({ queue: 'pending', runIn: 600 }).enqueue();
    await tasks.control({ action: 'delete', ids: gone }, by);
    await tasks.control({ action: 'pause', queue: 'paused' }, by);
    await expect(removeEmpty()).rejects.toThrow(/stop every process/);
    await tasks.stop();

    const names = Array.from({ length: 93 }, (_, n) => `customer ${n}`);
    await forEach.client.hset(
      queues,
      Object.fromEntries(names.map((label) => [label, JSON.stringify({ label })])),
    );
    const full = manager().define('note');
    await expect(full.with({ queue: 'one more' }).enqueue()).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(await removeEmpty()).toEqual([...names, 'default', 'empty', 'narrow/limited'].sort());
    expect((await forEach.client.hkeys(queues)).sort()).toEqual([
      'ended',
      'paused',
      'pending',
      'scheduled',
    ]);
    expect(await forEach.client.keys('{koa-taskflow}:empty:*')).toEqual([]);

    const after = manager();
    const again = after.task('note', () => 1);
    after.task('limited', () => 1, { queue: 'narrow', concurrency: 1 });
    await after.start();
    const id = await again.with({ queue: 'empty' }).enqueue();
    await waitFor(async () => (await after.get(id))?.status === 'success');
    expect((await after.get(waits))?.status).toBe('pending');
    expect(await forEach.client.hget('{koa-taskflow}:narrow/limited:meta', 'concurrency')).toBe(
      '1',
    );
  });

  it('is full with 100 labels, but accepts limited tasks under these labels', async () => {
    const labels = Array.from({ length: 100 }, (_, n) => `label ${n}`);
    await forEach.client.hset(
      queues,
      Object.fromEntries(labels.map((label) => [label, JSON.stringify({ label })])),
    );
    const tasks = manager();
    await expect(tasks.define('other', { queue: 'one more' }).enqueue()).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    await tasks.define('limited', { queue: 'label 7', concurrency: 1 }).enqueue();
    expect(await forEach.client.hexists(queues, 'label 7/limited')).toBe(1);
  });

  it('ignores stored names that are not names of its queues', async () => {
    const names = ['', 'a:b', '~ticks', 'a/b/c', '{x}', '%3a', 'x'.repeat(801)];
    const odd = Object.fromEntries(names.map((name) => [name, JSON.stringify({ label: name })]));
    const good = {
      'a b': JSON.stringify({ label: 'a b' }),
      'mail%3Aurgent': JSON.stringify({ label: 'mail:urgent' }),
      'narrow/limited': JSON.stringify({ label: 'narrow', task: 'limited' }),
    };
    await forEach.client.hset(queues, { ...odd, ...good });
    expect((await manager().describe()).queues.map(({ name }) => name)).toEqual([
      'a b',
      'mail:urgent',
      'narrow',
    ]);
  });

  describe('cleaned by the documented script', () => {
    const own = (key: string): string => `{koa-taskflow}:~${key}`;
    const listed = async (): Promise<string[]> => (await forEach.client.hkeys(queues)).sort();

    beforeEach(async () => {
      const names = ['a', 'b', 'c', 'd'];
      await forEach.client.hset(
        queues,
        Object.fromEntries(names.map((label) => [label, JSON.stringify({ label })])),
      );
    });

    const old = JSON.stringify({ lastSeen: Date.now() - 120_000 });
    it.each(['null', '{}', '"text"', 'no JSON', '{"lastSeen":"1"}', '{"lastSeen":NaN}'])(
      'stays complete if a process is unreadable: %s',
      async (text) => {
        await forEach.client.hset(own('instances'), { gone: old, odd: text });
        await expect(removeEmpty()).rejects.toThrow(/process odd .*stop every process/);
        expect(await listed()).toEqual(['a', 'b', 'c', 'd']);
        await forEach.client.hdel(own('instances'), 'odd');
        expect(await removeEmpty()).toEqual(['a', 'b', 'c', 'd']);
      },
    );

    it.each([
      'null',
      '{}',
      'no JSON',
      '{"template":null}',
      '{"template":"b"}',
      '{"template":{"queue":1}}',
    ])('stays complete if a schedule is unreadable: %s', async (text) => {
      await forEach.client.hset(own('schedules'), {
        good: JSON.stringify({ template: { queue: 'b' } }),
        odd: text,
      });
      await expect(removeEmpty()).rejects.toThrow(/schedule odd/);
      expect(await listed()).toEqual(['a', 'b', 'c', 'd']);
      await forEach.client.hdel(own('schedules'), 'odd');
      expect(await removeEmpty()).toEqual(['a', 'c', 'd']);
    });

    it('stays complete if the key of a queue is unreadable', async () => {
      await forEach.client.set('{koa-taskflow}:c:meta', 'no hash');
      await expect(removeEmpty()).rejects.toThrow(/WRONGTYPE/);
      expect(await listed()).toEqual(['a', 'b', 'c', 'd']);
    });

    it('keeps queues with unreadable entries', async () => {
      await forEach.client.hset(queues, { a: 'null', b: 'no JSON', c: '{"label":7}' });
      expect(await removeEmpty()).toEqual(['d']);
      expect(await listed()).toEqual(['a', 'b', 'c']);
    });
  });

  it('regains a removed queue soon after an unstarted process uses it', async () => {
    quickTimers('setTimeout', 5000);
    const web = manager().define('note', { queue: 'used' });
    await web.enqueue();
    // The check after this first call finds the queue.
    await sleep(0.3);
    await forEach.client.flushall();
    const worker = manager();
    worker.task('note', () => 1);
    await worker.start();
    const id = await web.enqueue();
    await waitFor(async () => (await worker.get(id))?.status === 'success', 20);
  });

  const used = (): Promise<number> => forEach.client.hexists(queues, 'used');

  it.each<[string, () => Promise<unknown>, () => Promise<unknown>]>([
    [
      'refuses writes',
      () => forEach.client.config('SET', 'maxmemory', 1),
      () => forEach.client.config('SET', 'maxmemory', 0),
    ],
    ['is unreachable', () => forEach.redis.stop('SIGKILL'), () => forEach.redis.start()],
  ])(
    'regains a removed queue although Redis %s during the first check',
    async (_, fail, recover) => {
      const timers = heldTimers('setTimeout', 5000);
      await manager().define('note', { queue: 'used' }).enqueue();
      // Timeouts of calls that were answered in time are among these timers. They do nothing.
      const check = (): void => {
        for (const run of timers.splice(0)) run();
      };
      await forEach.client.hdel(queues, 'used');
      await fail();
      check();
      // The failed check is followed by the next one, and that one too.
      await waitFor(() => timers.length === 1, 10);
      check();
      await waitFor(() => timers.length === 1, 10);
      await recover();
      // A killed server may have lost the removal.
      await forEach.client.hdel(queues, 'used');
      await eventually(async () => {
        check();
        expect(await used()).toBe(1);
      }, 10);
      expect(timers).toEqual([]);
    },
  );
});
