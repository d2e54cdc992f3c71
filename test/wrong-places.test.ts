import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import Router from '@koa/router';
import { build, type Format } from 'esbuild';
import Koa, { type Middleware } from 'koa';
import {
  backgroundTasks,
  backgroundTasksOf,
  createAuth,
  dashboardRoutes,
  loginRoutes,
  requireAuth,
  sessionToken,
  sseStream,
  TaskManager,
  taskAdmin,
  taskEvents,
  taskRoutes,
} from '../src/index.js';
import { ask, postJson } from './helpers/client.js';
import { recordingLogger } from './helpers/logs.js';
import { cheapHash, password, secretKey } from './helpers/passwords.js';
import { startProcess } from './helpers/process.js';
import { type Served, serve } from './helpers/serve.js';
import { promptly } from './helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
const log = recordingLogger();
const auth = createAuth({
  strategies: ['admin', cheapHash(password)],
  secretKey,
  logger: log.logger,
});
const open: Served[] = [];
const start = async (app: Koa): Promise<string> => {
  const served = await serve(app);
  open.push(served);
  return served.url;
};
afterEach(async () => {
  await Promise.all(open.splice(0).map((served) => served.close()));
});
afterAll(() => tasks.stop());

const routed: Record<string, Middleware> = {
  taskAdmin: taskAdmin(tasks, { logger: false }),
  dashboardRoutes: dashboardRoutes(tasks, { logger: false }),
  taskRoutes: taskRoutes(tasks, { logger: false }),
  loginRoutes: loginRoutes(auth),
};
const others: Record<string, Middleware> = {
  sessionToken: sessionToken(auth),
  requireAuth: requireAuth('401'),
  sseStream: sseStream(taskEvents(tasks)),
  backgroundTasks: backgroundTasks(tasks),
};

describe('a middleware in an Express or Connect app', () => {
  it.each(Object.entries({ ...routed, ...others }))(
    'throws an error with its name: %s',
    async (name, middleware) => {
      const caught = await new Promise<unknown>((resolve) => {
        const server = createServer((req, res) => {
          try {
            // Express calls a middleware with these arguments.
            (middleware as unknown as (...args: unknown[]) => unknown)(
              Object.assign(req, { path: '/tasks/dashboard' }),
              res,
              () => {},
            );
            resolve(undefined);
          } catch (error) {
            resolve(error);
          }
          res.end();
          server.close();
        });
        server.listen(
          0,
          '127.0.0.1',
          () => void fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
        );
      });
      expect(caught).toBeInstanceOf(TypeError);
      expect((caught as Error).message).toMatch(new RegExp(`^${name}\\(\\).*koaApp\\.callback`));
    },
  );
});

describe('router.use() of @koa/router', () => {
  it.each(Object.entries(routed))('rejects %s, with and without a prefix', (name, middleware) => {
    for (const use of [
      () => new Router().use(middleware),
      () => new Router().use('/prefix', middleware),
    ]) {
      expect(use).toThrow(TypeError);
      expect(use).toThrow(new RegExp(`^${name}\\(\\).*app\\.use`));
    }
  });

  it('accepts middlewares that run before a route', async () => {
    const router = new Router();
    router.use(sessionToken(auth), backgroundTasks(tasks));
    router.get('/secret', requireAuth('401'), (ctx) => {
      ctx.body = 'secret';
    });
    router.all('/tasks{/*rest}', routed.taskAdmin as never);
    const app = new Koa();
    app.use(router.routes() as unknown as Middleware);
    const url = await start(app);
    expect((await ask(`${url}/secret`)).status).toBe(401);
    expect((await ask(`${url}/tasks`)).status).toBe(200);
    expect((await ask(`${url}/tasks/dashboard`)).status).toBe(200);
  });
});

