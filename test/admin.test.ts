import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import Router from '@koa/router';
import Koa, { type Middleware } from 'koa';
import mount from 'koa-mount';
import { type TaskAdminOptions, taskAdmin } from '../src/admin.js';
import { createAuth } from '../src/auth/create-auth.js';
import { loginRoutes } from '../src/auth/login-routes.js';
import { requireAuth } from '../src/auth/require-auth.js';
import { sessionToken } from '../src/auth/session-token.js';
import { TaskManager } from '../src/manager.js';
import { dashboardRoutes } from '../src/web/dashboard-routes.js';
import { sseStream } from '../src/web/sse-stream.js';
import { taskEvents } from '../src/web/task-events.js';
import { taskRoutes } from '../src/web/task-routes.js';
import { type Answer, ask, logIn, postForm } from './helpers/client.js';
import { cheapHash, password, secretKey } from './helpers/passwords.js';
import { type Served, serve } from './helpers/serve.js';
import { openStream } from './helpers/stream.js';
import { waitFor } from './helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
const noop = tasks.task('noop', () => {});
const user: [string, string] = ['admin', cheapHash(password)];
let taskId: string;
const open: Served[] = [];
const start = async (app: Koa): Promise<string> => {
  const served = await serve(app);
  open.push(served);
  return served.url;
};
const appOf = (...middlewares: Middleware[]): Koa => {
  const app = new Koa();
  for (const middleware of middlewares) app.use(middleware);
  return app;
};

beforeAll(async () => {
  await tasks.start();
  taskId = await noop.enqueue();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((served) => served.close()));
});
afterAll(() => tasks.stop());

/** Sends requests to all routes under a prefix, with and without a session. */
async function walk(base: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  const shape = ({ status, headers, json }: Answer): unknown => [
    status,
    headers.get('Location'),
    headers.get('Content-Type'),
    headers.get('Content-Security-Policy'),
    headers.get('Cache-Control'),
    headers.get('Referrer-Policy'),
    headers.get('Allow'),
    (json as { code?: string } | undefined)?.code,
  ];
  const session = await logIn(base);
  const paths = [
    '',
    '/',
    '/dashboard',
    '/dashboard?task=1',
    '/metrics',
    '/health',
    `/${taskId}`,
    '/auth/session',
    '/auth/nothing',
    '/auth/login',
    '/dashboard/assets/none.js',
    '/nothing/here',
  ];
  for (const [who, headers] of [
    ['anonymous', {}],
    ['admin', session],
  ] as const) {
    for (const path of paths) {
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']) {
        if (path === '/auth/login' && method === 'POST') continue;
        seen[`${who} ${method} ${path}`] = shape(await ask(base + path, { method, headers }));
      }
    }
    seen[`${who} stream POST`] = shape(
      await ask(`${base}/dashboard/stream`, { method: 'POST', headers }),
    );
    seen[`${who} retry`] = shape(await ask(`${base}/${taskId}/retry`, { method: 'POST', headers }));
  }
  seen['anonymous stream'] = shape(await ask(`${base}/dashboard/stream`));
  const stream = await openStream(`${base}/dashboard/stream`, { Cookie: session.cookie });
  await waitFor(() => stream.events.length > 0);
  seen['admin stream'] = [
    stream.status,
    stream.headers.get('Content-Type'),
    stream.events[0]?.event,
  ];
  stream.close();
  return seen;
}

