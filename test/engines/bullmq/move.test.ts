import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { moveToRedis } from '../../../src/engines/bullmq/move.js';
import { openDatabase } from '../../../src/engines/embedded/database.js';
import { TaskManager } from '../../../src/manager.js';
import type { EngineDescription, FailurePage, TaskPage } from '../../../src/tasks/engine.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { type Child, startProcess, startScript } from '../../helpers/process.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { sleep, waitFor } from '../../helpers/wait.js';

/** What `fill.js` says. */
interface Filled {
  page: TaskPage;
  kinds: FailurePage;
  said: EngineDescription;
  counts: object;
}

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

  function onRedis(): TaskManager {
    const made = new TaskManager({ engine: bullmqEngine({ connection: redis.connection, logger: false }), logger: false });
    managers.push(made);
    return made;
  }
  const move = () => moveToRedis({ from: file, to: redis.connection, prefix: 'koa-taskflow' });
  const run = (...args: string[]): Child =>
    startProcess(process.execPath, ['dist/cli.js', 'move', '--from', file, '--to', `redis://127.0.0.1:${redis.port}`, ...args]);

  /** A file with something of everything, by a process that has ended. Answers what was in it. */
  async function fill(waiting: number): Promise<Filled> {
    const child = startScript('fill.js', file, String(waiting));
    expect(await child.ended).toBe(0);
    return JSON.parse(child.lines.join('')) as Filled;
  }

  it('takes history, failures, schedules, pauses and the audit along, and runs what waited', async () => {
    const { page, kinds, said, counts } = await fill(1200);
    expect(await move()).toEqual({ tasks: 1202, waiting: 1200, entries: 2, file: `${file}.moved` });
    expect(existsSync(file)).toBe(false);
    const after = onRedis();
    expect(await after.find({ limit: 500 })).toEqual(page);
    expect(await after.aggregate('failures', { limit: 5 })).toEqual(kinds);
    expect((await after.aggregate('metrics', {})).counts).toEqual(counts);
    expect(await after.describe()).toMatchObject({ queues: said.queues, schedules: said.schedules, rev: said.rev });
    expect((await after.store.page('audit')).items).toEqual([{ action: 'cancel' }, { action: 'login' }]);
    const ran = new Set<number>();
    let runs = 0;
    after.task('held', (n: number) => {
      ran.add(n);
      runs += 1;
    });
    await after.start();
    await waitFor(async () => (await after.aggregate('pulse')).counts.pending === 0);
    expect([ran.size, runs]).toEqual([1200, 1200]);
  });

  it('refuses a file that a process has open, and leaves it as it is', async () => {
    const child = startScript('fill.js', file, '3', 'stay');
    await waitFor(() => child.lines.length > 0);
    const refused = run();
    expect(await refused.ended).toBe(1);
    expect(refused.lines.join('\n')).toMatch(/is in use: stop every process/);
    child.process.kill('SIGTERM');
    expect(await child.ended).toBe(0);
    expect((await move()).waiting).toBe(3);
  });

  it('refuses a Redis that has other tasks, and what is no file of tasks', async () => {
    await onRedis().define('x').enqueue();
    await fill(1);
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
    await fill(2);
    await move();
    await waitFor(async () => (await early.find({ limit: 1 }).catch(() => ({ total: 0 }))).total === 4);
    await early.define('held').enqueue();
    expect((await early.find({ limit: 1 })).total).toBe(5);
  });

  it('waits for a Redis that takes some seconds to answer at first', async () => {
    await fill(2);
    redis.signal('SIGSTOP');
    const moving = move();
    await sleep(2);
    redis.signal('SIGCONT');
    expect(await moving).toMatchObject({ tasks: 4 });
  });

  it('goes on when it was killed, and loses and doubles nothing', async () => {
    await fill(8000);
    let [kills, finished] = [0, false];
    while (!finished) {
      const child = run();
      const ended = child.ended;
      const first = await Promise.race([ended, sleep(0.3 + kills * 0.15).then(() => undefined)]);
      if (first === undefined) {
        child.process.kill('SIGKILL');
        kills += 1;
      }
      const code = await ended;
      // Killed between its last step and its end, it had moved all, and the next one says so.
      const wasMoved = code === 1 && child.lines.some((line) => line.includes('was moved before'));
      finished = code === 0 || wasMoved;
      expect(finished || code === 'SIGKILL' ? [] : child.lines).toEqual([]);
      if (code === 0) expect(child.lines.join('\n')).toMatch(/Moved 8002 tasks, 8000 of which wait to run, and \d entries of logs/);
    }
    expect(kills).toBeGreaterThan(1);
    const after = onRedis();
    expect((await after.aggregate('pulse')).counts).toMatchObject({ pending: 8000, success: 1, failed: 1 });
    expect((await after.store.page('audit')).items).toHaveLength(2);
    const gone = await openDatabase(`${file}.moved`);
    expect(gone.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    gone.close();
  });

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
