import { connect, createServer as createHttp2Server } from 'node:http2';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Router from '@koa/router';
import Koa, { type Middleware } from 'koa';
import mount from 'koa-mount';
import type { Auth } from '../../src/auth/auth.js';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { requireAuth } from '../../src/auth/require-auth.js';
import { sessionOf, sessionToken } from '../../src/auth/session-token.js';
import { ask, logIn, postForm, postJson } from '../helpers/client.js';
import { recordingLogger } from '../helpers/logs.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type RawAnswer, requestText, sendRaw } from '../helpers/raw.js';
import { type Served, serve } from '../helpers/serve.js';

/** Headers of a browser that opens a page, over plain HTTP and over HTTPS. */
const opening = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
const navigating = {
  ...opening,
  'Sec-Fetch-Mode': 'navigate',
  'Sec-Fetch-Dest': 'document',
  'Sec-Fetch-Site': 'none',
};

let served: Served;
let unguarded: Served;

/** Sends only the given headers, because `fetch` adds others. */
const get = (path: string, headers: Record<string, string>, method = 'GET'): Promise<RawAnswer> =>
  sendRaw(served.url, requestText(method, path, headers));

beforeAll(async () => {
  const auth = createAuth({
    strategies: [
      ['admin', cheapHash(password)],
      ['vera', cheapHash('three'), { roles: ['viewer', 'audits'] }],
    ],
    secretKey,
    logger: false,
  });
  const router = new Router();
  router.get('/reports', requireAuth('redirect'), (ctx) => {
    ctx.body = sessionOf(ctx).username;
  });
  router.get('/settings', requireAuth('redirect', { role: 'admin' }), (ctx) => {
    ctx.body = 'settings';
  });
  router.get('/api/reports', requireAuth('401'), (ctx) => {
    ctx.body = { by: sessionOf(ctx).username };
  });
  router.post('/api/reports', requireAuth('401', { role: 'operator' }), (ctx) => {
    ctx.body = { by: sessionOf(ctx).username };
  });
  router.get('/audits', requireAuth('401', { role: 'audits' }), (ctx) => {
    ctx.body = 'seen';
  });
  const answers: Record<string, Middleware> = {
    text: (ctx) => {
      ctx.body = 'text';
    },
    stream: (ctx) => {
      ctx.body = new PassThrough().end('streamed');
    },
    redirect: (ctx) => ctx.redirect('/elsewhere'),
    missing: () => {},
    throws: () => {
      throw new Error('of the app');
    },
    refuses: (ctx) => ctx.throw(409, 'of the app'),
    raw: (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Content-Type': 'text/plain' });
      ctx.res.end('raw');
    },
    flushed: (ctx) => {
      ctx.respond = false;
      ctx.res.flushHeaders();
      ctx.res.end('raw');
    },
    // koa-send, which koa-static uses, sets the header in this way.
    file: (ctx) => {
      if (!ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'max-age=0');
      ctx.body = 'file';
    },
    'own-header': (ctx) => {
      ctx.set('Cache-Control', 'private, max-age=60');
      ctx.body = 'mine';
    },
    'own-raw-header': (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Cache-Control': 'private, max-age=60' });
      ctx.res.end('mine');
    },
  };
  router.get('/cached/:name', requireAuth('401'), requireAuth('redirect'), (ctx, next) =>
    answers[ctx.params.name ?? '']?.(ctx as never, next),
  );
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use(router.routes() as unknown as Middleware);
  served = await serve(app);

  const forgotten = new Koa();
  forgotten.silent = true;
  forgotten.use(requireAuth('401'));
  forgotten.use((ctx) => {
    ctx.body = password;
  });
  unguarded = await serve(forgotten);
});
afterAll(() => Promise.all([served.close(), unguarded.close()]));

