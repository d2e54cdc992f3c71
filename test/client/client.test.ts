import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import Koa from 'koa';
import { taskAdmin } from '../../src/admin.js';
import {
  type Change,
  createClient,
  ProblemError,
  type TaskClient,
} from '../../src/client/client.js';
import { TaskManager } from '../../src/manager.js';
import { taskLog } from '../../src/tasks/context.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { postJson } from '../helpers/client.js';
import { type Cutter, cuttable } from '../helpers/cutter.js';
import { password } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

const problem = (code: string, status: number) =>
  expect.objectContaining({ name: 'ProblemError', code, status });

describe('the client', () => {
  let app: AdminApp;
  let client: TaskClient;
  const token = async (): Promise<string> =>
    (
      (await postJson(`${app.base}/auth/login`, { username: 'admin', password })).json as {
        token: string;
      }
    ).token;

  beforeAll(async () => {
    app = await serveAdmin({ displayFuncArgs: true });
    client = createClient(app.base, { token: await token() });
    const add = app.tasks.task('add', (a: number, b: number) => a + b, { tags: { kind: 'sum' } });
    app.tasks.schedule('hourly', add, { every: 3600, args: [1, 2] });
    await add.enqueueMany([
      [1, 2],
      [3, 4],
    ]);
    await waitFor(
      async () => (await app.tasks.find({ limit: 1, status: ['success', 'failed'] })).total === 3,
    );
  });
  afterAll(() => app.close());

  it('requests lists, details and statistics, with every filter', async () => {
    const { items, total } = await client.list({
      status: ['success', 'failed'],
      tag: ['kind:sum'],
      sort: 'createdAt',
      limit: 1,
    });
    expect([items.length, total]).toEqual([1, 2]);
    const task = await client.get(items[0]?.id ?? '');
    expect(task).toMatchObject({ name: 'add', args: [1, 2], result: 3 });
    expect((await client.logs(task.id, { level: 'warn', limit: 5 })).items).toEqual([]);
    expect((await client.metrics({ from: '-1h', step: 60 })).counts.success).toBe(2);
    expect((await client.failures({ limit: 5 })).items).toMatchObject([
      { name: 'failing', count: 1 },
    ]);
    expect((await client.functions()).items.map(({ name }) => name)).toEqual(['add', 'failing']);
    expect((await client.queues()).items).toMatchObject([{ name: 'default', paused: false }]);
    expect((await client.schedules()).items).toMatchObject([{ name: 'hourly' }]);
    expect((await client.workers()).items).toMatchObject([{ pid: process.pid }]);
    expect((await client.audit({ action: 'login' })).items.length).toBeGreaterThan(0);
  });

  it('yields all tasks of a list, page by page', async () => {
    const names: string[] = [];
    for await (const { name } of client.each({ limit: 1, sort: 'createdAt' })) names.push(name);
    expect(names).toEqual(['failing', 'add', 'add']);
  });

  it('sends commands for tasks, queues and schedules', async () => {
    const [failed] = (await client.list({ status: ['failed'] })).items;
    const id = failed?.id ?? '';
    expect(await client.retry(id, { reason: 'again' })).toMatchObject({ id, status: 'pending' });
    await waitFor(async () => (await client.get(id)).status === 'failed');
    const copy = await client.rerun(id, { args: ['other'] });
    await waitFor(async () => (await client.get(copy.id)).status === 'failed');
    expect(await client.get(copy.id)).toMatchObject({ rerunOf: id, args: ['other'] });
    expect(await client.pauseQueue('default')).toEqual({ queue: 'default', paused: true });
    const waiting = await client.runSchedule('hourly');
    expect(await client.cancel(waiting.id)).toMatchObject({ status: 'cancelled' });
    expect(await client.resumeQueue('default')).toEqual({ queue: 'default', paused: false });
    expect(await client.pauseSchedule('hourly')).toEqual({ schedule: 'hourly', paused: true });
    expect(await client.resumeSchedule('hourly')).toEqual({ schedule: 'hourly', paused: false });
    await expect(client.removeSchedule('hourly')).rejects.toMatchObject({
      status: 409,
      code: 'SCHEDULE_DEFINED',
    });
    expect(
      await client.bulk({ action: 'retry', filter: { status: ['failed'] }, dryRun: true }),
    ).toMatchObject({ count: 2, dryRun: true });
    expect(await client.bulkRetry({ ids: [id, waiting.id] })).toMatchObject({ dispatched: 2 });
    await waitFor(async () => (await client.list({ status: ['pending', 'running'] })).total === 0);
    expect(await client.retryFailed({ since: '-1h' })).toMatchObject({ dispatched: 2 });
    await waitFor(async () => (await client.list({ status: ['pending', 'running'] })).total === 0);
    expect((await client.deleteHistory('-1h')).deleted).toBe(0);
  });

  it('rejects with the error of the server, or with NETWORK without a server', async () => {
    await expect(client.get('nothing')).rejects.toThrow(problem('TASK_NOT_FOUND', 404));
    await expect(client.list({ limit: 0 })).rejects.toThrow(problem('INVALID_INPUT', 400));
    await expect(createClient(app.base).list()).rejects.toThrow(problem('UNAUTHENTICATED', 401));
    const nowhere = createClient('http://127.0.0.1:9/tasks');
    await expect(nowhere.list()).rejects.toThrow(problem('NETWORK', 0));
    // The server may have carried out the command although its answer was lost.
    const calls = [nowhere.list(), nowhere.cancel('some-task'), nowhere.deleteHistory('-1h')];
    const failed = await Promise.all(
      calls.map((call: Promise<unknown>) => call.catch((error: unknown) => error)),
    );
    expect(failed).toMatchObject([{ maybeDone: false }, { maybeDone: true }, { maybeDone: true }]);
    const aborted = AbortSignal.abort(new Error('never mind'));
    await expect(client.list({}, aborted)).rejects.toThrow('never mind');
  });

  it.each([true, undefined])(
    'rejects with `maybeDone` if the server sends it: %s',
    async (maybeDone) => {
      const failing = new Koa();
      failing.use((ctx) => {
        ctx.status = 503;
        ctx.body = { code: 'ENGINE_UNAVAILABLE', ...(maybeDone && { maybeDone }) };
      });
      const { url, close } = await serve(failing);
      const error = await createClient(`${url}/tasks`)
        .cancel('some-task')
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: 'ENGINE_UNAVAILABLE',
        status: 503,
        maybeDone: maybeDone === true,
      });
      await close();
    },
  );

  it('calls the token function for each request', async () => {
    let asked = 0;
    const fresh = createClient(app.base, {
      token: async () => {
        asked += 1;
        return token();
      },
    });
    await fresh.list();
    await fresh.metrics();
    expect(asked).toBe(2);
  });

  it('ends its changes with an error when the session ends', async () => {
    const short = createClient(app.base, { token: await token() });
    const changes: Change[] = [];
    const following = (async () => {
      for await (const change of short.changes()) changes.push(change);
    })();
    following.catch(() => {});
    await waitFor(() => changes.length > 0);
    await app.tasks.store.get('x');
    const { Authorization } = { Authorization: `Bearer ${await token()}` };
    await fetch(`${app.base}/auth/sessions`, { method: 'DELETE', headers: { Authorization } });
    await expect(following).rejects.toThrow(problem('UNAUTHENTICATED', 401));
    expect(changes.at(-1)?.type).not.toBe('lost');
    await expect(short.changes().next()).rejects.toThrow(ProblemError);
    client = createClient(app.base, { token: await token() });
  });

  it('is smaller than 4 KiB when compressed', async () => {
    const { outputFiles } = await build({
      entryPoints: ['src/client/client.ts'],
      bundle: true,
      minify: true,
      write: false,
      format: 'esm',
      target: 'es2022',
    });
    expect(gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length).toBeLessThan(4096);
  });
});

