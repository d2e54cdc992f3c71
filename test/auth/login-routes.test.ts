import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { sessionToken } from '../../src/auth/session-token.js';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { ask, logIn, postForm, postJson } from '../helpers/client.js';
import { recordingLogger } from '../helpers/logs.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { requestText, sendRaw } from '../helpers/raw.js';
import { type Served, serve } from '../helpers/serve.js';

const log = recordingLogger();
let served: Served;
let login: string;

beforeAll(async () => {
  const strategies = new StrategyRegistry({ timeLimit: 0.3 })
    .register('admin', staticUser('admin', cheapHash(password)))
    .register('team', multiUser([['алиса', cheapHash('пароль')]]))
    .register('broken', {
      authenticate_user(_username, password) {
        throw Object.assign(new Error(`bind failed for ${password}`), {
          code: 'EDOWN',
          config: { password },
        });
      },
    })
    .register('hanging', { authenticate_user: () => new Promise(() => {}) })
    .register('polite', { authenticate_user: async () => false })
    .register('row', { authenticate_user: async () => ({ id: 1 }) as unknown as boolean });
  const auth = createAuth({
    strategies,
    secretKey,
    title: 'Shop <b>',
    throttle: false,
    logger: log.logger,
  });
  const app = new Koa();
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx) => {
    ctx.body = 'elsewhere';
  });
  served = await serve(app);
  login = `${served.url}/tasks/auth/login`;
});
afterAll(() => served.close());

const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src " +
  "'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; " +
  "object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; " +
  "trusted-types 'none'";

describe('the login page', () => {
  it('is a form that works without a script, under a strict policy', async () => {
    const { status, headers, text } = await ask(login);
    expect(status).toBe(200);
    expect(text).toContain('<form method="post" action="/tasks/auth/login">');
    expect(text).toMatch(/name="username"[^>]* autocomplete="username"/);
    expect(text).toMatch(/type="password" autocomplete="current-password"/);
    // The only script is a file of this host, and the page works without it.
    const own = / type="module" src="\/tasks\/auth\/assets\/login-[0-9a-f]{10}\.js"><\/script>/
      .source;
    expect(text).not.toMatch(new RegExp(`<script(?!${own})|style=|onclick`));
    expect(headers.get('Content-Security-Policy')).toBe(pagePolicy);
    expect(headers.get('Referrer-Policy')).toBe('same-origin');
    expect(headers.get('Cache-Control')).toBe('no-store');
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
  });

  it('escapes the title', async () => {
    expect((await ask(login)).text).toContain('Shop &lt;b&gt;');
  });

  it('loads its own style sheet', async () => {
    const { text } = await ask(login);
    const style = /href="([^"]+\.css)"/.exec(text)?.[1] ?? '';
    const { status, headers } = await ask(served.url + style);
    expect(status).toBe(200);
    expect(headers.get('Content-Type')).toContain('text/css');
    expect(headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable');
  });

  it('keeps a safe next parameter and drops an unsafe one', async () => {
    expect(
      (await ask(`${login}?next=${encodeURIComponent('/reports?a="><script>')}`)).text,
    ).toContain('value="/reports?a=&quot;&gt;&lt;script&gt;"');
    expect((await ask(`${login}?next=/reports?a=1%26b=2`)).text).toContain(
      '<input type="hidden" name="next" value="/reports?a=1&amp;b=2">',
    );
    expect((await ask(`${login}?next=//evil.example`)).text).not.toContain('evil');
    expect((await ask(`${login}?next=/a&next=//evil.example`)).text).not.toContain('name="next"');
  });

  it('redirects signed-in users', async () => {
    const session = await logIn(`${served.url}/tasks`);
    const answer = await ask(`${login}?next=/reports`, { headers: session });
    expect([answer.status, answer.headers.get('Location')]).toEqual([302, '/reports']);
  });

  it('lists the strategies if there are several', async () => {
    expect((await ask(login)).text).toContain('<option value="team">team</option>');
  });
});

