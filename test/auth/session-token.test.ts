import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { sessionOf, sessionToken } from '../../src/auth/session-token.js';
import { memoryStore } from '../../src/store/memory-store.js';
import type { SharedStore } from '../../src/store/shared-store.js';
import { ask, logIn, postJson } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { quickest, seenAlive } from '../helpers/quickest.js';
import { type Served, serve } from '../helpers/serve.js';
import { sleep } from '../helpers/wait.js';

const users: AuthOptions['strategies'] = [
  ['admin', cheapHash(password)],
  ['bob', cheapHash('two')],
];
let served: Served | undefined;

async function appWith(
  options: Partial<AuthOptions> = {},
  { proxy = false } = {},
): Promise<string> {
  const auth = createAuth({ strategies: users, secretKey, logger: false, ...options });
  const app = new Koa({ proxy });
  app.use(sessionToken(auth));
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx) => {
    ctx.body = { name: ctx.state.session?.username ?? null };
  });
  served = await serve(app);
  return served.url;
}

const nameAt = async (url: string, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(url, { headers })).json as { name: unknown }).name;

/** Signs in on an app with a working store. The token is valid in all apps with the same key. */
async function tokenOfBob(): Promise<string> {
  const url = await appWith();
  const { json } = await postJson(`${url}/tasks/auth/login`, { username: 'bob', password: 'two' });
  await served?.close();
  return (json as { token: string }).token;
}