describe('the changes of a client', () => {
  let tasks: TaskManager;
  let served: Served;
  let cutter: Cutter;
  let client: TaskClient;
  const waits: number[] = [];
  const wait = async (seconds: number): Promise<void> => {
    waits.push(seconds);
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  let controller: AbortController;
  let changes: Change[];
  const follow = async (options: Parameters<TaskClient['changes']>[0] = {}): Promise<void> => {
    for await (const change of client.changes({ wait, signal: controller.signal, ...options }))
      changes.push(change);
  };
  const of = <T extends Change['type']>(type: T) =>
    changes.filter((change): change is Extract<Change, { type: T }> => change.type === type);

  beforeEach(async () => {
    waits.length = 0;
    changes = [];
    controller = new AbortController();
    tasks = new TaskManager({ database: ':memory:', logger: false });
    await tasks.start();
    const app = new Koa();
    app.silent = true;
    app.use(taskAdmin(tasks, { logger: false }));
    served = await serve(app);
    cutter = await cuttable(Number(new URL(served.url).port));
    client = createClient(`http://127.0.0.1:${cutter.port}/tasks`);
  });
  afterEach(async () => {
    controller.abort();
    await Promise.all([cutter.close(), served.close(), tasks.stop()]);
  });

  it('resume after a disconnect, with no change missed or repeated', async () => {
    const note = tasks.define<[n: number]>('note');
    const following = follow();
    await waitFor(() => of('hello').length === 1);
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      ids.push(await note.enqueue(n));
      if (n % 10 === 5) cutter.cut();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const got = () => of('tasks').flatMap(({ upserts }) => upserts.map(({ id }) => id));
    await waitFor(() => got().length >= ids.length);
    expect(got()).toEqual(ids);
    expect(of('lost').length).toBeGreaterThanOrEqual(2);
    expect(of('hello').map(({ resumed }) => resumed)).toEqual([
      false,
      ...of('hello')
        .slice(1)
        .map(() => true),
    ]);
    controller.abort();
    await following;
  });

  it('reconnect without a lost connection if the server asks for it', async () => {
    const ends: AbortController[] = [];
    const app = new Koa();
    app.silent = true;
    const auth = {
      who: () => ({ name: 'alice', roles: [] }),
      ended(): AbortSignal {
        const controller = new AbortController();
        ends.push(controller);
        return controller.signal;
      },
    };
    app.use(taskAdmin(tasks, { logger: false, auth }));
    const asking = await serve(app);
    client = createClient(`${asking.url}/tasks`);
    const following = follow();
    await waitFor(() => of('hello').length === 1);
    ends[0]?.abort('reconnect');
    await waitFor(() => of('hello').length === 2);
    expect(of('lost')).toEqual([]);
    expect(waits).toEqual([expect.any(Number)]);
    expect(waits[0]).toBeLessThan(1.3);
    controller.abort();
    await following;
    await asking.close();
  });

  it('wait longer after each failed attempt, up to 30 seconds', async () => {
    const following = follow();
    await waitFor(() => of('hello').length === 1);
    await cutter.close();
    await waitFor(() => waits.length >= 7);
    for (const [n, seconds] of waits.entries()) {
      const base = Math.min(30, 2 ** n);
      expect(seconds).toBeGreaterThanOrEqual(base * 0.75);
      expect(seconds).toBeLessThanOrEqual(base * 1.25);
    }
    expect(of('lost')[0]).toMatchObject({ retryIn: waits[0] });
    controller.abort();
    await following;
  });

  it('end immediately when their signal aborts, also while they wait', async () => {
    await cutter.close();
    const following = follow({ wait: undefined });
    // The third wait lasts at least three seconds.
    await waitFor(() => of('lost').length === 3);
    const started = performance.now();
    controller.abort();
    await following;
    expect(performance.now() - started).toBeLessThan(2900);
  });

  it('contain log lines and metrics only if they are requested', async () => {
    let speak = (): void => {};
    const heard = new Promise<void>((resolve) => {
      speak = resolve;
    });
    const talk = tasks.task('talk', async () => {
      await heard;
      taskLog('hello');
      taskLog('bye');
    });
    const id = await talk.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    const following = follow({ topics: ['tasks'], follow: [id] });
    await waitFor(() => of('hello').length === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    speak();
    await waitFor(() => of('log').flatMap(({ lines }) => lines).length === 2);
    expect(
      of('log').flatMap(({ task, lines }) => lines.map(({ message }) => [task, message])),
    ).toEqual([
      [id, 'hello'],
      [id, 'bye'],
    ]);
    await waitFor(() => of('tasks').some(({ upserts }) => upserts[0]?.status === 'success'));
    expect(of('metrics')).toEqual([]);
    controller.abort();
    await following;
  });

  it('end with an error immediately if another attempt would be rejected', async () => {
    await expect(follow({ follow: ['not an id'] })).rejects.toThrow(problem('INVALID_INPUT', 400));
    expect(waits).toEqual([]);
  });
});