describe('POST auth/login', () => {
  it('sets the cookie and redirects to next or to the home page', async () => {
    expect((await postForm(login, { username: 'admin', password })).headers.get('Location')).toBe(
      '/',
    );
    expect(
      (await postForm(login, { username: 'admin', password, next: '/a?b' })).headers.get(
        'Location',
      ),
    ).toBe('/a?b');
    expect(
      (await postForm(login, { username: 'admin', password, next: '//evil.example' })).headers.get(
        'Location',
      ),
    ).toBe('/');
  });

  it('returns a token and no cookie to a JSON client', async () => {
    const { status, json, cookie } = await postJson(login, { username: 'admin', password });
    expect(status).toBe(200);
    expect(json).toEqual({
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      tokenType: 'Bearer',
      username: 'admin',
      expiresAt: expect.stringMatching(/Z$/),
    });
    expect(cookie).toBeUndefined();
  });

  it('refuses an unknown member of a JSON body, and ignores one of a form', async () => {
    const fields = { username: 'admin', password, stratgy: 'team' };
    const answer = await postJson(login, fields);
    expect([answer.status, (answer.json as { detail: string }).detail]).toEqual([
      400,
      'Unknown member "stratgy" in the body. Did you mean "strategy"? Allowed: username, ' +
        'password, strategy, next.',
    ]);
    expect((await postJson(login, { username: 'admin', password, roles: ['x'] })).status).toBe(400);
    expect((await postForm(login, { ...fields, csrf: 'x' })).status).toBe(303);
  });

  it('accepts names and passwords in any script', async () => {
    expect((await postForm(login, { username: 'алиса', password: 'пароль' })).status).toBe(303);
    expect((await postForm(login, { username: 'алиса', password: 'parol' })).status).toBe(401);
  });

  it('shows the form again after a failure and keeps the name and next', async () => {
    const { status, text } = await postForm(login, {
      username: 'al"ice',
      password: 'wrong',
      next: '/reports',
    });
    expect(status).toBe(401);
    expect(text).toContain('Invalid username or password.');
    expect(text).toContain('value="al&quot;ice"');
    expect(text).toContain('value="/reports"');
    expect(text).not.toContain('wrong');
  });

  it.each([
    ['an unknown user', { username: 'nobody', password: 'x' }],
    ['a wrong password', { username: 'admin', password: 'x' }],
    ['an unknown strategy', { username: 'admin', password, strategy: '__proto__' }],
    ['a strategy that throws', { username: 'admin', password, strategy: 'broken' }],
    ['a strategy that hangs', { username: 'admin', password, strategy: 'hanging' }],
    ['an async strategy that resolves false', { username: 'admin', password, strategy: 'polite' }],
    [
      'a strategy that answers with a database row',
      { username: 'admin', password, strategy: 'row' },
    ],
  ])('gives the same answer to %s', async (_case, body) => {
    const { status, json, headers } = await postJson(login, body);
    expect(status).toBe(401);
    expect(json).toEqual({
      type: 'about:blank',
      title: 'Invalid username or password',
      status: 401,
      detail: 'Invalid username or password.',
      code: 'INVALID_CREDENTIALS',
      requestId: expect.any(String),
    });
    expect(headers.get('WWW-Authenticate')).toBe('Bearer realm="koa-taskflow"');
  });

  it.each<[string, unknown]>([
    ['no password', { username: 'admin' }],
    ['an empty password', { username: 'admin', password: '' }],
    ['a name that is an object', { username: { $ne: 1 }, password: 'x' }],
    ['a name that is a list', { username: ['admin'], password }],
    ['a strategy that is a list', { username: 'admin', password, strategy: ['admin'] }],
    ['a name of 257 bytes', { username: 'a'.repeat(257), password: 'x' }],
    ['a password of 1025 bytes', { username: 'admin', password: 'a'.repeat(1025) }],
    ['a NUL in the password', { username: 'admin', password: 'secret\0' }],
    ['a lone surrogate', { username: '\ud800', password: 'x' }],
    ['a list', []],
    [
      'credentials in __proto__',
      JSON.parse('{"__proto__":{"username":"admin","password":"secret"}}'),
    ],
  ])('answers 400 to %s', async (_case, body) => {
    const { status, json } = await postJson(login, body);
    expect([status, (json as { code: string }).code]).toEqual([400, 'INVALID_INPUT']);
  });

  it.each<[string, RequestInit, number]>([
    ['text', { body: 'username=admin', headers: { 'Content-Type': 'text/plain' } }, 415],
    ['a multipart form', { body: new FormData() }, 415],
    [
      'another charset',
      { body: '{}', headers: { 'Content-Type': 'application/json;charset=utf-16' } },
      415,
    ],
    [
      'a compressed body',
      { body: '{}', headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' } },
      415,
    ],
    ['invalid JSON', { body: '{', headers: { 'Content-Type': 'application/json' } }, 400],
    [
      'more than 16 KiB',
      {
        body: JSON.stringify({ username: 'a', password: 'x'.repeat(20_000) }),
        headers: { 'Content-Type': 'application/json' },
      },
      413,
    ],
    [
      'a name given twice in a form',
      {
        body: 'username=admin&username=bob&password=secret',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      },
      400,
    ],
    ['nothing', {}, 415],
  ])('answers %s with the right status', async (_case, init, status) => {
    expect((await ask(login, { method: 'POST', ...init })).status).toBe(status);
  });

  it('accepts a body that the app has already parsed, with the same checks', async () => {
    const { koaBody } = await import('koa-body');
    const auth = createAuth({
      strategies: ['admin', cheapHash(password)],
      secretKey,
      throttle: false,
      logger: false,
    });
    const app = new Koa();
    app.use(koaBody());
    app.use(loginRoutes(auth));
    const parsed = await serve(app);
    const at = `${parsed.url}/tasks/auth/login`;
    expect((await postJson(at, { username: 'admin', password })).status).toBe(200);
    expect((await postForm(at, { username: 'admin', password })).status).toBe(303);
    expect((await postJson(at, { username: { $ne: 1 }, password: 'x' })).status).toBe(400);
    expect((await postJson(at, [])).status).toBe(400);
    await parsed.close();
  });

  it('answers 408 if the body does not arrive within 10 seconds', async () => {
    const { port } = new URL(served.url);
    const head =
      'POST /tasks/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: ' +
      'application/json\r\nContent-Length: 100\r\n\r\n{"username":';
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(Number(port), '127.0.0.1', () => socket.write(head));
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer).toContain('"code":"REQUEST_TIMEOUT"');
  });

  it('rejects a cross-site form', async () => {
    const answer = await postForm(
      login,
      { username: 'admin', password },
      { 'Sec-Fetch-Site': 'cross-site' },
    );
    expect([answer.status, answer.cookie]).toEqual([403, undefined]);
    expect(answer.headers.get('Content-Type')).toContain('text/html');
    expect(log.events('cross_origin_refused').at(-1)).toMatchObject({
      level: 40,
      secFetchSite: 'cross-site',
      path: '/tasks/auth/login',
    });
  });

  it('starts a new session and ends the previous one', async () => {
    const first = await logIn(`${served.url}/tasks`);
    const second = await postForm(login, { username: 'admin', password }, first);
    expect(second.cookie).not.toBe(first.cookie);
    expect((await ask(`${served.url}/tasks/auth/session`, { headers: first })).status).toBe(401);
    expect(
      (await ask(`${served.url}/tasks/auth/session`, { headers: { cookie: second.cookie ?? '' } }))
        .status,
    ).toBe(200);
  });
});

