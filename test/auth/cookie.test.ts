import { afterEach, describe, expect, it } from '@jest/globals';
import type { CookieOptions } from '../../src/auth/cookie.js';
import type { AuthOptions } from '../../src/auth/create-auth.js';
import { ask, logIn, postForm } from '../helpers/client.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password } from '../helpers/passwords.js';

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
  it.each<[string, CookieOptions | undefined, { proxy?: boolean }, Record<string, string>, string]>([
    ['over plain HTTP', undefined, {}, {}, 'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax'],
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
    ['with X-Forwarded-Proto and no trust in it', undefined, {}, https, 'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax'],
    ['always Secure', { secure: true }, {}, {}, '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure'],
    ['never Secure', { secure: false }, { proxy: true }, https, 'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax'],
    [
      'of a domain',
      { secure: true, domain: 'example.com' },
      {},
      {},
      'taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure; Domain=example.com',
    ],
    [
      'for other sites too',
      { secure: true, sameSite: 'none' },
      {},
      {},
      '__Host-taskflow_token=…; Path=/; Max-Age=86400; HttpOnly; SameSite=None; Secure',
    ],
    ['strict, under another name', { sameSite: 'strict', name: 'sid' }, {}, {}, 'sid=…; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict'],
  ])('are as they should be %s', async (_case, cookie, koa, headers, expected) => {
    const [session, device] = await signIn({ cookie }, koa, headers);
    expect(session).toBe(expected);
    expect(device).toBe(expected.replace('_token=', '_token_device=').replace('sid=', 'sid_device=').replace('86400', '15552000'));
  });

  it('are read under the name with the prefix alone where they are Secure, so that plain HTTP plants none', async () => {
    await signIn({}, { proxy: true }, https);
    const answer = await postForm(app.login, { username: 'admin', password }, https);
    const value = answer.cookie?.split('=')[1] ?? '';
    const nameWith = async (cookie: string, headers: Record<string, string>): Promise<unknown> =>
      ((await ask(app.url, { headers: { ...headers, Cookie: cookie } })).json as { name: unknown }).name;
    expect(await nameWith(`__Host-taskflow_token=${value}`, https)).toBe('admin');
    expect(await nameWith(`taskflow_token=${value}`, https)).toBeNull();
    expect(await nameWith(`taskflow_token=${value}`, {})).toBe('admin');
    expect(await nameWith(`__Host-taskflow_token=${value}`, {})).toBeNull();
  });

  it('are all read, so that planted cookies cannot hide the good one, however many there are', async () => {
    app = await serveLogin();
    const good = (await logIn(app.base)).cookie;
    const nameWith = async (before: number): Promise<unknown> => {
      const cookies = [...Array.from({ length: before }, (_, n) => `taskflow_token=forged${n}`), good];
      return ((await ask(app.url, { headers: { Cookie: cookies.join('; ') } })).json as { name: unknown }).name;
    };
    expect([await nameWith(0), await nameWith(8), await nameWith(300)]).toEqual(['admin', 'admin', 'admin']);
  });

  it('have a name of their own for each mount, so that two dashboards of a host do not sign each other out', async () => {
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

  it('are not made larger than a browser keeps: the login fails, and the log says what to do', async () => {
    const roles = Array.from({ length: 32 }, (_, n) => `${'role'.repeat(15)}${n}`);
    app = await serveLogin({ strategies: [['admin', cheapHash(password), { roles }]] });
    // 32 long names, each under its limit, are about 2 KiB of a token; a name of many bytes makes the rest.
    const answer = await postForm(app.login, { username: 'admin', password });
    expect([303, 500]).toContain(answer.status);
    if (answer.status === 303) expect(answer.headers.getSetCookie()[0]?.split(';')[0]?.length).toBeLessThanOrEqual(4096);
  });

  it.each<[string, CookieOptions, RegExp]>([
    ["sameSite 'none' without secure: true", { sameSite: 'none' }, /needs cookie.secure: true/],
    ['a name with a prefix of its own', { name: '__Host-x' }, /cookie.name/],
    ['a name with a blank', { name: 'a b' }, /cookie.name/],
    ['a domain with a header in it', { domain: 'a\r\nSet-Cookie: x' }, /cookie.domain/],
    ['an unknown attribute', { httpOnly: false } as CookieOptions, /no option "httpOnly"/],
  ])('are refused at the start with %s', async (_case, cookie, message) => {
    await expect(serveLogin({ cookie })).rejects.toThrow(message);
  });

  it('warn once of a proxy that the app does not know of', async () => {
    await signIn({}, {}, https);
    await postForm(app.login, { username: 'admin', password }, https);
    expect(app.log.lines.filter(({ msg }) => String(msg).includes('app.proxy'))).toHaveLength(1);
  });
});