describe('taskAdmin', () => {
  it('behaves like a manual setup of its parts', async () => {
    const options = { title: 'Shop', logger: false } as const;
    const one = await start(appOf(taskAdmin(tasks, { ...options, auth: user, secretKey })));

    const auth = createAuth({
      strategies: user,
      secretKey,
      home: '/tasks/dashboard',
      store: tasks.store,
      ...options,
    });
    const router = new Router();
    router.get(
      '/tasks/dashboard/stream',
      requireAuth('401'),
      sseStream(taskEvents(tasks), { access: auth }),
    );
    const byHand = await start(
      appOf(
        sessionToken(auth),
        loginRoutes(auth),
        dashboardRoutes(tasks, { path: '/tasks', access: auth, ...options }),
        router.routes() as unknown as Middleware,
        taskRoutes(tasks, { path: '/tasks', access: auth, displayFuncArgs: false, logger: false }),
      ),
    );
    expect(await walk(`${one}/tasks`)).toEqual(await walk(`${byHand}/tasks`));
  });

  it('protects every path and rejects a copied cookie after the logout', async () => {
    const url = await start(appOf(taskAdmin(tasks, { auth: user, secretKey, logger: false })));
    const base = `${url}/tasks`;
    expect((await ask(`${base}/dashboard`)).headers.get('Location')).toBe(
      '/tasks/auth/login?next=%2Ftasks%2Fdashboard',
    );
    const paths = ['', '/metrics', `/${taskId}`, '/dashboard/stream'];
    const session = await logIn(base);
    for (const path of paths) {
      const { status, headers } = await ask(base + path);
      expect([path, status, headers.get('Content-Type')]).toEqual([
        path,
        401,
        'application/problem+json',
      ]);
    }
    const stream = await openStream(`${base}/dashboard/stream`, { Cookie: session.cookie });
    await waitFor(() => stream.events.length > 0);
    await ask(`${base}/auth/logout`, { headers: session });
    await stream.ended;
    expect(stream.events.at(-1)?.event).toBe('session');
    for (const path of paths)
      expect([path, (await ask(base + path, { headers: session })).status]).toEqual([path, 401]);
  });

  it.each<[string, TaskAdminOptions['path'], string | undefined, string]>([
    ['at another path', '/admin/jobs', undefined, '/admin/jobs'],
    ['under koa-mount', '/tasks', '/shop', '/shop/tasks'],
    ['at the root', '/', undefined, ''],
    ['at the root of a mount', '/', '/jobs', '/jobs'],
  ])('works %s', async (_case, path, mounted, prefix) => {
    const admin = taskAdmin(tasks, { path, auth: user, secretKey, logger: false });
    const url = await start(appOf(mounted ? mount(mounted, admin) : admin));
    const base = url + prefix;
    expect((await ask(`${base}/dashboard?x=1`)).headers.get('Location')).toBe(
      `${prefix}/auth/login?next=${encodeURIComponent(`${prefix}/dashboard?x=1`)}`,
    );
    const login = await ask(`${base}/auth/login`);
    expect(login.text).toContain(`action="${prefix}/auth/login"`);
    const answer = await postForm(`${base}/auth/login`, { username: 'admin', password });
    expect(answer.headers.get('Location')).toBe(`${prefix}/dashboard`);
    const headers = { cookie: answer.cookie ?? '' };
    const page = await ask(`${base}/dashboard`, { headers });
    const script = /<script type="module" src="([^"]+)"/.exec(page.text)?.[1] ?? '';
    expect((await ask(url + script)).status).toBe(200);
    expect((await ask(base || `${url}/`, { headers })).json).toMatchObject({
      total: expect.any(Number),
    });
    expect((await ask(`${base}/auth/logout`, { headers })).headers.get('Location')).toBe(
      `${prefix}/auth/login`,
    );
  });

  it('uses the prefix of a proxy only if the app trusts the proxy', async () => {
    const trusting = new Koa({ proxy: true });
    trusting.use(taskAdmin(tasks, { auth: user, secretKey, logger: false }));
    const headers = { 'X-Forwarded-Prefix': '/ops' };
    expect(
      (await ask(`${await start(trusting)}/tasks/dashboard`, { headers })).headers.get('Location'),
    ).toBe('/ops/tasks/auth/login?next=%2Fops%2Ftasks%2Fdashboard');
    const other = await start(appOf(taskAdmin(tasks, { auth: user, secretKey, logger: false })));
    expect((await ask(`${other}/tasks/dashboard`, { headers })).headers.get('Location')).toBe(
      '/tasks/auth/login?next=%2Ftasks%2Fdashboard',
    );
  });

  it('changes nothing outside its path', async () => {
    const url = await start(
      appOf(taskAdmin(tasks, { auth: user, secretKey, logger: false }), (ctx) => {
        ctx.body = { state: Object.keys(ctx.state), headers: Object.keys(ctx.response.headers) };
      }),
    );
    expect((await ask(`${url}/elsewhere`)).json).toEqual({ state: [], headers: [] });
  });

  it('accepts a login of createAuth and a login of the app', async () => {
    const auth = createAuth({ strategies: user, secretKey, home: '/home', logger: false });
    const url = await start(appOf(taskAdmin(tasks, { auth, logger: false })));
    expect(
      (await postForm(`${url}/tasks/auth/login`, { username: 'admin', password })).headers.get(
        'Location',
      ),
    ).toBe('/home');

    const own = await start(
      appOf(
        taskAdmin(tasks, {
          auth: {
            who: (ctx) =>
              ctx.get('X-User') ? { name: ctx.get('X-User'), roles: ['viewer'] } : undefined,
            loginUrl: () => '/sign-in',
          },
          logger: false,
        }),
      ),
    );
    expect((await ask(`${own}/tasks/dashboard`)).headers.get('Location')).toBe('/sign-in');
    const headers = { 'X-User': 'ada' };
    expect((await ask(`${own}/tasks`, { headers })).status).toBe(200);
    expect((await ask(`${own}/tasks/${taskId}/retry`, { method: 'POST', headers })).status).toBe(
      403,
    );
    expect((await ask(`${own}/tasks/auth/login`, { headers })).status).toBe(404);
    expect((await ask(`${own}/tasks/auth/login`)).status).toBe(401);
    const page = await ask(`${own}/tasks/dashboard`, { headers });
    expect(page.text).toContain('"mayAct":false');
    expect(page.text).toContain('"logoutUrl":null');
  });

  it('escapes hostile text in the page', async () => {
    const title = '</script><img src=x onerror=alert(1)>\u2028';
    const url = await start(appOf(taskAdmin(tasks, { title, logger: false })));
    const { text } = await ask(`${url}/tasks/dashboard`);
    expect(text).not.toContain('<img');
    const facts =
      /<script type="application\/json" id="facts">([^<]*)<\/script>/.exec(text)?.[1] ?? '';
    expect(JSON.parse(facts)).toMatchObject({
      title,
      user: null,
      logoutUrl: null,
      mayAct: true,
      can: [...tasks.can],
    });
  });

  it.each<[string, object, RegExp]>([
    ['an unknown option', { titel: 'x' }, /no option "titel"/],
    ['an empty user list', { auth: [] }, /empty list/],
    ['an invalid auth', { auth: {} }, /^auth /],
    ['a secretKey without auth', { secretKey }, /^secretKey .*auth/],
    [
      'a secretKey beside a ready login',
      { auth: { who: () => undefined }, secretKey },
      /^secretKey .*createAuth/,
    ],
    [
      'a path other than that of the login',
      { path: '/x', auth: createAuth({ strategies: user, secretKey, logger: false }) },
      /must be the same/,
    ],
    ['a host with a port', { allowedHosts: ['a.example:80'] }, /allowedHosts/],
  ])('rejects %s', (_case, options, message) => {
    expect(() => taskAdmin(tasks, { logger: false, ...options } as TaskAdminOptions)).toThrow(
      message,
    );
  });
});

describe('taskAdmin without auth', () => {
  let url: string;
  it('allows all requests except cross-site changes, and has no login routes', async () => {
    url = await start(appOf(taskAdmin(tasks, { logger: false, auth: null })));
    expect((await ask(`${url}/tasks`)).status).toBe(200);
    expect((await ask(`${url}/tasks/dashboard`)).status).toBe(200);
    expect((await ask(`${url}/tasks/auth/login`)).status).toBe(404);
    for (const headers of [
      { 'Sec-Fetch-Site': 'cross-site' },
      { Origin: 'https://evil.example', Authorization: 'Bearer x' },
    ] as Record<string, string>[]) {
      expect(
        (await ask(`${url}/tasks/${taskId}/retry`, { method: 'POST', headers })).json,
      ).toMatchObject({ code: 'CROSS_ORIGIN' });
    }
  });
});