describe('auth/logout', () => {
  it('clears the cookie, ends the session and redirects to the login', async () => {
    for (const [method, status] of [
      ['GET', 302],
      ['POST', 303],
    ] as const) {
      const session = await logIn(`${served.url}/tasks`);
      const answer = await ask(`${served.url}/tasks/auth/logout`, {
        method,
        headers: { ...session, Accept: 'text/html' },
      });
      expect([answer.status, answer.headers.get('Location')]).toEqual([
        status,
        '/tasks/auth/login',
      ]);
      expect(answer.headers.getSetCookie()).toEqual([
        'taskflow_token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax',
        '__Host-taskflow_token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure',
      ]);
      expect((await ask(`${served.url}/tasks/auth/session`, { headers: session })).status).toBe(
        401,
      );
    }
  });

  it('ignores parameters that a form or a proxy adds', async () => {
    const { cookie } = await logIn(`${served.url}/tasks`);
    const logout = `${served.url}/tasks/auth/logout?utm_source=mail`;
    expect((await postForm(logout, { csrf: 'x' }, { cookie })).status).toBe(303);
    const session = `${served.url}/tasks/auth/session`;
    expect((await ask(session, { headers: { cookie } })).status).toBe(401);
  });

  it('answers 204 to a Bearer client and ends its token', async () => {
    const { token } = (await postJson(login, { username: 'admin', password })).json as {
      token: string;
    };
    const headers = { Authorization: `Bearer ${token}` };
    expect((await ask(`${served.url}/tasks/auth/logout`, { method: 'POST', headers })).status).toBe(
      204,
    );
    expect((await ask(`${served.url}/tasks/auth/session`, { headers })).status).toBe(401);
  });

  it('redirects a browser to the login even if a proxy adds a Bearer token', async () => {
    const session = await logIn(`${served.url}/tasks`);
    const headers = {
      Cookie: session.cookie,
      Authorization: 'Bearer eyJh.e30.c2ln',
      Accept: 'text/html',
      'Sec-Fetch-Mode': 'navigate',
    };
    // fetch would replace the Sec-Fetch-Mode header.
    const answer = await sendRaw(
      served.url,
      requestText('POST', '/tasks/auth/logout', { ...headers, 'Content-Length': '0' }),
    );
    expect(answer.status).toBe(303);
    expect((await ask(`${served.url}/tasks/auth/session`, { headers: session })).status).toBe(401);
  });

  it.each([['cross-site'], ['same-site'], ['bogus']])(
    'rejects a request with Sec-Fetch-Site: %s',
    async (site) => {
      const session = await logIn(`${served.url}/tasks`);
      expect(
        (
          await ask(`${served.url}/tasks/auth/logout`, {
            headers: { ...session, 'Sec-Fetch-Site': site },
          })
        ).status,
      ).toBe(403);
      expect((await ask(`${served.url}/tasks/auth/session`, { headers: session })).status).toBe(
        200,
      );
    },
  );

  it.each([
    ['Sec-Purpose', 'prefetch'],
    ['Sec-Purpose', 'prefetch;prerender'],
    ['Purpose', 'prefetch'],
    ['X-Moz', 'prefetch'],
    ['X-Purpose', 'preview'],
    ['Sec-Fetch-Dest', 'image'],
    ['Sec-Fetch-Dest', 'iframe'],
    ['Sec-Fetch-Dest', 'script'],
  ])('rejects a request with %s: %s and keeps the session', async (name, value) => {
    const session = await logIn(`${served.url}/tasks`);
    for (const method of ['GET', 'POST']) {
      const headers = { ...session, [name]: value, 'Sec-Fetch-Site': 'same-origin' };
      expect((await ask(`${served.url}/tasks/auth/logout`, { method, headers })).status).toBe(403);
    }
    expect((await ask(`${served.url}/tasks/auth/session`, { headers: session })).status).toBe(200);
  });

  it('answers 405 to HEAD and keeps the session', async () => {
    const session = await logIn(`${served.url}/tasks`);
    const answer = await ask(`${served.url}/tasks/auth/logout`, {
      method: 'HEAD',
      headers: session,
    });
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, 'GET, POST']);
    expect((await ask(`${served.url}/tasks/auth/session`, { headers: session })).status).toBe(200);
  });
});

