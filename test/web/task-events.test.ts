import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import { taskLog } from '../../src/tasks/context.js';
import type { TaskSummary } from '../../src/tasks/types.js';
import type { StreamEvent } from '../../src/web/event.js';
import { sseStream } from '../../src/web/sse-stream.js';
import { taskEvents } from '../../src/web/task-events.js';
import { ask } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Served, serve } from '../helpers/serve.js';
import { openStream } from '../helpers/stream.js';
import { gate, sleep, waitFor } from '../helpers/wait.js';

interface TasksData {
  upserts: TaskSummary[];
  removed: string[];
  dropped: number;
}

const taskId = (n: number): string =>
  `01890000-0000-7000-8000-0000000000${String(n).padStart(2, '0')}`;

describe('the live events of tasks', () => {
  const folder = temporaryFolder();
  let tasks: TaskManager;
  let served: Served;
  const listen = async (): Promise<void> => {
    const app = new Koa();
    app.use(sseStream(taskEvents(tasks)));
    served = await serve(app);
  };
  beforeEach(async () => {
    tasks = new TaskManager({ database: folder.file(`${Math.random()}.db`), logger: false });
    await listen();
  });
  afterEach(async () => {
    await Promise.all([served.close(), tasks.stop({ timeout: 0.1 })]);
  });

  it('start with hello, and carry the revision of each later change', async () => {
    const add = tasks.task('add', (a: number) => a);
    await tasks.start();
    const stream = await openStream(served.url);
    await waitFor(() => stream.of('metrics').length > 0);
    expect(stream.events[0]).toMatchObject({
      event: 'hello',
      id: String((await tasks.describe()).rev),
    });
    expect(stream.of('hello')[0]).toEqual({
      serverTime: expect.stringMatching(/Z$/),
      version: expect.stringMatching(/^\d/),
      resumed: false,
    });
    const id = await add.enqueue(1);
    await waitFor(() =>
      stream
        .of<TasksData>('tasks')
        .some(({ upserts }) => upserts.some((task) => task.id === id && task.status === 'success')),
    );
    expect(stream.events.at(-1)?.id).toBe(String((await tasks.describe()).rev));
    await waitFor(
      () => stream.of<{ counts: { success: number } }>('metrics').at(-1)?.counts.success === 1,
    );
    stream.close();
  });

  it('contain no arguments', async () => {
    const note = tasks.define<[text: string]>('note');
    const stream = await openStream(served.url);
    await waitFor(() => stream.events.length > 0);
    await note.enqueue('Canary-Argument');
    await waitFor(() => stream.of('tasks').length > 0);
    expect(JSON.stringify(stream.events)).not.toContain('Canary');
    stream.close();
  });

  it('resume where a client stopped, with the newest row of each task', async () => {
    const add = tasks.task('add', (a: number) => a);
    await tasks.start();
    const first = await openStream(served.url);
    const { id: lastEventId = '' } = await waitFor(() => first.events[0]);
    first.close();
    const ids = [await add.enqueue(1), await add.enqueue(2)];
    await waitFor(async () => (await tasks.find({ limit: 1, status: ['success'] })).total === 2);
    const second = await openStream(served.url, { 'Last-Event-ID': lastEventId });
    await waitFor(() => second.of('tasks').length > 0);
    expect(second.events[0]?.id).toBe(lastEventId);
    expect(second.of('hello')[0]).toMatchObject({ resumed: true });
    expect(second.of<TasksData>('tasks')[0]?.upserts.map(({ id, status }) => [id, status])).toEqual(
      ids.map((id) => [id, 'success']),
    );
    second.close();
  });

  it('resume in another process on the same file, and after a restart', async () => {
    const path = folder.file('shared.db');
    const one = new TaskManager({ database: path, logger: false });
    const { rev } = await one.describe();
    await one.define('noop').enqueue();
    await one.stop();
    await served.close();
    await tasks.stop();
    tasks = new TaskManager({ database: path, logger: false });
    await listen();
    const stream = await openStream(served.url, { 'Last-Event-ID': String(rev) });
    await waitFor(() => stream.of('tasks').length > 0);
    expect(stream.of('hello')[0]).toMatchObject({ resumed: true });
    stream.close();
  });

  it.each(['1', '9007199254740991', 'abc', '-1', ''])(
    'start over after the id %j, which this database never issued',
    async (id) => {
      await tasks.define('noop').enqueue();
      const stream = await openStream(served.url, id ? { 'Last-Event-ID': id } : {});
      await waitFor(() => stream.events.length > 0);
      expect(stream.of('hello')[0]).toMatchObject({ resumed: false });
      stream.close();
    },
  );

  it('are sent at most ten times a second, whatever the load', async () => {
    const add = tasks.task('add', (a: number) => a);
    await tasks.start();
    const stream = await openStream(served.url);
    await waitFor(() => stream.events.length > 1);
    const end = Date.now() + 1000;
    let enqueued = 0;
    while (Date.now() < end) {
      await add.enqueue(enqueued++);
    }
    await sleep(0.2);
    expect(stream.of('tasks').length).toBeLessThanOrEqual(13);
    expect(stream.of('tasks').length).toBeGreaterThan(3);
    expect(stream.of('metrics').length).toBeLessThanOrEqual(4);
    stream.close();
  });

  it('give a slow client all missed changes in one event', async () => {
    const noop = tasks.define('noop');
    const controller = new AbortController();
    const events = taskEvents(tasks)({
      lastEventId: undefined,
      query: new URLSearchParams('topics=tasks'),
      signal: controller.signal,
    })[Symbol.asyncIterator]();
    const next = async (): Promise<StreamEvent> => (await events.next()).value as StreamEvent;
    expect((await next()).event).toBe('hello');
    // This task is stored after the hello event and before the client reads the next event.
    const first = await noop.enqueue();
    expect((await next()).data).toMatchObject({ upserts: [{ id: first }] });
    const waiting = next();
    const second = await noop.enqueue();
    expect((await waiting).data).toMatchObject({ upserts: [{ id: second }] });
    const missed: string[] = [];
    for (let n = 0; n < 3; n++) {
      missed.push(await noop.enqueue());
      await sleep(0.15);
    }
    expect((await next()).data).toMatchObject({ upserts: missed.map((id) => ({ id })) });
    controller.abort();
    expect((await events.next()).done).toBe(true);
  });

  it('are the same text for all clients that are up to date', async () => {
    const noop = tasks.define('noop');
    const streams = await Promise.all(Array.from({ length: 5 }, () => openStream(served.url)));
    await waitFor(() => streams.every(({ events }) => events.length > 1));
    for (let n = 0; n < 3; n++) {
      await noop.enqueue();
      await sleep(0.15);
    }
    await waitFor(() => streams.every((stream) => stream.of('tasks').length === 3));
    expect(
      new Set(
        streams.map((stream) =>
          JSON.stringify(stream.events.filter(({ event }) => event === 'tasks')),
        ),
      ).size,
    ).toBe(1);
    for (const stream of streams) stream.close();
  });

  it('include new log lines of the requested tasks', async () => {
    const { passed, open } = gate();
    const talk = tasks.task('talk', async () => {
      taskLog('before');
      const timer = setInterval(() => taskLog('tick'), 50);
      await passed;
      clearInterval(timer);
    });
    await tasks.start();
    const id = await talk.enqueue();
    await waitFor(async () => (await tasks.logs(id, {})).length >= 1);
    const stream = await openStream(`${served.url}/?task=${id}&topics=metrics`);
    await waitFor(
      () => stream.of<{ lines: unknown[] }>('log').flatMap(({ lines }) => lines).length >= 3,
    );
    const lines = stream
      .of<{ id: string; lines: { n: number; message: string }[] }>('log')
      .flatMap((event) => event.lines);
    expect(lines.every(({ message }) => message === 'tick')).toBe(true);
    expect(lines.map(({ n }) => n)).toEqual(lines.map((_, index) => (lines[0]?.n ?? 0) + index));
    expect(stream.of('tasks')).toEqual([]);
    open();
    stream.close();
  });

  it('include every line of a log, even for a slow client', async () => {
    const { passed, open } = gate();
    const talk = tasks.task('talk', async () => {
      taskLog('first');
      const timer = setInterval(() => taskLog('tick'), 100);
      await passed;
      clearInterval(timer);
    });
    await tasks.start();
    const id = await talk.enqueue();
    await waitFor(async () => (await tasks.logs(id, {})).length >= 1);
    const controller = new AbortController();
    const query = new URLSearchParams({ topics: 'metrics', task: id });
    const events = taskEvents(tasks)({ lastEventId: undefined, query, signal: controller.signal })[
      Symbol.asyncIterator
    ]();
    const seen: number[] = [];
    for (let taken = 0; taken < 6; ) {
      const { event, data } = (await events.next()).value as StreamEvent;
      if (event !== 'log') continue;
      seen.push(...(data as { lines: { n: number }[] }).lines.map(({ n }) => n));
      taken += 1;
      // This is slower than the polls for log lines, so the client misses shared events.
      await sleep(0.6);
    }
    expect(seen).toEqual(seen.map((_, index) => (seen[0] ?? 0) + index));
    open();
    controller.abort();
    await events.next();
  });

  it('end when the manager stops, so that the server can close', async () => {
    const stream = await openStream(served.url);
    await waitFor(() => stream.events.length > 0);
    await tasks.stop();
    await stream.ended;
  });

  it.each([
    '?topics=all',
    '?task=nothing',
    `?${Array.from({ length: 21 }, (_, n) => `task=${taskId(n)}`).join('&')}`,
  ])('answer %s with 400 before they start', async (query) => {
    expect((await ask(served.url + query)).json).toMatchObject({
      status: 400,
      code: 'INVALID_INPUT',
    });
  });

  it('read data for all clients in an empty context', async () => {
    const requests = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const source = new Proxy(tasks, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          if (key === 'aggregate' || key === 'watch')
            seen.push(requests.getStore() ?? 'no request');
          return value.apply(target, args);
        };
      },
    });
    const app = new Koa();
    app.use((_ctx, next) => requests.run('a request', () => next()));
    app.use(sseStream(taskEvents(source)));
    const own = await serve(app);
    const streams = await Promise.all([openStream(own.url), openStream(own.url)]);
    // These are the statistics for the first client, the watch, and the statistics a second later.
    await waitFor(() => seen.length >= 3);
    for (const stream of streams) stream.close();
    await own.close();
    expect(new Set(seen)).toEqual(new Set(['no request']));
  });
});
