import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Middleware } from 'koa';
import { createAuth } from '../src/auth/create-auth.js';
import { loginRoutes } from '../src/auth/login-routes.js';
import { apiTokens } from '../src/auth/strategies/api-tokens/api-tokens.js';
import { multiUser } from '../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../src/auth/strategies/registry.js';
import { builtAssets } from '../src/http/assets.js';
import { type Route, routesOf } from '../src/http/routes.js';
import { TaskManager } from '../src/manager.js';
import { dashboardRoutes } from '../src/web/dashboard-routes.js';
import { streamRoute } from '../src/web/stream-route.js';
import { taskRoutes } from '../src/web/task-routes.js';
import { type AdminApp, serveAdmin } from './helpers/admin-app.js';
import { logIn } from './helpers/client.js';
import { cheapHash, password, secretKey } from './helpers/passwords.js';
import { type RawAnswer, requestText, sendRaw } from './helpers/raw.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
const auth = createAuth({
  strategies: new StrategyRegistry()
    .register('nobody', { authenticate_user: () => false })
    .register('tokens', apiTokens()),
  secretKey,
  store: tasks.store,
  logger: false,
});
const middlewares: Middleware[] = [
  loginRoutes(auth),
  dashboardRoutes(tasks, { access: auth }),
  streamRoute(tasks, { access: auth }),
  taskRoutes(tasks, { access: auth }),
];
const routes: readonly Route[] = middlewares.flatMap((middleware) => routesOf(middleware));

/** The complete list of routes that need no session. */
const publicRoutes = [
  'GET /auth/assets/:file',
  'GET /auth/callback/:strategy',
  'GET /auth/login',
  'GET /auth/logout',
  'GET /auth/signed-out',
  'GET /auth/start/:strategy',
  'GET /dashboard/assets/:file',
  'GET /health',
  'POST /auth/ended/:strategy',
  'POST /auth/login',
  'POST /auth/logout',
];

let app: AdminApp;
let admin: { cookie: string };
let viewer: { cookie: string };
beforeAll(async () => {
  const users = multiUser([
    ['admin', cheapHash(password)],
    ['vera', cheapHash('three'), { roles: ['viewer'] }],
  ]);
  app = await serveAdmin({
    auth: new StrategyRegistry().register('users', users).register('tokens', apiTokens()),
    secretKey,
    throttle: { floor: 0, address: 1000, account: 1000, pair: 1000 },
  });
  admin = await logIn(app.base);
  viewer = await logIn(app.base, 'vera', 'three');
});
afterAll(async () => {
  await app.close();
  await tasks.stop({ timeout: 0 });
});

const name = ({ method, path }: Route): string => `${method} ${path}`;
const target = (path: string): string =>
  `/tasks${path.replace(':id', app.taskId).replace(':file', builtAssets().file('login.css'))}`;