describe('another route of the login', () => {
  it('shows a session its own data', async () => {
    const { json } = await ask(`${served.url}/tasks/auth/session`, {
      headers: await logIn(`${served.url}/tasks`),
    });
    expect(json).toEqual({
      username: 'admin',
      strategy: 'admin',
      roles: ['admin'],
      issuedAt: expect.any(String),
      expiresAt: expect.any(String),
    });
  });

  it('answers 405 with Allow to a wrong method', async () => {
    const answer = await ask(login, { method: 'PUT' });
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, 'GET, HEAD, POST']);
  });

  it('passes other paths on to the next middleware', async () => {
    expect((await ask(`${served.url}/tasks/auth/elsewhere`)).text).toBe('elsewhere');
    expect((await ask(`${served.url}/TASKS/auth/login`)).text).toBe('elsewhere');
    expect((await ask(`${served.url}/tasks/auth/login/`)).text).toBe('elsewhere');
  });

  it('serves no file outside the build', async () => {
    for (const file of ['manifest.json', '..%2f..%2fpackage.json', '.env', 'login.css']) {
      expect((await ask(`${served.url}/tasks/auth/assets/${file}`)).status).toBe(404);
    }
  });
});

describe('the log of the login', () => {
  it('has one line for a success, with user, strategy, address and request', () => {
    expect(log.events('authn_login_success')[0]).toMatchObject({
      level: 30,
      username: 'admin',
      strategy: 'admin',
      ip: '127.0.0.1',
      requestId: expect.any(String),
      sessionId: expect.stringMatching(/^.{8}$/),
      durationMs: expect.any(Number),
    });
  });

  it('contains a known username, but only the hash of an unknown one', async () => {
    const before = log.events('authn_login_fail').length;
    await postJson(login, { username: 'admin', password: 'wrong' });
    expect((await log.logged('authn_login_fail', before + 1)).at(-1)).toMatchObject({
      level: 40,
      username: 'admin',
      reason: expect.any(String),
    });
    await postJson(login, { username: 'Typed-My-Password-Here', password: 'x' });
    expect((await log.logged('authn_login_fail', before + 2)).at(-1)).toMatchObject({
      usernameHash: expect.stringMatching(/^[0-9a-f]{12}$/),
      usernameLength: 22,
    });
    expect(log.text()).not.toContain('Typed-My-Password-Here');
  });

  it('names the strategy that failed and the reason, without other data of the error', async () => {
    await postJson(login, { username: 'admin', password: 'Canary-Pa55word', strategy: 'broken' });
    expect(log.events('authn_strategy_error').findLast(({ level }) => level === 50)).toMatchObject({
      level: 50,
      strategy: 'broken',
      err: { type: 'Error', message: 'bind failed for [redacted]', code: 'EDOWN' },
    });
    await postJson(login, { username: 'admin', password: 'Canary-Pa55word', strategy: 'hanging' });
    expect(log.events('authn_strategy_error').findLast(({ level }) => level === 50)).toMatchObject({
      strategy: 'hanging',
      timeout: true,
    });
  });

  it('never contains a password, a token, a cookie or a key', async () => {
    const session = await logIn(`${served.url}/tasks`);
    const { token } = (await postJson(login, { username: 'admin', password })).json as {
      token: string;
    };
    await postForm(login, { username: 'алиса', password: 'Canary-Пароль' });
    await ask(`${served.url}/tasks/auth/logout`, {
      headers: { Authorization: `Bearer ${token}`, ...session },
    });
    for (const secret of [
      'Canary-',
      'пароль',
      token,
      session.cookie.split('=')[1] ?? token,
      secretKey,
    ])
      expect(log.text()).not.toContain(secret);
  });

  it('has one line per event, whatever the client sends', async () => {
    const before = log.lines.length;
    await ask(login, {
      method: 'POST',
      body: JSON.stringify({ username: 'a\r\n{"level":30}', password: 'x' }),
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'x\u001b[2K'.replace('\u001b', ''),
      },
    });
    expect(
      log.lines.filter((line, index) => index >= before && line.event === 'authn_login_fail'),
    ).toHaveLength(1);
  });
});