describe('sessionToken', () => {
  afterEach(() => served?.close());

  it('reads the session from the cookie', async () => {
    const url = await appWith();
    expect(await nameAt(url, await logIn(`${url}/tasks`))).toBe('admin');
    expect(await nameAt(url, {})).toBeNull();
  });

  it('reads the session from a Bearer token, with the scheme in any case', async () => {
    const url = await appWith();
    const { token } = (
      await postJson(`${url}/tasks/auth/login`, { username: 'bob', password: 'two' })
    ).json as { token: string };
    expect(await nameAt(url, { Authorization: `Bearer ${token}` })).toBe('bob');
    expect(await nameAt(url, { Authorization: `bearer ${token}` })).toBe('bob');
  });

  it('prefers a Bearer token of this login to the cookie, even if it is invalid', async () => {
    const url = await appWith();
    const cookie = await logIn(`${url}/tasks`);
    const [header] = cookie.cookie.slice(cookie.cookie.indexOf('=') + 1).split('.');
    expect(await nameAt(url, { ...cookie, Authorization: `Bearer ${header}.y.z` })).toBeNull();
    expect(await nameAt(url, { ...cookie, Authorization: 'Bearer x.y.z' })).toBe('admin');
    expect(await nameAt(url, { ...cookie, Authorization: 'Bearer' })).toBeNull();
    expect(await nameAt(url, { ...cookie, Authorization: 'Basic YTpi' })).toBe('admin');
  });

  it('reads tokens from no other place', async () => {
    const url = await appWith();
    const { token } = (
      await postJson(`${url}/tasks/auth/login`, { username: 'bob', password: 'two' })
    ).json as { token: string };
    expect(await nameAt(`${url}/?access_token=${token}`, { 'X-Auth-Token': token })).toBeNull();
  });

  it('ignores a stale cookie, and rejects two valid cookies of different sessions', async () => {
    const url = await appWith();
    const { cookie: first } = await logIn(`${url}/tasks`);
    const { cookie: second } = await logIn(`${url}/tasks`, 'bob', 'two');
    expect(await nameAt(url, { cookie: `taskflow_token=stale; ${first}` })).toBe('admin');
    expect(await nameAt(url, { cookie: `${first}; ${first}` })).toBe('admin');
    expect(await nameAt(url, { cookie: `${first}; ${second}` })).toBeNull();
    expect(await nameAt(url, { cookie: `${second}; ${first}` })).toBeNull();
  });

  it('rejects a session of another mount with the same key', async () => {
    const url = await appWith();
    const { token } = (
      await postJson(`${url}/tasks/auth/login`, { username: 'bob', password: 'two' })
    ).json as { token: string };
    await served?.close();
    const other = await appWith({ path: '/admin/jobs' });
    expect(await nameAt(other, { Authorization: `Bearer ${token}` })).toBeNull();
  });

  it('ends a session in every app on the same store after a logout', async () => {
    const store = memoryStore();
    const first = await appWith({ store });
    const one = served;
    const second = await appWith({ store });
    const session = await logIn(`${first}/tasks`);
    expect(await nameAt(second, session)).toBe('admin');
    await ask(`${first}/tasks/auth/logout`, { headers: session });
    expect(await nameAt(first, session)).toBeNull();
    expect(await nameAt(second, session)).toBeNull();
    await one?.close();
  });

  it('answers 503 if the store cannot say whether a session was revoked', async () => {
    const broken: SharedStore = {
      ...memoryStore(),
      // biome-ignore lint/correctness/useYield: this store fails before its first list.
      async *watch() {
        throw new Error('down');
      },
    };
    const token = await tokenOfBob();
    const url = await appWith({ store: broken });
    const answer = await ask(url, { headers: { Authorization: `Bearer ${token}` } });
    expect([answer.status, (answer.json as { code: string }).code]).toEqual([
      503,
      'STORE_UNAVAILABLE',
    ]);
    expect(await nameAt(url, {})).toBeNull();
  });

  const never = (): Promise<never> => new Promise(() => {});
  it.each<[string, Partial<SharedStore>]>([
    ['changes', { watch: () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }) }],
    ['owner', { claim: () => never }],
  ])('answers 503 within two seconds if the store does not return its %s', async (_what, hangs) => {
    const hanging = { ...memoryStore(), ...hangs };
    const token = await tokenOfBob();
    const took = await quickest(2000, async () => {
      await served?.close();
      const url = await appWith({ store: hanging });
      expect((await ask(url, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(503);
    });
    expect(took).toBeLessThan(2000);
  });

  it('rejects a session that has expired', async () => {
    let [url, session]: [string, Record<string, string>] = ['', {}];
    const life = await seenAlive(async (tokenExpiry) => {
      await served?.close();
      url = await appWith({ tokenExpiry });
      session = await logIn(`${url}/tasks`);
      return (await nameAt(url, session)) === 'admin';
    });
    await sleep(life + 0.05);
    expect(await nameAt(url, session)).toBeNull();
  });
});

describe('the session cookie', () => {
  afterEach(() => served?.close());

  const setCookie = async (
    url: string,
    headers: Record<string, string> = {},
    path = '/tasks',
  ): Promise<string | undefined> =>
    (
      await ask(`${url}${path}/auth/login`, {
        method: 'POST',
        body: new URLSearchParams({ username: 'admin', password }),
        headers,
      })
    ).headers.getSetCookie()[0];

  it('is HttpOnly and Lax, covers the whole host and lasts as long as the session', async () => {
    expect(await setCookie(await appWith({ tokenExpiry: 3600 }))).toMatch(
      /^taskflow_token=[\w.-]+; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/,
    );
  });

  it('is Secure and bound to the host behind a TLS proxy that the app trusts', async () => {
    const url = await appWith({}, { proxy: true });
    expect(await setCookie(url, { 'X-Forwarded-Proto': 'https' })).toMatch(
      /^__Host-taskflow_token=[\w.-]+; Path=\/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure$/,
    );
  });

  it('ignores X-Forwarded-Proto without app.proxy', async () => {
    expect(await setCookie(await appWith(), { 'X-Forwarded-Proto': 'https' })).not.toContain(
      'Secure',
    );
  });

  it('can be Secure over a plain socket for a proxy that the app does not know', async () => {
    expect(await setCookie(await appWith({ cookie: { secure: true } }))).toMatch(
      /^__Host-.*; Secure$/,
    );
  });

  it('has a separate name for each mount', async () => {
    expect(await setCookie(await appWith({ path: '/admin/jobs' }), {}, '/admin/jobs')).toMatch(
      /^taskflow_token_[0-9a-f]{8}=/,
    );
  });
});

describe('sessionOf', () => {
  it('answers 401 if the request has no session', async () => {
    const app = new Koa();
    app.use(sessionToken(createAuth({ strategies: users, secretKey, logger: false })));
    app.use((ctx) => {
      ctx.body = sessionOf(ctx).username;
    });
    const { url, close } = await serve(app);
    expect((await fetch(url)).status).toBe(401);
    await close();
  });

  it('throws INTERNAL if no sessionToken has read the request', () => {
    for (const ctx of [{ state: {} }, { state: {}, req: {} }])
      expect(() => sessionOf(ctx)).toThrow(
        expect.objectContaining({ code: 'INTERNAL', status: 500 }),
      );
  });

  it.each([undefined, null, {}, () => 1])('throws INVALID_INPUT if the context is %p', (ctx) => {
    expect(() => sessionOf(ctx as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' }),
    );
  });
});