const send = (
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<RawAnswer> =>
  sendRaw(
    app.url,
    requestText(
      method,
      path,
      path.endsWith('/stream') ? { ...headers, 'X-Test': 'stream' } : headers,
    ),
  );

describe('every registered route', () => {
  it('is on the list of public routes or has a required role', () => {
    expect(routes.length).toBeGreaterThan(18);
    expect(
      routes
        .filter(({ requiredRole }) => requiredRole === 'public')
        .map(name)
        .sort(),
    ).toEqual(publicRoutes);
    for (const { requiredRole } of routes)
      expect(['public', 'page', 'viewer', 'operator', 'admin']).toContain(requiredRole);
  });

  it('has a row in docs/http.md, which has no other', () => {
    const page = readFileSync(new URL('../docs/http.md', import.meta.url), 'utf8');
    const [, table = ''] = page.split('| request | who | answer |');
    const cells = [...table.matchAll(/^\| (`(?:GET|POST|DELETE) .*?) \|/gm)].map(
      ([, cell = '']) => cell,
    );
    // A cell lists routes as `POST P/a/pause`, `/resume`; a part without a method replaces the end.
    const listed = cells.flatMap((cell) => {
      let before = '';
      return [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => {
        before = text.startsWith('/') ? before.replace(/\/[^/]*$/, text) : text;
        return before.replace(/\?.*$/, '').replace('/*', '/:file').replace(' P', ' ');
      });
    });
    const served = routes.map(name);
    expect(listed.sort()).toEqual([...new Set(served)].sort());
  });

  it('rejects anonymous requests with every method, unless it is public', async () => {
    for (const route of routes) {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE']) {
        const { status } = await send(method, target(route.path));
        if (publicRoutes.some((each) => each.endsWith(` ${route.path}`)))
          expect([method, name(route), status < 500]).toEqual([method, name(route), true]);
        else if (route.requiredRole === 'page')
          expect([method, name(route), [302, 401, 405].includes(status)]).toEqual([
            method,
            name(route),
            true,
          ]);
        else expect([method, name(route), status]).toEqual([method, name(route), 401]);
      }
    }
  });

  it('rejects a viewer if it changes tasks, and logs the attempt', async () => {
    for (const route of routes.filter(
      ({ requiredRole }) => requiredRole === 'operator' || requiredRole === 'admin',
    )) {
      const answer = await send(route.method, target(route.path), viewer);
      expect([name(route), answer.status, /"code":"FORBIDDEN"/.test(answer.text)]).toEqual([
        name(route),
        403,
        true,
      ]);
      expect(answer.headers.get('www-authenticate')).toBe(
        'Bearer realm="koa-taskflow", error="insufficient_scope"',
      );
      expect(app.log.events('authz_fail').at(-1)).toMatchObject({
        level: 40,
        username: 'vera',
        required: route.requiredRole,
        route: route.path,
      });
    }
    expect((await send('GET', '/tasks/dashboard', viewer)).body).toContain('"mayAct":false');
    expect((await send('GET', '/tasks/dashboard', admin)).body).toContain('"mayAct":true');
  });
});

const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src " +
  "'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; " +
  "object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; " +
  "trusted-types 'none'";
const everywhere = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
};
const plain = {
  ...everywhere,
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
};
const page = {
  ...everywhere,
  'cache-control': 'no-store',
  'referrer-policy': 'same-origin',
  'content-security-policy': pagePolicy,
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
  'x-frame-options': 'DENY',
};
const asset = {
  ...everywhere,
  'cache-control': 'public, max-age=31536000, immutable',
  'referrer-policy': 'no-referrer',
};
/**
 * All headers that affect security. The whole set of a response is compared, so that an additional
 * header fails too.
 */
const watched = [
  ...new Set([
    ...Object.keys(page),
    'strict-transport-security',
    'access-control-allow-origin',
    'server',
    'x-powered-by',
  ]),
];

/** Method, path, client, status and headers. */
const headerTable: readonly (readonly [
  string,
  string,
  'anonymous' | 'admin',
  number,
  Record<string, string>,
])[] = [
  ['GET', '/auth/login', 'anonymous', 200, page],
  ['GET', '/auth/login', 'admin', 302, plain],
  ['POST', '/auth/login', 'anonymous', 415, plain],
  ['PUT', '/auth/login', 'anonymous', 405, page],
  ['GET', '/auth/logout', 'anonymous', 302, plain],
  ['POST', '/auth/logout', 'anonymous', 303, plain],
  ['GET', '/auth/signed-out', 'anonymous', 200, page],
  ['GET', '/auth/done', 'anonymous', 302, plain],
  ['GET', '/auth/done', 'admin', 200, page],
  ['GET', '/auth/start/:strategy', 'anonymous', 404, page],
  ['GET', '/auth/callback/:strategy', 'anonymous', 404, page],
  ['POST', '/auth/ended/:strategy', 'anonymous', 404, plain],
  ['GET', '/auth/session', 'anonymous', 401, plain],
  ['GET', '/auth/session', 'admin', 200, plain],
  ['GET', '/auth/sessions', 'anonymous', 401, plain],
  ['GET', '/auth/sessions', 'admin', 200, plain],
  ['DELETE', '/auth/sessions', 'anonymous', 401, plain],
  ['DELETE', '/auth/sessions/:id', 'admin', 404, plain],
  ['GET', '/auth/strategies', 'admin', 200, plain],
  ['POST', '/auth/strategies/:name/check', 'admin', 404, plain],
  ['GET', '/auth/tokens', 'admin', 200, plain],
  ['GET', '/auth/tokens', 'anonymous', 401, plain],
  ['POST', '/auth/tokens', 'admin', 400, plain],
  ['POST', '/auth/tokens/:id/rotate', 'admin', 404, plain],
  ['DELETE', '/auth/tokens/:id', 'admin', 404, plain],
  ['GET', '/auth/assets/:file', 'anonymous', 200, asset],
  ['GET', '/dashboard/assets/:file', 'anonymous', 200, asset],
  ['GET', '/dashboard/assets/none.js', 'anonymous', 404, plain],
  ['GET', '/dashboard', 'anonymous', 302, plain],
  ['GET', '/dashboard', 'admin', 200, page],
  ['HEAD', '/dashboard/stream', 'admin', 200, plain],
  ['GET', '/dashboard/stream', 'anonymous', 401, plain],
  ['GET', '', 'anonymous', 401, plain],
  ['GET', '', 'admin', 200, plain],
  ['GET', '?limit=0', 'admin', 400, plain],
  ['GET', '/metrics', 'admin', 200, plain],
  ['GET', '/metrics/prometheus', 'admin', 200, plain],
  ['GET', '/failures', 'admin', 200, plain],
  ['GET', '/workers', 'admin', 200, plain],
  ['GET', '/functions', 'admin', 200, plain],
  ['GET', '/queues', 'admin', 200, plain],
  ['GET', '/schedules', 'admin', 200, plain],
  ['GET', '/openapi.json', 'admin', 200, plain],
  ['GET', '/openapi.json', 'anonymous', 401, plain],
  ['POST', '/bulk', 'admin', 400, plain],
  ['POST', '/bulk-retry', 'admin', 400, plain],
  ['POST', '/retry-failed', 'anonymous', 401, plain],
  ['DELETE', '/history', 'admin', 400, plain],
  ['GET', '/audit', 'admin', 200, plain],
  ['GET', '/audit/export?format=csv', 'admin', 200, plain],
  ['GET', '/export?format=csv', 'admin', 200, plain],
  ['GET', '/export', 'admin', 400, plain],
  ['GET', '/health', 'anonymous', 200, plain],
  ['GET', '/:id', 'admin', 200, plain],
  ['GET', '/nothing/there', 'anonymous', 401, plain],
  ['GET', '/nothing/there', 'admin', 404, plain],
  ['OPTIONS', '/metrics', 'anonymous', 405, plain],
  ['GET', '/:id/logs', 'admin', 200, plain],
  ['POST', '/queues/:name/pause', 'admin', 202, plain],
  ['POST', '/queues/:name/resume', 'admin', 202, plain],
  ['POST', '/schedules/:name/pause', 'admin', 404, plain],
  ['POST', '/schedules/:name/resume', 'anonymous', 401, plain],
  ['POST', '/schedules/:name/run', 'admin', 404, plain],
  ['POST', '/schedules/:name/remove', 'admin', 404, plain],
  ['POST', '/:id/rerun', 'admin', 201, plain],
  ['POST', '/:id/run', 'anonymous', 401, plain],
  ['POST', '/:id/retry', 'admin', 202, plain],
  ['POST', '/:id/cancel', 'anonymous', 401, plain],
];

describe('every route with a parameter in its path', () => {
  it('answers 400 to a path with a malformed percent-encoding, and records a command', async () => {
    const withParameter = routes.filter(({ path }) => path.includes(':'));
    expect(withParameter.length).toBeGreaterThan(10);
    for (const route of withParameter)
      for (const malformed of ['%E0%A4%A', '%', '%zz', 'a%C3', '%FF']) {
        const path = `/tasks${route.path.replace(/:\w+/, malformed)}`;
        const answer = await send(route.method, path, admin);
        expect([name(route), malformed, answer.status]).toEqual([name(route), malformed, 400]);
        expect(answer.body).toContain('INVALID_INPUT');
        expect(answer.body).toContain('%25');
      }
    const audit = await send('GET', '/tasks/audit?outcome=refused&limit=500', admin);
    const { items } = JSON.parse(audit.body) as { items: Record<string, unknown>[] };
    const recorded = items.filter(({ detail }) => JSON.stringify(detail).includes('INVALID_INPUT'));
    expect(new Set(recorded.map(({ action }) => action))).toEqual(
      new Set(withParameter.flatMap(({ action }) => action ?? [])),
    );
    expect((await send('GET', '/tasks/%E0%A4%A')).status).toBe(401);
  });
});

describe('every command without parameters in its body', () => {
  const json = { 'Content-Type': 'application/json' };
  const withBody = async (route: Route, headers: Record<string, string>, body: string) => {
    const { cookie } = await logIn(app.base);
    const length: Record<string, string> = headers['Transfer-Encoding']
      ? {}
      : { 'Content-Length': String(body.length) };
    const path = target(route.path);
    return sendRaw(
      app.url,
      requestText(route.method, path, { cookie, ...length, ...headers }) + body,
    );
  };

  it('refuses a body with members before it does anything', async () => {
    const commands = routes.filter(({ method, takesBody }) => method !== 'GET' && !takesBody);
    expect(commands.map(name)).toEqual([
      'POST /auth/strategies/:name/check',
      'DELETE /auth/sessions',
      'DELETE /auth/sessions/:id',
      'DELETE /auth/tokens/:id',
      'DELETE /history',
    ]);
    for (const route of commands) {
      for (const [headers, body] of [
        [json, '{"dryRun":true}'],
        [json, '[1]'],
        [json, `{"a":"${'x'.repeat(70_000)}"}`],
        [{}, '{"dryRun":true}'],
        [{ 'Content-Type': 'text/plain' }, 'dryRun=true'],
        [{ ...json, 'Content-Encoding': 'gzip' }, '\x1f~'],
        [{ ...json, 'Transfer-Encoding': 'chunked' }, 'f\r\n{"dryRun":true}\r\n0\r\n\r\n'],
      ] as const) {
        const answer = await withBody(route, headers, body);
        expect([name(route), body.slice(0, 20), answer.status]).toEqual([
          name(route),
          body.slice(0, 20),
          400,
        ]);
        expect(answer.body).toContain('This route takes no body.');
      }
    }
    expect((await send('GET', '/tasks', admin)).status).toBe(200);
    const audit = await send('GET', '/tasks/audit?action=delete_history&limit=1', admin);
    expect(audit.body).toContain('"outcome":"refused"');
  });

  it('accepts an empty body and an empty object, which HTTP clients send', async () => {
    for (const [headers, body] of [
      [json, ''],
      [json, ' { } '],
      [{}, '{}'],
      [{ 'Transfer-Encoding': 'chunked' }, '0\r\n\r\n'],
    ] as const) {
      const route = { method: 'DELETE', path: '/history?before=-1000d&dryRun=true' } as Route;
      expect([body, (await withBody(route, headers, body)).status]).toEqual([body, 200]);
    }
  });
});

describe('the headers of a response', () => {
  it('are asserted for every route', () => {
    const asserted = new Set(
      headerTable.map(
        ([method, path]) => `${method === 'HEAD' ? 'GET' : method} ${path.split('?')[0]}`,
      ),
    );
    const missing = routes.map(name).filter((each) => !asserted.has(each));
    expect(missing).toEqual([]);
  });

  it.each(headerTable)(
    'are the expected ones for %s %s (%s), with status %i',
    async (method, path, client, status, expected) => {
      const answer = await send(method, target(path), client === 'admin' ? admin : {});
      expect(answer.status).toBe(status);
      expect(
        Object.fromEntries(
          watched.flatMap((header) =>
            answer.headers.has(header) ? [[header, answer.headers.get(header)]] : [],
          ),
        ),
      ).toEqual(expected);
    },
  );

  it('stay on a 304 if the app answers conditional requests', async () => {
    const { default: Koa } = await import('koa');
    const { serve } = await import('./helpers/serve.js');
    const outer = new Koa();
    outer.use(async (ctx, next) => {
      await next();
      if (ctx.fresh) ctx.status = 304;
    });
    outer.use(loginRoutes(auth));
    const served = await serve(outer);
    const path = target('/auth/assets/:file');
    const first = await sendRaw(served.url, requestText('GET', path));
    const again = await sendRaw(
      served.url,
      requestText('GET', path, { 'If-Modified-Since': first.headers.get('last-modified') ?? '' }),
    );
    expect([first.status, again.status, again.body]).toEqual([200, 304, '']);
    for (const [header, value] of Object.entries(asset))
      expect([header, again.headers.get(header)]).toEqual([header, value]);
    await served.close();
  });

  it.each([
    '?limit=%0d%0aX-Evil:1',
    '?cursor=%0d%0aSet-Cookie:a=b',
    '/%0d%0aX-Evil:%201',
    '/auth/login?next=%0d%0aX-Evil:1',
    '/auth/login?next=/a%0d%0aX-Evil:1',
  ])('contain nothing that a client wrote: %s', async (path) => {
    for (const headers of [{}, admin] as Record<string, string>[]) {
      const answer = await send('GET', `/tasks${path}`, headers);
      expect(answer.headers.has('x-evil')).toBe(false);
      expect(answer.headers.get('set-cookie') ?? '').not.toContain('a=b');
      expect(answer.status).toBeLessThan(500);
    }
  });

  it('leave Strict-Transport-Security to the app, and keep its value', async () => {
    const { default: Koa } = await import('koa');
    const { taskAdmin } = await import('../src/admin.js');
    const { serve } = await import('./helpers/serve.js');
    const outer = new Koa();
    outer.use((ctx, next) => {
      ctx.set('Strict-Transport-Security', 'max-age=63072000');
      return next();
    });
    outer.use(taskAdmin(app.tasks, { logger: false }));
    const served = await serve(outer);
    const answer = await sendRaw(served.url, requestText('GET', '/tasks', {}, 'localhost'));
    expect(answer.headers.get('strict-transport-security')).toBe('max-age=63072000');
    await served.close();
  });

  it('contain no stack, path or version after an internal error', async () => {
    const failing = {
      mounted: () => {},
      find: () => Promise.reject(new Error(`${secretKey} at /srv/app/secret.js`)),
    };
    const { default: Koa } = await import('koa');
    const { serve } = await import('./helpers/serve.js');
    const outer = new Koa();
    outer.use(
      taskRoutes(Object.assign(Object.create(app.tasks), failing), {
        logger: app.log.logger.child({}, { level: 'silent' }),
      }),
    );
    const served = await serve(outer);
    const answer = await sendRaw(
      served.url,
      requestText('GET', '/tasks', { 'X-Request-Id': 'r-1' }, 'localhost'),
    );
    expect(JSON.parse(answer.body)).toEqual({
      type: 'about:blank',
      title: 'Internal error',
      status: 500,
      detail: 'An internal error occurred. Request r-1.',
      code: 'INTERNAL',
      requestId: 'r-1',
    });
    await served.close();
  });
});
