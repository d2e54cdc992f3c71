import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { requireAuth } from '../../../src/auth/require-auth.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import type { CookieOptions } from '../../../src/auth/sessions/cookies.js';
import type { AuthStrategy } from '../../../src/auth/strategies/strategy.js';
import { ask, logIn, postForm, postJson } from '../../helpers/client.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { recordingLogger } from '../../helpers/logs.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';

let app: LoginApp;
afterEach(() => app?.close());

const https = { 'X-Forwarded-Proto': 'https' };
const signIn = async (
  options: Partial<AuthOptions>,
  koa: { proxy?: boolean } = {},
  headers: Record<string, string> = {},
): Promise<string[]> => {
  app = await serveLogin(options, koa);
  const answer = await postForm(app.login, { username: 'admin', password }, headers);
  expect(answer.status).toBe(303);
  return answer.headers.getSetCookie().map((line) => line.replace(/=[^;]+\.[^;]+;/, '=…;'));
};

describe('the cookies of a login', () => {
  it.each<[string, CookieOptions | undefined, { proxy?: boolean }, Record<string, string>, string]>(
    [
      [
        'over plain HTTP',
        undefined,
        {},
        {},
        'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax',
      ],
      [
        'over HTTPS that a trusted proxy ends',
        undefined,
        { proxy: true },
        https,
        '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure',
      ],
      [
        'with X-Forwarded-Proto in capitals and a list',
        undefined,
        { proxy: true },
        { 'X-Forwarded-Proto': 'HTTPS, http' },
        '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure',
      ],
      [
        'with X-Forwarded-Proto and no trust in it',
        undefined,
        {},
        https,
        'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax',
      ],
      [
        'always Secure',
        { secure: true },
        {},
        {},
        '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure',
      ],
      [
        'never Secure',
        { secure: false },
        { proxy: true },
        https,
        'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax',
      ],
      [
        'of a domain',
        { secure: true, domain: 'example.com' },
        {},
        {},
        'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure; ' +
          'Domain=example.com',
      ],
      [
        'for other sites too',
        { secure: true, sameSite: 'none' },
        {},
        {},
        '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=None; Secure',
      ],
      [
        'strict, under another name',
        { sameSite: 'strict', name: 'sid' },
        {},
        {},
        'sid=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict',
      ],
    ],
  )('have the right attributes %s', async (_case, cookie, koa, headers, expected) => {
    const [session, device] = await signIn({ cookie }, koa, headers);
    expect(session).toBe(expected);
    expect(device).toBe(
      expected
        .replace('_token=', '_token_device=')
        .replace('sid=', 'sid_device=')
        .replace('86400', '15552000'),
    );
  });

  it('are read only under the __Host- name if they are Secure', async () => {
    await signIn({}, { proxy: true }, https);
    const answer = await postForm(app.login, { username: 'admin', password }, https);
    const value = answer.cookie?.split('=')[1] ?? '';
    const nameWith = async (cookie: string, headers: Record<string, string>): Promise<unknown> =>
      ((await ask(app.url, { headers: { ...headers, Cookie: cookie } })).json as { name: unknown })
        .name;
    expect(await nameWith(`__Host-taskflow_token=${value}`, https)).toBe('admin');
    expect(await nameWith(`taskflow_token=${value}`, https)).toBeNull();
    expect(await nameWith(`taskflow_token=${value}`, {})).toBe('admin');
    expect(await nameWith(`__Host-taskflow_token=${value}`, {})).toBeNull();
  });

  it('are all read, so that forged cookies cannot hide the valid one', async () => {
    app = await serveLogin();
    const good = (await logIn(app.base)).cookie;
    const nameWith = async (before: number): Promise<unknown> => {
      const cookies = [
        ...Array.from({ length: before }, (_, n) => `taskflow_token=forged${n}`),
        good,
      ];
      return (
        (await ask(app.url, { headers: { Cookie: cookies.join('; ') } })).json as { name: unknown }
      ).name;
    };
    expect([await nameWith(0), await nameWith(8), await nameWith(300)]).toEqual([
      'admin',
      'admin',
      'admin',
    ]);
  });

  it('have a separate name for each mount', async () => {
    await signIn({ path: '/admin/jobs' });
    const [one] = (await logIn(app.base)).cookie.split('=');
    await app.close();
    await signIn({ path: '/admin/mails' });
    const [two] = (await logIn(app.base)).cookie.split('=');
    expect([one, two]).toEqual([
      expect.stringMatching(/^taskflow_token_[0-9a-f]{8}$/),
      expect.stringMatching(/^taskflow_token_[0-9a-f]{8}$/),
    ]);
    expect(one).not.toBe(two);
  });

  const roles = (character: string): string[] =>
    Array.from({ length: 32 }, (_, n) => String(n).padStart(64, character));

  it('have room for 32 roles of 64 letters and a username of 256', async () => {
    app = await serveLogin({
      strategies: {
        authenticate_user: () => ({ ok: true, username: 'u'.repeat(256), roles: roles('r') }),
      },
    });
    const answer = await postForm(app.login, { username: 'admin', password });
    expect(answer.status).toBe(303);
    expect(answer.cookie?.length).toBeLessThanOrEqual(4096);
    expect((await ask(app.url, { headers: { Cookie: answer.cookie ?? '' } })).json).toEqual({
      name: 'u'.repeat(256),
    });
  });

  it.each<[string, AuthStrategy]>([
    [
      'the verdict',
      {
        authenticate_user: () => ({
          ok: true,
          username: '\u{1f600}'.repeat(256),
          roles: roles('\u00e9'),
        }),
      },
    ],
    [
      'find_user',
      {
        authenticate_user: () => ({ ok: true }),
        find_user: () => ({ version: '1', roles: roles('\u20ac') }),
      },
    ],
  ])('are not set if %s makes them too large: the login answers 403', async (_case, strategy) => {
    app = await serveLogin({ strategies: strategy });
    const page = await postForm(app.login, { username: 'admin', password });
    expect([page.status, page.headers.getSetCookie()]).toEqual([403, []]);
    expect(page.text).toContain('The login could not be completed');
    const script = await postJson(app.login, { username: 'admin', password });
    expect([script.status, (script.json as { code: string }).code]).toEqual([403, 'FORBIDDEN']);
    const named = app.log
      .events('authn_strategy_error')
      .filter(({ err }) => JSON.stringify(err ?? null).includes('4096'));
    expect(named.map(({ level }) => level)).toEqual([50, 50]);
    await app.log.logged('authn_login_fail', 2);
    expect(app.log.lines.filter(({ msg }) => msg === 'request failed')).toEqual([]);
  });

  it('cause no error, however large they are', async () => {
    const log = recordingLogger();
    const auth = createAuth({
      strategies: ['admin', cheapHash(password)],
      secretKey,
      logger: log.logger,
    });
    const koa = new Koa().use(sessionToken(auth)).use(loginRoutes(auth)).use(requireAuth('401'));
    koa.use((ctx) => {
      ctx.body = ctx.state.session?.username;
    });
    const server = createServer({ maxHeaderSize: 256 * 1024 }, koa.callback());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const login = await postForm(`${url}/tasks/auth/login`, { username: 'admin', password });
      const [session = '', device = ''] = login.headers
        .getSetCookie()
        .map((line) => line.split(';')[0] ?? '');
      const statuses = async (Cookie: string): Promise<number[]> => {
        const get = async (path: string): Promise<number> =>
          (await ask(url + path, { headers: { Cookie } })).status;
        const guess = await postJson(
          `${url}/tasks/auth/login`,
          { username: 'admin', password: 'wrong' },
          { Cookie },
        );
        return [
          await get('/'),
          await get('/tasks/auth/login'),
          await get('/tasks/auth/session'),
          guess.status,
        ];
      };
      const long = 'x'.repeat(100 * 1024);
      expect(await statuses(`${session}${long}`)).toEqual([401, 200, 401, 401]);
      expect(await statuses(`taskflow_token=${'a.'.repeat(5000)}; ${device}${long}`)).toEqual([
        401, 200, 401, 401,
      ]);
      expect(await statuses(`taskflow_token${long}=1;${'=;'.repeat(1000)}`)).toEqual([
        401, 200, 401, 401,
      ]);
      expect(await statuses(`other=${long}; ${session}`)).toEqual([200, 302, 200, 401]);
      expect(log.lines.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it.each<[string, CookieOptions, RegExp]>([
    ["sameSite 'none' without secure: true", { sameSite: 'none' }, /needs cookie.secure: true/],
    ['a name with a prefix', { name: '__Host-x' }, /cookie.name/],
    ['a name with a blank', { name: 'a b' }, /cookie.name/],
    ['a domain with a header in it', { domain: 'a\r\nSet-Cookie: x' }, /cookie.domain/],
    ['an unknown attribute', { httpOnly: false } as CookieOptions, /no option "httpOnly"/],
  ])('are rejected at the start with %s', async (_case, cookie, message) => {
    await expect(serveLogin({ cookie })).rejects.toThrow(message);
  });

  it('log one warning if the app does not trust its proxy', async () => {
    await signIn({}, {}, https);
    await postForm(app.login, { username: 'admin', password }, https);
    expect(app.log.lines.filter(({ msg }) => String(msg).includes('app.proxy'))).toHaveLength(1);
  });
});