describe('backgroundTasksOf', () => {
  it('names the missing middleware, and otherwise returns ctx.backgroundTasks', async () => {
    const seen: unknown[] = [];
    const app = new Koa();
    app.use(async (ctx, next) => {
      try {
        backgroundTasksOf(ctx);
      } catch (error) {
        seen.push(error);
      }
      await next();
    });
    app.use(backgroundTasks(tasks));
    app.use((ctx) => {
      seen.push(
        backgroundTasksOf(ctx) === (ctx as unknown as { backgroundTasks: unknown }).backgroundTasks,
      );
      ctx.body = '';
    });
    await ask(await start(app));
    expect(seen).toEqual([
      expect.objectContaining({
        message: expect.stringContaining('app.use(backgroundTasks(tasks))'),
      }),
      true,
    ]);
  });
});

describe('a factory that is passed to app.use()', () => {
  it.each<[string, unknown]>([
    ['taskAdmin', taskAdmin],
    ['dashboardRoutes', dashboardRoutes],
    ['taskRoutes', taskRoutes],
    ['backgroundTasks', backgroundTasks],
    ['sessionToken', sessionToken],
    ['loginRoutes', loginRoutes],
  ])('causes an error with the first request: %s', async (_case, factory) => {
    const errors: Error[] = [];
    const app = new Koa();
    app.on('error', (error: Error) => errors.push(error));
    app.use(factory as Middleware);
    expect((await ask(await start(app))).status).toBe(500);
    expect(errors).toEqual([
      expect.objectContaining({
        name: 'TypeError',
        message: expect.stringMatching(/^(tasks|auth) is .*app\.use/),
      }),
    ]);
  });
});

describe('a login behind a body parser', () => {
  const parsers: Record<string, Middleware> = {
    'that sets ctx.request.body': async (ctx, next) => {
      let text = '';
      for await (const chunk of ctx.req) text += String(chunk);
      (ctx.request as { body?: unknown }).body = JSON.parse(text);
      await next();
    },
    'that hides the body': async (ctx, next) => {
      for await (const _chunk of ctx.req);
      await next();
    },
  };

  it.each<[string, number]>([
    ['that sets ctx.request.body', 200],
    ['that hides the body', 500],
  ])('%s answers %d at once', async (name, status) => {
    const app = new Koa();
    app.use(parsers[name] as Middleware);
    app.use(loginRoutes(auth));
    const before = log.lines.length;
    const url = await start(app);
    const started = performance.now();
    expect(
      (await postJson(`${url}/tasks/auth/login`, { username: 'admin', password })).status,
    ).toBe(status);
    expect(performance.now() - started).toBeLessThan(promptly * 1000);
    const faults = log.lines.slice(before).filter(({ level }) => level === 50);
    expect(faults).toHaveLength(status === 500 ? 1 : 0);
    if (status === 500) expect(JSON.stringify(faults)).toContain('ctx.request.body');
  });
});

describe('the package', () => {
  it.each<[Format]>([['esm'], ['cjs']])(
    'throws an error at the import if it is bundled with the app (%s)',
    async (format) => {
      const folder = mkdtempSync(join(process.cwd(), 'node_modules/.bundle-'));
      // The bundle finds the package.json of the app in place of its own.
      writeFileSync(join(folder, 'package.json'), '{ "version": "1.0.0" }');
      try {
        const contents =
          "import { TaskManager } from './dist/index.js'; new TaskManager({ database: " +
          "':memory:' });";
        const outfile = join(folder, format === 'esm' ? 'dist/app.mjs' : 'dist/app.cjs');
        const banner =
          format === 'esm'
            ? "import { createRequire as of } from 'node:module'; const require = " +
              'of(import.meta.url);'
            : '';
        await build({
          stdin: { contents, resolveDir: process.cwd() },
          ...{
            bundle: true,
            platform: 'node',
            format,
            outfile,
            banner: { js: banner },
            logLevel: 'silent',
          },
        });
        const child = startProcess(process.execPath, [outfile]);
        expect(await child.ended).toBe(1);
        expect(child.lines.join('\n')).toMatch(/Error: koa-taskflow .* external/);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it('has the same classes for require() and import()', async () => {
    const program =
      "const { TaskManager } = require('koa-taskflow'); import('koa-taskflow').then((all) => " +
      'console.log(all.TaskManager === TaskManager))';
    const child = startProcess(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '-e',
      program,
    ]);
    expect([await child.ended, child.lines]).toEqual([0, ['true']]);
  });
});