describe('requireAuth', () => {
  it.each([
    ['over HTTPS', navigating],
    ['on plain HTTP', opening],
  ])(
    "redirects to the login with the requested URL in next, in mode 'redirect', %s",
    async (_case, headers) => {
      const answer = await get('/reports?from=2026', headers);
      expect([answer.status, answer.headers.get('location')]).toEqual([
        302,
        '/tasks/auth/login?next=%2Freports%3Ffrom%3D2026',
      ]);
    },
  );

  it.each<[string, Record<string, string>]>([
    ['fetch', { Accept: '*/*', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }],
    ['fetch of HTML', { Accept: 'text/html', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }],
    [
      'fetch of HTML in a browser that sends only Sec-Fetch-Dest',
      { Accept: 'text/html', 'Sec-Fetch-Dest': 'empty' },
    ],
    ['EventSource on plain HTTP', { Accept: 'text/event-stream' }],
    ['XMLHttpRequest of a library', { Accept: 'text/html', 'X-Requested-With': 'XMLHttpRequest' }],
    ['curl', { Accept: '*/*' }],
    ['a client without Accept', {}],
  ])("answers %s with a JSON 401 in mode 'redirect'", async (_case, headers) => {
    const answer = await get('/reports', headers);
    expect([
      answer.status,
      answer.headers.get('content-type'),
      answer.headers.get('location'),
    ]).toEqual([401, expect.stringContaining('application/problem+json'), undefined]);
  });

  it('lets the login redirect to the requested page', async () => {
    const answer = await postForm(`${served.url}/tasks/auth/login`, {
      username: 'admin',
      password,
      next: '/reports?from=2026',
    });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/reports?from=2026']);
    expect(
      (await ask(`${served.url}/reports`, { headers: { cookie: answer.cookie ?? '' } })).text,
    ).toBe('admin');
  });

  it("answers every anonymous request with a JSON 401 in mode '401'", async () => {
    const answer = await get('/api/reports', navigating);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="koa-taskflow"');
    expect(JSON.parse(answer.body)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });

  it('adds invalid_token to the challenge if the token is not valid', async () => {
    const answer = await ask(`${served.url}/api/reports`, {
      headers: { Authorization: 'Bearer x.y.z' },
    });
    expect(answer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
  });

  it('answers 403 to a session without the role', async () => {
    const viewer = await logIn(`${served.url}/tasks`, 'vera', 'three');
    const answer = await ask(`${served.url}/api/reports`, { method: 'POST', headers: viewer });
    expect([answer.status, (answer.json as { code: string }).code]).toEqual([403, 'FORBIDDEN']);
    expect((await ask(`${served.url}/api/reports`, { headers: viewer })).status).toBe(200);
  });

  it("shows a styled 403 page to browsers in mode 'redirect', and JSON to scripts", async () => {
    const { cookie } = await logIn(`${served.url}/tasks`, 'vera', 'three');
    const page = await get('/settings', { ...navigating, cookie });
    expect([
      page.status,
      page.headers.get('content-type'),
      page.headers.get('cache-control'),
    ]).toEqual([403, expect.stringContaining('text/html'), 'no-store']);
    const style = /<link rel="stylesheet" href="([^"]+)">/.exec(page.body)?.[1] ?? '';
    expect((await ask(served.url + style)).status).toBe(200);
    const script = await get('/settings', {
      cookie,
      'Sec-Fetch-Mode': 'cors',
      'Sec-Fetch-Site': 'same-origin',
    });
    expect([script.status, JSON.parse(script.body)]).toMatchObject([403, { code: 'FORBIDDEN' }]);
  });

  it('requires a custom role exactly', async () => {
    const viewer = await logIn(`${served.url}/tasks`, 'vera', 'three');
    const admin = await logIn(`${served.url}/tasks`);
    expect((await ask(`${served.url}/audits`, { headers: viewer })).status).toBe(200);
    expect((await ask(`${served.url}/audits`, { headers: admin })).status).toBe(403);
  });

  it('rejects cross-site requests with a cookie, even if a proxy adds a Bearer token', async () => {
    const admin = await logIn(`${served.url}/tasks`);
    const from = (site: string, more: Record<string, string> = {}) =>
      ask(`${served.url}/api/reports`, {
        method: 'POST',
        headers: { ...admin, 'Sec-Fetch-Site': site, ...more },
      });
    expect((await from('cross-site')).json).toMatchObject({ status: 403, code: 'CROSS_ORIGIN' });
    expect(
      (await from('cross-site', { Authorization: 'Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln' })).json,
    ).toMatchObject({
      code: 'CROSS_ORIGIN',
    });
    expect((await from('same-origin')).status).toBe(200);
    const token = `Bearer ${admin.cookie.split('=')[1]}`;
    expect(
      (
        await ask(`${served.url}/api/reports`, {
          method: 'POST',
          headers: { 'Sec-Fetch-Site': 'cross-site', Authorization: token },
        })
      ).status,
    ).toBe(200);
  });

  it('answers every request with 500 if no sessionToken runs before it', async () => {
    const answer = await ask(unguarded.url);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain(password);
  });

  it('rejects an unknown mode or option', () => {
    expect(() => requireAuth('403' as '401')).toThrow(/'redirect' or '401'/);
    expect(() => requireAuth('401', { roles: 'x' } as object)).toThrow(/no option "roles"/);
    expect(() => requireAuth('401', { auth: {} as Auth })).toThrow(/createAuth/);
  });
});

