import { existsSync, readFileSync, renameSync } from 'node:fs';
import { describe, expect, it, jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { moveToRedis } from '../../../../src/engines/bullmq/move/move.js';
import { openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import type { EngineDescription } from '../../../../src/tasks/engine.js';
import type { TaskDetail } from '../../../../src/tasks/types.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { temporaryFolder } from '../../../helpers/folder.js';
import { type Child, startProcess, startScript } from '../../../helpers/process.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

/** What `fill.js` prints. */
interface Filled {
  said: EngineDescription;
  /** Id of a task that has ended, with the idempotency key `done`. */
  done: string;
  /** Id of a deleted task in the queue `rare` with the key `deleted`. */
  deleted: string;
  /** Id of a pending task with the key `open`. */
  open: string;
  /** A task whose first attempt failed. */
  retried: TaskDetail;
}

/**
 * Pending tasks that `fill.js` adds to those that a test requests: one with a key, one that failed,
 * and four with and without a priority.
 */
const always = 6;

(hasRedis ? describe : describe.skip)('the move to Redis', () => {
  const forEach = new RedisForEach();
  const keep = closeAfterEach();
  const encryptionKeys = ['a key for the arguments of tasks in tests'];

  function newFile(): string {
    const folder = temporaryFolder();
    keep({ close: async () => folder.remove() });
    return folder.file('tasks.db');
  }

  function onRedis(prefix = 'koa-taskflow'): TaskManager {
    const engine = bullmqEngine({ connection: forEach.redis.connection, prefix, logger: false });
    return kept(new TaskManager({ engine, logger: false, encryptionKeys }));
  }
  function onFile(database: string): TaskManager {
    return kept(new TaskManager({ database, logger: false, encryptionKeys }));
  }
  function kept(tasks: TaskManager): TaskManager {
    keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  const move = (file: string, prefix = 'koa-taskflow') =>
    moveToRedis({ from: file, to: forEach.redis.connection, prefix });
  const run = (file: string, ...args: string[]): Child =>
    startProcess(process.execPath, [
      'dist/cli.js',
      'move',
      '--from',
      file,
      '--to',
      `redis://127.0.0.1:${forEach.redis.port}`,
      ...args,
    ]);

  /** Fills a file by a process that has ended. */
  async function fill(file: string, waiting: number): Promise<Filled> {
    const child = startScript('fill.js', file, String(waiting));
    expect([await child.ended, child.lines.length]).toEqual([0, 1]);
    return JSON.parse(child.lines.join('')) as Filled;
  }

  /** Lets the next run of a moved schedule come due ten minutes ago. */
  async function makeDue(schedule: string): Promise<void> {
    await forEach.client.hset(
      '{koa-taskflow}:~schedule-states',
      `next:${schedule}`,
      Date.now() - 600_000,
    );
  }

  it('moves all data except the history, which stays in the file', async () => {
    const file = newFile();
    const { said, done, retried } = await fill(file, 1200);
    const child = run(file);
    expect(await child.ended).toBe(0);
    expect(child.lines).toEqual([
      `Moved ${1200 + always} pending tasks, 3 schedules, 1 paused queue and 2 audit entries. ` +
        `The history stays in '${file}.moved'.`,
    ]);
    expect(existsSync(file)).toBe(false);
    const after = onRedis();
    expect((await after.aggregate('statsSnapshot')).counts).toMatchObject({
      pending: 1200 + always,
      success: 0,
      failed: 0,
    });
    const described = await after.describe();
    expect(described.schedules).toEqual(
      said.schedules.map((each) => ({
        ...each,
        undefinedSince: null,
        nextRunAt: each.paused ? null : each.nextRunAt,
      })),
    );
    expect(described.queues.find(({ name }) => name === 'slow')).toEqual(
      said.queues.find(({ name }) => name === 'slow'),
    );
    expect((await after.store.page('audit')).items).toEqual([
      { action: 'cancel' },
      { action: 'login' },
    ]);
    expect(await after.store.get('revoked:alice')).toEqual({ at: 1 });
    expect(await after.store.get('gone')).toBeUndefined();
    expect(await after.get(done)).toBeUndefined();
    expect(await after.get(retried.id)).toEqual(retried);

    const before = onFile(`${file}.moved`);
    await before.start({ run: false });
    expect((await before.aggregate('metrics', {})).counts).toMatchObject({
      pending: 0,
      running: 0,
      success: 1,
      failed: 1,
    });
    expect(await before.get(done)).toMatchObject({ name: 'sum', status: 'success', result: 3 });
    expect((await before.find({ limit: 500 })).items).toHaveLength(2);
    expect((await before.describe()).schedules).toEqual([]);
  });

  it('lets each task run once on Redis, in queue order, with its attempts', async () => {
    const file = newFile();
    const { retried } = await fill(file, 300);
    await move(file);
    const ran: unknown[][] = [];
    const engine = bullmqEngine({ connection: forEach.redis.connection, logger: false });
    const after = kept(new TaskManager({ engine, logger: false, encryptionKeys, concurrency: 1 }));
    after.task('held', (n: number) => void ran.push(['held', n]));
    const order: number[] = [];
    after.task('ranked', (n: number) => void order.push(n));
    const tries: number[] = [];
    after.task(
      'flaky',
      (name: string) => void tries.push(name === 'cat.jpg' ? taskContext().attempt : -1),
    );
    await after.start();
    await after.control({ action: 'run', ids: [retried.id] }, { actor: 'test' });
    await waitFor(async () => {
      const { counts } = await after.aggregate('statsSnapshot');
      return counts.pending === 0 && counts.running === 0;
    });
    expect(new Set(ran.map(([, n]) => n)).size).toBe(301);
    expect(ran).toHaveLength(301);
    expect(order).toEqual([10, 5, 0, 0]);
    expect(tries).toEqual([2]);
    const { attempts, logs } = (await after.get(retried.id)) ?? {};
    expect(attempts?.map(({ status }) => status)).toEqual(['failed', 'success']);
    expect(logs?.map(({ message }) => message)).toEqual(['trying']);
  });

  it('keeps arguments encrypted, so that BullMQ shows none', async () => {
    const file = newFile();
    const { retried } = await fill(file, 0);
    await move(file);
    const queue = new Queue('default', {
      connection: forEach.redis.connection,
      prefix: '{koa-taskflow}',
    });
    keep(queue);
    const job = await queue.getJob(retried.id);
    expect(job).toMatchObject({
      name: 'flaky',
      attemptsMade: 1,
      failedReason: 'not yet',
      opts: { attempts: 4 },
    });
    expect(job?.data).toMatch(/^sealed:1:/);
  });

  it('keeps idempotency keys in use, also those of ended and deleted tasks', async () => {
    const file = newFile();
    const { done, deleted, open } = await fill(file, 0);
    await move(file);
    const after = onRedis();
    const [sum, held] = [after.define('sum'), after.define('held', { queue: 'later' })];
    expect(await sum.with({ idempotencyKey: 'done' }).enqueue()).toBe(done);
    expect(await sum.with({ idempotencyKey: 'deleted', queue: 'rare' }).enqueue()).toBe(deleted);
    // From now on, the task has a queue of its own.
    const limited = onRedis().define('sum', { concurrency: 2 });
    expect(await limited.with({ idempotencyKey: 'done' }).enqueue()).toBe(done);
    expect(await held.with({ idempotencyKey: 'open' }).enqueue()).toBe(open);
    const left = await forEach.client.pttl('{koa-taskflow}:later:de:4:held:open');
    expect(left).toBeGreaterThan(3_000_000);
    expect(left).toBeLessThanOrEqual(3_600_000);
    await after.control({ action: 'cancel', ids: [open] }, { actor: 'test' });
    expect(await held.with({ idempotencyKey: 'open' }).enqueue()).not.toBe(open);
  });

  it('catches up a missed run once, and leaves a paused schedule paused', async () => {
    const file = newFile();
    await fill(file, 0);
    await move(file);
    await makeDue('minutely');
    const ran: number[] = [];
    const managers = [onRedis(), onRedis()];
    for (const tasks of managers) {
      const sum = tasks.task('sum', (a: number, b: number) => ran.push(a + b));
      tasks.schedule('minutely', sum, { every: 60, args: [3, 4] });
      tasks.schedule('resting', sum, { every: 60, args: [5, 6] });
    }
    await Promise.all(managers.map((tasks) => tasks.start()));
    await waitFor(() => ran.length > 0);
    await sleep(1);
    expect(ran).toEqual([7]);
    const [minutely, , resting] = (await managers[0]?.describe())?.schedules ?? [];
    const next = Date.parse(minutely?.nextRunAt ?? '') - Date.now();
    expect(next).toBeGreaterThan(0);
    expect(next).toBeLessThanOrEqual(60_000);
    expect(resting).toMatchObject({
      name: 'resting',
      paused: true,
      nextRunAt: null,
      pause: { by: 'ada', reason: 'too often' },
    });
  });

  it('skips a missed run if its schedule does not catch up', async () => {
    const file = newFile();
    await fill(file, 0);
    await move(file);
    await makeDue('minutely');
    let runs = 0;
    const tasks = onRedis();
    const sum = tasks.task('sum', () => {
      runs += 1;
    });
    tasks.schedule('minutely', sum, { every: 60, catchUp: false });
    await tasks.start();
    await waitFor(
      async () =>
        (await tasks.describe()).schedules.find(({ name }) => name === 'minutely')?.skipped === 1,
    );
    expect(runs).toBe(0);
  });

  it('settles the running tasks of a dead process, and overwrites no entry', async () => {
    const file = newFile();
    await fill(file, 0);
    const worker = startScript('stuck.js', file);
    await waitFor(() => worker.lines.length > 0);
    worker.process.kill('SIGKILL');
    await worker.ended;
    const early = onRedis();
    await early.store.set('revoked:alice', { at: 2 }, 3600);
    await early.store.append('audit', { action: 'early' }, 3600);
    expect((await move(file)).tasks).toBe(always + 1);
    expect(await early.store.get('revoked:alice')).toEqual({ at: 2 });
    expect((await early.store.page('audit')).items).toEqual([
      { action: 'early' },
      { action: 'cancel' },
      { action: 'login' },
    ]);
    const again = await early.find({ name: 'again', limit: 1 } as never);
    expect(again.items).toMatchObject([{ status: 'pending', attempt: 1 }]);
    const before = onFile(`${file}.moved`);
    expect(
      (await before.find({ limit: 500 })).items
        .map(({ name, status }) => `${name} ${status}`)
        .sort(),
    ).toEqual(['bad failed', 'once interrupted', 'sum success']);
  });

  it('lets moved tasks with a concurrency limit run in a queue with that limit', async () => {
    const file = newFile();
    await fill(file, 20);
    const child = run(file, '--concurrency', 'held=1');
    expect(await child.ended).toBe(0);
    let [running, most] = [0, 0];
    for (const tasks of [onRedis(), onRedis()]) {
      const work = async (): Promise<void> => {
        running += 1;
        most = Math.max(most, running);
        await sleep(0.01);
        running -= 1;
      };
      tasks.task('held', work, { queue: 'later', concurrency: 1 });
      await tasks.start();
    }
    const after = onRedis();
    await waitFor(async () => (await after.aggregate('statsSnapshot')).counts.success === 21, 20);
    expect(most).toBe(1);
  });

  it('applies the limits and pauses that a running worker already uses', async () => {
    const file = newFile();
    await fill(file, 20);
    let [running, most] = [0, 0];
    const worker = onRedis();
    const work = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await sleep(0.01);
      running -= 1;
    };
    worker.task('held', work, { queue: 'later', concurrency: 1 });
    const slow = worker.task('slow', () => 1, { queue: 'slow' });
    await worker.start();
    await waitFor(async () => (await forEach.client.hlen('{koa-taskflow}:~queues')) === 2);
    expect((await move(file)).tasks).toBe(20 + always);
    await waitFor(async () => (await worker.aggregate('statsSnapshot')).counts.success === 21, 20);
    expect(most).toBe(1);
    const id = await slow.enqueue();
    await sleep(0.3);
    expect((await worker.get(id))?.status).toBe('pending');
    await worker.control({ action: 'resume', queue: 'slow' }, { actor: 'test' });
    await waitFor(async () => (await worker.get(id))?.status === 'success');
  });

  it('rejects a file that a process has open, and leaves it unchanged', async () => {
    const file = newFile();
    const child = startScript('fill.js', file, '3', 'stay');
    await waitFor(() => child.lines.length > 0);
    const refused = run(file);
    expect(await refused.ended).toBe(1);
    expect(refused.lines.join('\n')).toMatch(/is in use: end every process/);
    child.process.kill('SIGTERM');
    expect(await child.ended).toBe(0);
    expect((await move(file)).tasks).toBe(3 + always);
  });

  it('rejects a prefix with other tasks, a moved file or an unknown file', async () => {
    await onRedis().define('x').enqueue();
    const file = newFile();
    await fill(file, 1);
    await expect(move(file)).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringMatching(/choose another --prefix/),
    });
    expect(existsSync(file)).toBe(true);
    expect((await move(file, 'other')).tasks).toBe(1 + always);
    await expect(move(file)).rejects.toThrow(/was moved before/);
    await expect(move(newFile())).rejects.toThrow(/there is no file/);
    // A second file under the same name does not replace the history of the first.
    await fill(file, 1);
    await expect(move(file, 'third')).rejects.toThrow(/exists already/);
    await expect(move(`${file}.moved-owners`, 'third')).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
    });
  });

  it('resumes only with the Redis and prefix where it began', async () => {
    const file = newFile();
    await fill(file, 3);
    await move(file);
    renameSync(`${file}.moved`, `${file}.moving`);
    await expect(move(file, 'other')).rejects.toThrow(/--prefix koa-taskflow/);
    expect((await move(file)).tasks).toBe(3 + always);
    renameSync(`${file}.moved`, `${file}.moving`);
    await forEach.client.flushall();
    await expect(move(file)).rejects.toThrow(/same Redis/);
  });

  it('rejects a prefix if another process adds a task just before the move', async () => {
    const file = newFile();
    await fill(file, 10);
    const queue = keep(
      new Queue('default', { connection: forEach.redis.connection, prefix: '{koa-taskflow}' }),
    );
    await forEach.client.hset(
      '{koa-taskflow}:~queues',
      'default',
      JSON.stringify({ label: 'default' }),
    );
    let checks = 0;
    const exists = jest.spyOn(Redis.prototype, 'exists').mockImplementation(async () => {
      checks += 1;
      // The move checks the schedules and the queues twice. This is its last check.
      if (checks === 4) await queue.add('foreign', []);
      return 0;
    });
    const error = await move(file).catch((thrown: unknown) => thrown);
    exists.mockRestore();
    expect([checks, error]).toMatchObject([4, { code: 'ENGINE_UNAVAILABLE' }]);
    expect(await forEach.client.exists('{koa-taskflow}:~moved')).toBe(0);
    expect(await queue.getJobCounts('waiting', 'prioritized', 'delayed')).toEqual({
      waiting: 1,
      prioritized: 0,
      delayed: 0,
    });
    await expect(move(file)).rejects.toMatchObject({ message: expect.stringContaining('already') });
  });

  it('moves each task once if Redis loses its scripts during the move', async () => {
    const file = newFile();
    const before = onFile(file);
    const held = before.define<[n: number]>('held');
    // The last step is the first one that stores more than BullMQ does.
    await held
      .with({ runIn: 3600 })
      .enqueueMany(Array.from({ length: 600 }, (_, n): [number] => [n]));
    const last = await held
      .with({ runIn: 3600, idempotencyKey: 'last', idempotencyWindow: 3600 })
      .enqueue(600);
    await before.stop();
    const { hmget } = Redis.prototype;
    const reads = jest.spyOn(Redis.prototype, 'hmget').mockImplementation(async function (
      this: Redis,
      ...args: unknown[]
    ) {
      // The move reads its progress before each step.
      await forEach.client.script('FLUSH');
      return Reflect.apply(hmget, this, args);
    });
    const moved = await move(file).finally(() => reads.mockRestore());
    expect(moved).toMatchObject({ tasks: 601 });
    const after = onRedis();
    expect((await after.aggregate('statsSnapshot')).counts).toMatchObject({ pending: 601 });
    expect(await after.get(last)).toMatchObject({ status: 'pending', args: [600] });
    expect(
      await after.define<[n: number]>('held').with({ idempotencyKey: 'last' }).enqueue(1),
    ).toBe(last);
  });

  it('reports what the prefix already has', async () => {
    const tasks = onRedis();
    tasks.schedule(
      'daily',
      tasks.task('daily', () => 1),
      { cron: '0 3 * * *' },
    );
    await tasks.start();
    await waitFor(() => forEach.client.exists('{koa-taskflow}:~schedules'));
    await tasks.stop();
    const file = newFile();
    await fill(file, 1);
    await expect(move(file)).rejects.toThrow(/has schedules already/);
    await onRedis().define('x').enqueue();
    await expect(move(file)).rejects.toThrow(/has tasks already/);
  });

  it('works with only the documented commands, and names a missing one', async () => {
    const docs = readFileSync(
      new URL('../../../../docs/from-one-file-to-redis.md', import.meta.url),
      'utf8',
    );
    const line = docs.split('\n').find((each) => each.includes('ACL SETUSER app')) ?? '';
    const engine = [...line.matchAll(/ (\+\S+)/g)].map(([, name = '']) => name);
    const [, extra = ''] = /`koa-taskflow move` also needs `([^`]+)`/.exec(docs) ?? [];
    const allow = (...commands: string[]) =>
      forEach.client.call(
        'ACL',
        'SETUSER',
        'app',
        'on',
        '>secret',
        '~{koa-taskflow}*',
        '-@all',
        ...commands,
      );
    const to = { ...forEach.redis.connection, username: 'app', password: 'secret' };
    const file = newFile();
    await fill(file, 1);
    await allow(...engine);
    await expect(moveToRedis({ from: file, to, prefix: 'koa-taskflow' })).rejects.toThrow(
      /'watch'/,
    );
    expect(existsSync(file)).toBe(true);
    await allow(...engine, ...extra.split(' '));
    await forEach.client.call('ACL', 'LOG', 'RESET');
    expect(await moveToRedis({ from: file, to, prefix: 'koa-taskflow' })).toMatchObject({
      tasks: 1 + always,
    });
    const refusals = (await forEach.client.call('ACL', 'LOG')) as string[][];
    const commands = refusals.map((entry) => entry[entry.indexOf('object') + 1]);
    // ioredis names itself to the server and needs no answer.
    expect(commands.filter((name) => name !== 'client|setinfo')).toEqual([]);
  });

  it('waits if Redis takes some seconds to give its first answer', async () => {
    const file = newFile();
    await fill(file, 2);
    forEach.redis.signal('SIGSTOP');
    const moving = move(file);
    await sleep(2);
    forEach.redis.signal('SIGCONT');
    expect(await moving).toMatchObject({ tasks: 2 + always });
  });

  it('resumes after each kill while a worker runs, and duplicates no task', async () => {
    const file = newFile();
    const waiting = 6000;
    const { open } = await fill(file, waiting);
    const ran: number[] = [];
    const after = onRedis();
    after.task('held', (n: number) => void ran.push(n), { queue: 'later' });
    let [kills, finished] = [0, false];
    while (!finished) {
      const child = run(file);
      const first = await Promise.race([
        child.ended,
        sleep(0.4 + kills * 0.1).then(() => undefined),
      ]);
      if (first === undefined) {
        child.process.kill('SIGKILL');
        kills += 1;
      }
      const code = await child.ended;
      // If it was killed after its last step, the next run says that the file was moved.
      const wasMoved = code === 1 && child.lines.some((line) => line.includes('was moved before'));
      finished = code === 0 || wasMoved;
      expect(finished || code === 'SIGKILL' ? [] : child.lines).toEqual([]);
      if (code === 0)
        expect(child.lines.join('\n')).toContain(
          `Moved ${waiting + always} pending tasks, 3 schedules`,
        );
      // A worker runs what is there already, and its history is deleted.
      if (kills === 3) await after.start();
    }
    expect(kills).toBeGreaterThan(2);
    await after.start();
    const left = async () => (await after.aggregate('statsSnapshot')).counts;
    await waitFor(
      async () => (await left()).pending === always - 1 && (await left()).running === 0,
      30,
    );
    expect(new Set(ran).size).toBe(waiting + 1);
    expect(ran).toHaveLength(waiting + 1);
    expect(await after.get(open)).toMatchObject({ status: 'success', attempt: 1 });
    expect((await after.store.page('audit')).items).toHaveLength(2);
    const gone = await openDatabase(`${file}.moved`);
    expect(gone.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    expect(gone.get('SELECT count(*) AS n FROM task WHERE status < 2')).toEqual({ n: 0 });
    expect(gone.get('SELECT coalesce(sum(n), 0) AS n FROM task_count WHERE status < 2')).toEqual({
      n: 0,
    });
    expect(gone.all('SELECT key, value, n FROM tag_count')).toEqual([
      { key: 'tenant', value: '7', n: 1 },
    ]);
    gone.close();
  });

  it.each([[['--help']], [['-h']], [['move', '--help']], [['hash', '--help']]])(
    'prints its usage for the arguments %j',
    async (args) => {
      const child = startProcess(process.execPath, ['dist/cli.js', ...args], { REDIS_URL: '' });
      expect(await child.ended).toBe(0);
      expect(child.lines.join('\n')).toContain('npx koa-taskflow move --from');
    },
  );

  it('says which argument is wrong, and never shows a password', async () => {
    const file = newFile();
    const wrong = [
      [['--from', file], /--to/],
      [['--to', 'redis://127.0.0.1:1'], /--from/],
      [['--from', file, '--to', 'http://:unspeakable@x'], /redis:\/\/ or rediss/],
      [['--from', file, '--to', 'redis://:unspeakable@127.0.0.1:1'], /ECONNREFUSED|did not answer/],
      [['--from', file, '--to', 'redis://127.0.0.1:1', '--concurrency', 'report'], /report=1/],
      [['--from', file, '--to', 'redis://127.0.0.1:1', '--prefix', 'a:b'], /--prefix/],
      [['--form', file], /--form/],
    ] as const;
    await Promise.all(
      wrong.map(async ([args, message]) => {
        const child = startProcess(process.execPath, ['dist/cli.js', 'move', ...args], {
          REDIS_URL: '',
        });
        expect(await child.ended).toBe(1);
        expect(child.lines.join('\n')).toMatch(message);
        expect(child.lines.join('\n')).not.toMatch(/unspeakable/);
      }),
    );
  });
});
