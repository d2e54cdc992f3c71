import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { moveToRedis } from '../../../src/engines/bullmq/move.js';
import { openDatabase } from '../../../src/engines/embedded/database.js';
import { TaskManager } from '../../../src/manager.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { type Child, startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { sleep, waitFor } from '../../helpers/wait.js';

const by = { actor: 'ada', reason: 'a try' };

(hasRedis ? describe : describe.skip)('moving from a file to a Redis', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let file: string;
  let redis: RedisServer;
  let managers: TaskManager[];

  beforeEach(async () => {
    [folder, redis] = [temporaryFolder(), await RedisServer.start()];
    file = folder.file('tasks.db');
    managers = [];
  });
  afterEach(async () => {
    await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
    await redis.remove();
    folder.remove();
  });

  function onFile(): TaskManager {
    const made = new TaskManager({ database: file, logger: false });
    managers.push(made);
    return made;
  }
  function onRedis(): TaskManager {
    const made = new TaskManager({ engine: bullmqEngine({ connection: redis.connection, logger: false }), logger: false });
    managers.push(made);
    return made;
  }
  const move = () => moveToRedis({ from: file, to: redis.connection, prefix: 'koa-taskflow' });
  const run = (...args: string[]): Child =>
    startProcess(process.execPath, ['dist/cli.js', 'move', '--from', file, '--to', `redis://127.0.0.1:${redis.port}`, ...args]);

  /** A file with something of everything. */
  async function fill(waiting: number): Promise<TaskManager> {
    const tasks = onFile();
    const sum = tasks.task('sum', (a: number, b: number) => a + b, { tags: { tenant: '7' } });
    const bad = tasks.task('bad', () => {
      throw new Error('broken');
    });
    tasks.schedule('nightly', sum, { cron: '0 3 * * *', args: [1, 2] });
    const held = tasks.define<[n: number]>('held', { queue: 'later' });
    await tasks.start();
    await sum.enqueue(1, 2);
    await bad.enqueue();
    await held.enqueueMany(Array.from({ length: waiting }, (_, n): [number] => [n]));
    await tasks.control({ action: 'pause', queue: 'slow' }, by);
    await tasks.store.append('audit', { action: 'login' }, 3600);
    await tasks.store.append('audit', { action: 'cancel' }, 3600);
    await waitFor(async () => {
      const { counts } = await tasks.aggregate('pulse');
      return counts.success === 1 && counts.failed === 1;
    });
    return tasks;
  }

  /** The driver gives a file up when its connection is collected; a process that ends needs no such thing. */
  async function close(tasks: TaskManager): Promise<void> {
    await tasks.stop();
    for (let n = 0; n < 5; n++) {
      await sleep(0.02);
      globalThis.gc?.();
    }
  }

  it('takes history, failures, schedules, pauses and the audit along, and runs what waited', async () => {
    const before = await fill(1200);
    const all = { limit: 500 };
    const [page, kinds, said] = [await before.find(all), await before.aggregate('failures', { limit: 5 }), await before.describe()];
    const metrics = await before.aggregate('metrics', {});
    await close(before);
    expect(await move()).toEqual({ tasks: 1202, waiting: 1200, entries: 2, file: `${file}.moved` });
    expect(existsSync(file)).toBe(false);
    const after = onRedis();
    expect(await after.find(all)).toEqual(page);
    expect(await after.aggregate('failures', { limit: 5 })).toEqual(kinds);
    expect((await after.aggregate('metrics', {})).counts).toEqual(metrics.counts);
    expect(await after.describe()).toMatchObject({ queues: said.queues, schedules: said.schedules, rev: said.rev });
    expect((await after.store.page('audit')).items).toEqual([{ action: 'cancel' }, { action: 'login' }]);
    const ran = new Set<number>();
    let runs = 0;
    after.task('held', (n: number) => {
      ran.add(n);
      runs += 1;
    });
    await after.start();
    await waitFor(async () => (await after.aggregate('pulse')).counts.pending === 0, 30);
    expect([ran.size, runs]).toEqual([1200, 1200]);
  });

  it('refuses a file that a process has open, and leaves it as it is', async () => {
    const before = await fill(3);
    await expect(move()).rejects.toThrow(/is in use: stop every process/);
    expect((await before.find({ limit: 1 })).total).toBe(5);
    await close(before);
    expect((await move()).waiting).toBe(3);
  });

  it('refuses a Redis that has other tasks, and what is no file of tasks', async () => {
    await onRedis().define('x').enqueue();
    await close(await fill(1));
    await expect(move()).rejects.toThrow(/choose another --prefix/);
    expect((await moveToRedis({ from: file, to: redis.connection, prefix: 'other' })).waiting).toBe(1);
    await expect(move()).rejects.toThrow(/was moved before/);
    file = folder.file('nothing.db');
    await expect(move()).rejects.toThrow(/there is no file/);
    expect(existsSync(file)).toBe(false);
  });

  it('is noticed by a process that has the empty Redis open already', async () => {
    const early = onRedis();
    expect((await early.find({ limit: 1 })).total).toBe(0);
    await close(await fill(2));
    await move();
    await waitFor(async () => (await early.find({ limit: 1 }).catch(() => ({ total: 0 }))).total === 4, 10);
    await early.define('held').enqueue();
    expect((await early.find({ limit: 1 })).total).toBe(5);
  });

  it('goes on when it was killed, and loses and doubles nothing', async () => {
    await close(await fill(8000));
    let [kills, finished] = [0, false];
    while (!finished) {
      const child = run();
      const ended = child.ended;
      const first = await Promise.race([ended, sleep(0.3 + kills * 0.15).then(() => undefined)]);
      if (first === undefined) {
        child.process.kill('SIGKILL');
        kills += 1;
      }
      finished = (await ended) === 0;
      if (finished) expect(child.lines.join('\n')).toMatch(/Moved 8002 tasks, 8000 of which wait to run, and \d entries of logs/);
    }
    expect(kills).toBeGreaterThan(1);
    const after = onRedis();
    expect((await after.aggregate('pulse')).counts).toMatchObject({ pending: 8000, success: 1, failed: 1 });
    expect((await after.store.page('audit')).items).toHaveLength(2);
    const gone = await openDatabase(`${file}.moved`);
    expect(gone.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    gone.close();
  }, 60_000);

  it('says what is wrong with what it is told, and shows no password', async () => {
    const wrong = [
      [['--from', file], /--to/],
      [['--from', file, '--to', 'http://x'], /redis:\/\/ or rediss/],
      [['--from', file, '--to', 'redis://:unspeakable@127.0.0.1:1'], /ECONNREFUSED|did not answer/],
      [['--form', file], /--form/],
    ] as const;
    for (const [args, message] of wrong) {
      const child = startProcess(process.execPath, ['dist/cli.js', 'move', ...args], { REDIS_URL: '' });
      expect(await child.ended).toBe(1);
      expect(child.lines.join('\n')).toMatch(message);
      expect(child.lines.join('\n')).not.toMatch(/unspeakable/);
    }
  });
});