describe('a response behind requireAuth', () => {
  const cached: Record<string, string> = {
    text: 'no-store',
    stream: 'no-store',
    redirect: 'no-store',
    missing: 'no-store',
    throws: 'no-store',
    refuses: 'no-store',
    raw: 'no-store',
    flushed: 'no-store',
    file: 'no-store',
    'own-header': 'private, max-age=60',
    'own-raw-header': 'private, max-age=60',
  };
  it.each(Object.entries(cached))(
    'is sent with the right Cache-Control, also for HEAD: %s has %s',
    async (name, expected) => {
      const headers = await logIn(`${served.url}/tasks`);
      for (const method of ['GET', 'HEAD'])
        expect([
          method,
          (await get(`/cached/${name}`, { ...headers }, method)).headers.get('cache-control'),
        ]).toEqual([method, expected]);
    },
  );

  it('is sent with no-store over HTTP/2', async () => {
    const auth = createAuth({
      strategies: ['admin', cheapHash(password)],
      secretKey,
      logger: false,
    });
    const app = new Koa();
    app.use(sessionToken(auth));
    app.use(requireAuth('401'));
    app.use((ctx) => {
      ctx.body = 'guarded';
    });
    const server = createHttp2Server(app.callback());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = connect(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
    const { cookie } = await logIn(`${served.url}/tasks`);
    const stream = client.request({ ':path': '/', cookie });
    const headers = await new Promise<Record<string, unknown>>((resolve) =>
      stream.on('response', resolve as never),
    );
    expect([headers[':status'], headers['cache-control']]).toEqual([200, 'no-store']);
    stream.resume();
    client.close();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('several logins in one app', () => {
  const log = recordingLogger();
  const login = (path: string, user: string, more: Partial<AuthOptions> = {}): Auth =>
    createAuth({
      strategies: [[user, cheapHash(password)]],
      secretKey,
      path,
      logger: log.logger,
      throttle: { floor: 0 },
      ...more,
    });
  const open: Served[] = [];
  afterAll(() => Promise.all(open.map((each) => each.close())));

  /**
   * Starts an app with two logins in the given order, a page that names no login, and a page for
   * the sessions of each login.
   */
  const start = async (first: Auth, second: Auth, staff: Auth, shop: Auth): Promise<string> => {
    const router = new Router();
    const show: Middleware = (ctx) => {
      ctx.body = sessionOf(ctx).username;
    };
    router.get('/unnamed', requireAuth('401', { role: 'admin' }), show as never);
    router.get('/admin', requireAuth('401', { auth: staff, role: 'admin' }), show as never);
    router.get('/orders', requireAuth('401', { auth: shop }), show as never);
    router.get('/last', sessionToken(staff) as never, (ctx) => {
      ctx.body = { name: ctx.state.session?.username ?? null };
    });
    const app = new Koa();
    app.silent = true;
    for (const auth of [first, second]) app.use(sessionToken(auth)).use(loginRoutes(auth));
    app.use(router.routes() as unknown as Middleware);
    const each = await serve(app);
    open.push(each);
    return each.url;
  };
  const bearer = async (base: string, username: string): Promise<Record<string, string>> => {
    const { json } = await postJson(`${base}/auth/login`, { username, password });
    return { Authorization: `Bearer ${(json as { token: string }).token}` };
  };

  it.each(['staff before shop', 'shop before staff'])(
    'accept only their own sessions, by cookie and by Bearer: %s',
    async (order) => {
      const [staff, shop] = [login('/staff', 'boss'), login('/shop', 'kim')];
      const url = await start(
        ...((order.startsWith('staff') ? [staff, shop] : [shop, staff]) as [Auth, Auth]),
        staff,
        shop,
      );
      const [boss, kim] = [await logIn(`${url}/staff`, 'boss'), await logIn(`${url}/shop`, 'kim')];
      const [bossToken, kimToken] = [
        await bearer(`${url}/staff`, 'boss'),
        await bearer(`${url}/shop`, 'kim'),
      ];
      const statuses = async (path: string): Promise<number[]> =>
        Promise.all(
          [boss, kim, bossToken, kimToken].map(
            async (headers) => (await ask(url + path, { headers })).status,
          ),
        );
      expect(await statuses('/admin')).toEqual([200, 401, 200, 401]);
      expect(await statuses('/orders')).toEqual([401, 200, 401, 200]);
      const both = { cookie: `${boss.cookie}; ${kim.cookie}` };
      expect([
        (await ask(`${url}/admin`, { headers: both })).text,
        (await ask(`${url}/orders`, { headers: both })).text,
      ]).toEqual(['boss', 'kim']);
      expect((await ask(`${url}/last`, { headers: both })).json).toEqual({ name: 'boss' });
    },
  );

  it('get 500 and a log line from a guard without a named login', async () => {
    const [staff, shop] = [login('/staff', 'boss'), login('/shop', 'kim')];
    const url = await start(staff, shop, staff, shop);
    const answer = await ask(`${url}/unnamed`, { headers: await logIn(`${url}/staff`, 'boss') });
    expect(answer.status).toBe(500);
    expect(
      log.lines.some(
        ({ level, err }) =>
          level === 50 && String((err as { message: string }).message).includes('several logins'),
      ),
    ).toBe(true);
  });

  it('get 500 from a guard if its login has not read the request', async () => {
    const [staff, other] = [login('/staff', 'boss'), login('/other', 'kim')];
    const url = await start(staff, staff, other, staff);
    expect(
      (await ask(`${url}/admin`, { headers: await logIn(`${url}/staff`, 'boss') })).status,
    ).toBe(500);
  });

  it('get 500 if their tokens cannot be distinguished', async () => {
    const [staff, shop] = [login('/tasks', 'boss'), login('/tasks', 'kim')];
    const url = await start(staff, shop, staff, shop);
    expect(
      (await ask(`${url}/admin`, { headers: await logIn(`${url}/tasks`, 'boss') })).status,
    ).toBe(500);
  });

  it('need no name under koa-mount if each request has one login', async () => {
    const app = new Koa();
    app.silent = true;
    for (const [at, user] of [
      ['/one', 'boss'],
      ['/two', 'kim'],
    ] as const) {
      const auth = login('/tasks', user, {
        cookie: { name: user },
        secretKey: `${secretKey}${user}`,
      });
      const inner = new Koa();
      inner.use(sessionToken(auth)).use(loginRoutes(auth)).use(requireAuth('redirect'));
      inner.use((ctx) => {
        ctx.body = sessionOf(ctx).username;
      });
      app.use(mount(at, inner));
    }
    const each = await serve(app);
    open.push(each);
    const boss = await bearer(`${each.url}/one/tasks`, 'boss');
    expect([
      (await ask(`${each.url}/one/page`, { headers: boss })).text,
      (await ask(`${each.url}/two/page`, { headers: boss })).status,
    ]).toEqual(['boss', 401]);
    const visit = await sendRaw(each.url, requestText('GET', '/two/page', navigating));
    expect(visit.headers.get('location')).toBe('/two/tasks/auth/login?next=%2Ftwo%2Fpage');
  });
});
