import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import { type BackgroundTasks, backgroundTasks } from '../../src/web/background-tasks.js';
import { ask } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';

describe('backgroundTasks', () => {
  const tasks = new TaskManager({ database: ':memory:', logger: false });
  const send = tasks.define<[address: string]>('send');
  let served: Served;
  let kept: BackgroundTasks | undefined;
  let handler: (ctx: Koa.Context & { backgroundTasks: BackgroundTasks }) => unknown;
  let countBefore: number;
  const stored = async (): Promise<number> => (await tasks.find({ limit: 1 })).total - countBefore;

  beforeEach(async () => {
    const app = new Koa<Koa.DefaultState, { backgroundTasks: BackgroundTasks }>();
    app.silent = true;
    app.use(backgroundTasks(tasks));
    app.use((ctx) => {
      kept = ctx.backgroundTasks;
      return handler(ctx) as Promise<unknown>;
    });
    served = await serve(app as unknown as Koa);
    countBefore = (await tasks.find({ limit: 1 })).total;
  });
  afterEach(() => served.close());

  it('returns the id immediately, and stores the tasks before the response', async () => {
    let id = '';
    handler = async (ctx) => {
      id = ctx.backgroundTasks.add(send, 'a@x.org');
      ctx.backgroundTasks.add(send.with({ priority: 9 }), 'b@x.org');
      expect(await stored()).toBe(0);
      ctx.body = 'ok';
    };
    expect((await ask(served.url)).status).toBe(200);
    expect(await stored()).toBe(2);
    expect(await tasks.get(id)).toMatchObject({ args: ['a@x.org'] });
  });

  it('stores nothing if a handler throws', async () => {
    handler = (ctx) => {
      ctx.backgroundTasks.add(send, 'a@x.org');
      throw new Error('no');
    };
    expect((await ask(served.url)).status).toBe(500);
    expect(await stored()).toBe(0);
  });

  it('stores nothing if the response is an error, but all if there is none', async () => {
    handler = (ctx) => {
      ctx.backgroundTasks.add(send, 'a@x.org');
      ctx.status = 422;
      ctx.body = 'no';
    };
    await ask(served.url);
    expect(await stored()).toBe(0);
    handler = (ctx) => void ctx.backgroundTasks.add(send, 'a@x.org');
    await ask(served.url);
    expect(await stored()).toBe(1);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a function', () => {}],
    ['a task name', 'send'],
  ])('rejects %s and stores nothing', async (_name, task) => {
    let thrown: unknown;
    handler = (ctx) => {
      try {
        ctx.backgroundTasks.add(task as never);
      } catch (error) {
        thrown = error;
        throw error;
      }
    };
    expect((await ask(served.url)).status).toBe(500);
    expect(thrown).toMatchObject({ name: 'TypeError', code: 'INVALID_INPUT' });
    expect(await stored()).toBe(0);
  });

  it('answers 500 if the tasks cannot be stored', async () => {
    const broken = new Koa();
    broken.use(
      backgroundTasks({
        enqueue: async () => {
          throw new Error('disk');
        },
      }),
    );
    broken.use((ctx) => {
      (ctx as unknown as { backgroundTasks: BackgroundTasks }).backgroundTasks.add(send, 'a@x.org');
      ctx.body = 'promised';
    });
    const server = await serve(broken);
    const answer = await ask(server.url);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('promised');
    await server.close();
  });

  it('rejects invalid arguments, and any task after the response', async () => {
    handler = (ctx) => {
      expect(() => ctx.backgroundTasks.add(send, new Date() as never)).toThrow('args[0] is a Date');
      ctx.body = 'ok';
    };
    expect((await ask(served.url)).status).toBe(200);
    expect(() => kept?.add(send, 'late')).toThrow(/after the request had been answered/);
  });

  it('rejects a single task in place of the manager', () => {
    const misuse = send as unknown as Parameters<typeof backgroundTasks>[0];
    expect(() => backgroundTasks(misuse)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' }),
    );
  });
});
