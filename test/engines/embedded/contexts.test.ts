import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../../src/manager.js';
import { type BackgroundTasksContext, backgroundTasks } from '../../../src/web/background-tasks.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { taskEvents } from '../../../src/web/task-events.js';
import { ask } from '../../helpers/client.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { serve } from '../../helpers/serve.js';
import { openStream } from '../../helpers/stream.js';
import { eventually, sleep, waitFor } from '../../helpers/wait.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());

const collect = (globalThis as { gc?: () => void }).gc;

describe.each([
  ['in memory', () => ':memory:'],
  ['in a file', () => folder.file(`${Math.random()}.db`)],
])('a request and its tasks %s', (_where, newDatabase) => {
  let tasks: TaskManager;
  beforeEach(() => {
    tasks = new TaskManager({ database: newDatabase(), logger: false, concurrency: 3 });
  });
  afterEach(() => tasks.stop({ timeout: 0.1 }));

  it('are separate: a handler has no currentContext of Koa', async () => {
    const app = new Koa({ asyncLocalStorage: true });
    const seen: unknown[] = [];
    const look = tasks.task('look', async (_user: string) => {
      seen.push(app.currentContext?.query.user);
      await sleep(0.005);
      seen.push(app.currentContext?.query.user);
    });
    app.use(backgroundTasks(tasks));
    app.use((ctx) => {
      (ctx as typeof ctx & BackgroundTasksContext).backgroundTasks.add(
        look,
        String(ctx.query.user),
      );
      ctx.body = app.currentContext === ctx;
    });
    await tasks.start();
    const served = await serve(app);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => ask(`${served.url}/?user=${n}`)),
    );
    expect(new Set(answers.map(({ json }) => json))).toEqual(new Set([true]));
    await waitFor(() => seen.length === 40);
    expect(new Set(seen)).toEqual(new Set([undefined]));
    await served.close();
  });

  it('are separate: no later work keeps the request in memory', async () => {
    const requests = new AsyncLocalStorage<object>();
    const noop = tasks.task('noop', () => {});
    const seldom = tasks.task('seldom', () => {});
    const held: WeakRef<object>[] = [];
    const inRequest = <T>(work: () => Promise<T>): Promise<T> => {
      const request = {};
      held.push(new WeakRef(request));
      return requests.run(request, work);
    };
    const app = new Koa();
    app.use((_ctx, next) => inRequest(() => next()));
    app.use(sseStream(taskEvents(tasks)));
    const served = await serve(app);
    await inRequest(() => noop.with({ runIn: 0.05 }).enqueue());
    await inRequest(() => tasks.start());
    await inRequest(() => noop.with({ runIn: 3600 }).enqueue());
    await inRequest(async () => tasks.schedule('yearly', seldom, { every: 86_400 * 365 }));
    await waitFor(async () => (await tasks.describe()).schedules.length === 1);
    for (const action of ['pause', 'resume', 'run'] as const)
      await inRequest(() => tasks.control({ action, schedule: 'yearly' }, { actor: 'test' }));
    const first = await openStream(served.url);
    await waitFor(() => first.of('metrics').length > 0);
    const second = await openStream(served.url);
    first.close();
    await waitFor(() => second.of('metrics').length > 0);
    await waitFor(async () => (await tasks.find({ status: ['success'], limit: 1 })).total === 2);
    // The second stream is still open and in use.
    expect(held).toHaveLength(9);
    const stillThere = (): number[] => held.flatMap((request, n) => (request.deref() ? [n] : []));
    await eventually(async () => {
      collect?.();
      expect(stillThere()).toEqual([8]);
    });
    second.close();
    await served.close();
  });
});
