import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import type { Auth } from '../../../src/auth/auth.js';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { requireAuth } from '../../../src/auth/require-auth.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { AuthStrategy, KnownUser } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { type Answer, ask, logIn, postForm, postJson } from '../../helpers/client.js';
import { quickTimers, turnableClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { recordingLogger } from '../../helpers/logs.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { seenAlive } from '../../helpers/quickest.js';
import { type Served, serve } from '../../helpers/serve.js';
import { everyStore } from '../../helpers/stores.js';
import { type OpenStream, openStream } from '../../helpers/stream.js';
import { promptly, waitFor } from '../../helpers/wait.js';

type Users = Parameters<typeof multiUser>[0];
const users: Users = [
  ['admin', cheapHash(password)],
  ['vera', cheapHash('three'), { roles: ['viewer'] }],
];
const keep = closeAfterEach();
const open: Served[] = [];
let log: ReturnType<typeof recordingLogger>;
let auth: Auth;

async function* silence(): AsyncGenerator<{ event: string; data: number }> {
  yield { event: 'first', data: 1 };
  await new Promise(() => {});
}

/**
 * Starts an app that answers with the signed-in user and has a stream at /stream. A second app on
 * the same store acts as another process.
 */
async function start(options: Partial<AuthOptions> = {}): Promise<string> {
  log = recordingLogger();
  auth = createAuth({
    strategies: users,
    secretKey,
    logger: log.logger,
    throttle: { floor: 0 },
    ...options,
  });
  const stream = sseStream(() => silence(), { access: auth, logger: false });
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx, next) => (ctx.path === '/stream' ? stream(ctx, next) : next()));
  app.use((ctx, next) => (ctx.path === '/page' ? requireAuth('redirect')(ctx, next) : next()));
  app.use((ctx) => {
    ctx.body = { name: ctx.state.session?.username ?? null };
  });
  const served = await serve(app);
  open.push(served);
  return served.url;
}

const nameAt = async (url: string, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(url, { headers })).json as { name: unknown }).name;
const sessionsOf = async (
  url: string,
  headers: Record<string, string>,
  query = '',
): Promise<Record<string, unknown>[]> =>
  (
    (await ask(`${url}/tasks/auth/sessions${query}`, { headers })).json as {
      items: Record<string, unknown>[];
    }
  ).items;
const end = (url: string, headers: Record<string, string>, rest = ''): Promise<Answer> =>
  ask(`${url}/tasks/auth/sessions${rest}`, { method: 'DELETE', headers });
const as = (url: string, name = 'admin', pass = password): Promise<{ cookie: string }> =>
  logIn(`${url}/tasks`, name, pass);

/** Shortens the interval at which a stream checks its session. */
const quickLooks = (): void => quickTimers('setInterval', 5000);

afterEach(async () => {
  jest.restoreAllMocks();
  jest.useRealTimers();
  await Promise.all(open.splice(0).map((served) => served.close()));
});

describe('auth/sessions', () => {
  it('lists the sessions of the user with times, address and browser, without tokens', async () => {
    const url = await start();
    const first = await as(url);
    await as(url, 'vera', 'three');
    const second = await postForm(
      `${url}/tasks/auth/login`,
      { username: 'admin', password },
      { 'User-Agent': 'Second/1.0' },
    );
    const items = await sessionsOf(url, first);
    expect(items).toHaveLength(2);
    const time = expect.stringMatching(/^\d{4}-.*Z$/);
    expect(items).toContainEqual({
      id: expect.stringMatching(/^[\w-]{22}$/),
      username: 'admin',
      strategy: 'default',
      startedAt: time,
      lastUsedAt: time,
      expiresAt: time,
      ip: '127.0.0.1',
      userAgent: 'Second/1.0',
      current: false,
    });
    expect(items.filter(({ current }) => current)).toHaveLength(1);
    expect(JSON.stringify(items)).not.toContain(second.cookie?.split('=')[1]);
  });

  it('ends one session and its stream in all processes within a second', async () => {
    const store = memoryStore();
    const url = await start({ store });
    const other = await start({ store });
    const [mine, lost] = [await as(url), await as(url)];
    const stream = await openStream(`${other}/stream`, lost);
    await waitFor(() => stream.events.length > 0);
    const found = (await sessionsOf(url, mine)).find(({ current }) => current === false);
    const started = Date.now();
    expect((await end(url, mine, `/${String(found?.id)}`)).status).toBe(204);
    await stream.ended;
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"revoked"}' });
    expect(await nameAt(other, lost)).toBeNull();
    expect(Date.now() - started).toBeLessThan(promptly * 1000);
    expect(await nameAt(url, mine)).toBe('admin');
    expect(await sessionsOf(url, mine)).toHaveLength(1);
    expect((await end(url, mine, '/nothing')).status).toBe(404);
  });

  it('ends all sessions of the user, but no later login and no other strategy', async () => {
    const strategies = new StrategyRegistry()
      .register('team', multiUser(users))
      .register('staff', multiUser([['admin', cheapHash('staff')]]));
    const url = await start({ strategies });
    const before = [await as(url), await as(url)];
    const namesake = await as(url, 'admin', 'staff');
    const answer = await end(url, before[0] ?? {});
    expect(answer.status).toBe(204);
    expect(answer.headers.getSetCookie()[0]).toMatch(/^taskflow_token=; .*Max-Age=0/);
    const after = await as(url);
    for (const session of before) expect(await nameAt(url, session)).toBeNull();
    expect(await nameAt(url, after)).toBe('admin');
    expect(await nameAt(url, namesake)).toBe('admin');
    expect(log.events('session_expired').at(-1)).toMatchObject({
      reason: 'logout_all',
      username: 'admin',
      strategy: 'team',
    });
  });

  it('does not report an expiry if the user ended the session', async () => {
    const { pass } = turnableClock();
    const url = await start({ tokenExpiry: 600 });
    for (const rest of ['', 'own']) {
      const entered = await postForm(`${url}/tasks/auth/login`, { username: 'admin', password });
      const [session = '', device = ''] = entered.headers
        .getSetCookie()
        .map((line) => line.split(';')[0] ?? '');
      const headers = { cookie: `${session}; ${device}` };
      const id =
        rest === ''
          ? ''
          : `/${String((await sessionsOf(url, headers)).find(({ current }) => current)?.id)}`;
      const answer = await end(url, headers, id);
      const kept =
        answer.headers.getSetCookie().find((line) => line.includes('_device=')) ?? device;
      pass(601);
      const notice = async (cookie: string): Promise<boolean> =>
        (await ask(`${url}/tasks/auth/login`, { headers: { cookie } })).text.includes(
          'has expired',
        );
      expect([await notice(device), await notice(kept.split(';')[0] ?? '')]).toEqual([true, false]);
    }
  });

  it('keeps a login that starts in the same millisecond as signing out everywhere', async () => {
    turnableClock();
    const url = await start();
    const before = await as(url);
    await end(url, before);
    const after = await as(url);
    expect([await nameAt(url, before), await nameAt(url, after)]).toEqual([null, 'admin']);
  });

  it('lets only an administrator see and end the sessions of other users', async () => {
    const url = await start();
    const [admin, vera] = [await as(url), await as(url, 'vera', 'three')];
    expect(await sessionsOf(url, admin, '?username=vera')).toMatchObject([{ username: 'vera' }]);
    const refused = await end(url, vera, '?username=admin');
    expect([refused.status, (refused.json as { code: string }).code]).toEqual([403, 'FORBIDDEN']);
    expect((await ask(`${url}/tasks/auth/sessions?username=admin`, { headers: vera })).status).toBe(
      403,
    );
    const own = (await sessionsOf(url, admin))[0];
    expect((await end(url, vera, `/${String(own?.id)}`)).status).toBe(404);
    expect((await end(url, admin, '?username=vera')).status).toBe(204);
    expect([await nameAt(url, admin), await nameAt(url, vera)]).toEqual(['admin', null]);
  });

  it('rejects cross-site requests and unknown parameters', async () => {
    const url = await start();
    const session = await as(url);
    const foreign = await ask(`${url}/tasks/auth/sessions`, {
      method: 'DELETE',
      headers: { ...session, 'Sec-Fetch-Site': 'same-site' },
    });
    expect([foreign.status, await nameAt(url, session)]).toEqual([403, 'admin']);
    for (const query of ['?user=x', '?username=', '?username=a&username=b', '?username=a%00'])
      expect([query, (await end(url, session, query)).status]).toEqual([query, 400]);
    expect((await ask(`${url}/tasks/auth/sessions`)).status).toBe(401);
  });
});

describe('maxSessions', () => {
  const signIn = async (url: string, strategy?: string): Promise<Record<string, string>> => {
    const { json } = await postJson(`${url}/tasks/auth/login`, {
      username: 'admin',
      password,
      ...(strategy && { strategy }),
    });
    return { Authorization: `Bearer ${(json as { token: string }).token}` };
  };

  it('ends the least recently used session and logs it', async () => {
    const { pass } = turnableClock();
    const url = await start({ maxSessions: 3 });
    const sessions = [];
    for (let n = 0; n < 3; n++) {
      sessions.push(await signIn(url));
      pass(100);
    }
    // The oldest session is used, so the second one is the least recently used.
    await nameAt(url, sessions[0] ?? {});
    pass(100);
    const fourth = await signIn(url);
    expect(await Promise.all([...sessions, fourth].map((session) => nameAt(url, session)))).toEqual(
      ['admin', null, 'admin', 'admin'],
    );
    expect(log.events('session_expired')).toMatchObject([
      { reason: 'max_sessions', username: 'admin', strategy: 'default' },
    ]);
  });

  it('counts each user of each strategy separately', async () => {
    const strategies = new StrategyRegistry()
      .register('team', multiUser(users))
      .register('staff', multiUser(users));
    const url = await start({ strategies, maxSessions: 1 });
    const [team, vera] = [await signIn(url, 'team'), await as(url, 'vera', 'three')];
    const staff = await signIn(url, 'staff');
    expect(await Promise.all([team, vera, staff].map((session) => nameAt(url, session)))).toEqual([
      'admin',
      'vera',
      'admin',
    ]);
  });

  it.each(everyStore)(
    'limits simultaneous logins of two processes: %s',
    async (_name, openStore) => {
      const views = keep(await openStore());
      const options = {
        maxSessions: 5,
        throttle: false,
        strategies: { authenticate_user: () => true },
      } as const;
      const urls = [
        await start({ ...options, store: views.one }),
        await start({ ...options, store: views.two }),
      ];
      const sessions = await Promise.all(
        Array.from({ length: 40 }, (_, n) => signIn(urls[n % 2] ?? '')),
      );
      const last = await signIn(urls[0] ?? '');
      const names = await waitFor(async () => {
        const found = await Promise.all(
          [...sessions, last].map((session) => nameAt(urls[0] ?? '', session)),
        );
        return found.filter((name) => name !== null).length <= 5 && found;
      });
      expect(names.at(-1)).toBe('admin');
      expect(await sessionsOf(urls[1] ?? '', last)).toHaveLength(5);
      // Ended sessions are removed from the store, so that the cost of a login does not grow.
      await waitFor(
        async () => (await views.one.list('auth:/tasks:session:', undefined, 100)).length === 5,
      );
    },
  );

  it('ends only one of two simultaneous logins', async () => {
    const store = memoryStore();
    let listed = 0;
    const meeting: SharedStore = {
      ...store,
      async set(key, value, ttl) {
        await store.set(key, value, ttl);
        if (key.includes(':session:')) listed += 1;
      },
      async list(prefix, after, limit) {
        if (prefix.includes(':session:')) await waitFor(() => listed >= 2);
        return store.list(prefix, after, limit);
      },
    };
    const url = await start({
      store: meeting,
      maxSessions: 1,
      throttle: false,
      strategies: { authenticate_user: () => true },
    });
    const sessions = await Promise.all([signIn(url), signIn(url)]);
    expect(sessions.map(({ Authorization }) => Authorization)).not.toContain('Bearer undefined');
    const names = await Promise.all(sessions.map((session) => nameAt(url, session)));
    expect(names.filter((name) => name !== null)).toEqual(['admin']);
  });

  it('is 100 by default, and the session list has pages', async () => {
    const url = await start({ throttle: false, strategies: { authenticate_user: () => true } });
    let session = await signIn(url);
    for (let n = 0; n < 11; n++)
      [session = {}] = await Promise.all(Array.from({ length: 10 }, () => signIn(url)));
    session = await signIn(url);
    const page = async (
      query: string,
    ): Promise<{ items: { id: string }[]; nextCursor: string | null }> =>
      (await ask(`${url}/tasks/auth/sessions${query}`, { headers: session })).json as never;
    const all = await page('');
    expect([all.items.length, all.nextCursor]).toEqual([100, null]);
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const next: { items: { id: string }[]; nextCursor: string | null } = await page(
        `?limit=33${cursor && `&cursor=${cursor}`}`,
      );
      seen.push(...next.items.map(({ id }) => id));
      cursor = next.nextCursor;
    }
    expect(seen).toEqual(all.items.map(({ id }) => id));
    for (const query of [
      '?limit=0',
      '?limit=501',
      '?limit=x',
      '?limit=1&limit=2',
      '?cursor=x',
      '?page=2',
    ])
      expect([
        query,
        (await ask(`${url}/tasks/auth/sessions${query}`, { headers: session })).status,
      ]).toEqual([query, 400]);
  });

  it.each([0, -1, 1.5, 10_001, '5'])('rejects %j', (maxSessions) => {
    expect(() => createAuth({ strategies: users, maxSessions: maxSessions as number })).toThrow(
      /maxSessions/,
    );
  });
});

describe('signOutEverywhere', () => {
  it('ends the sessions of a user in all processes', async () => {
    const store = memoryStore();
    const url = await start({ store });
    const other = auth;
    await start({ store });
    const session = await as(url);
    await auth.signOutEverywhere('default', 'admin');
    await waitFor(async () => (await nameAt(url, session)) === null, promptly);
    expect(other).not.toBe(auth);
  });
});

describe('a logout', () => {
  it('ends the Bearer token of the session and its stream in another process', async () => {
    const store = memoryStore();
    const url = await start({ store });
    const other = await start({ store });
    const session = await as(url);
    const bearer = { Authorization: `Bearer ${session.cookie.split('=')[1]}` };
    const stream = await openStream(`${other}/stream`, bearer);
    await waitFor(() => stream.events.length > 0);
    const started = Date.now();
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: session });
    await stream.ended;
    expect(Date.now() - started).toBeLessThan(promptly * 1000);
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"revoked"}' });
    expect([await nameAt(url, bearer), await nameAt(other, bearer)]).toEqual([null, null]);
  });

  it('ends the session in its process and answers 503 if the store does not answer', async () => {
    const store = memoryStore();
    const url = await start({
      store: {
        ...store,
        set: (key, value, ttl) =>
          key.includes('revoked') ? new Promise(() => {}) : store.set(key, value, ttl),
      },
    });
    const session = await as(url);
    const answer = await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: session });
    expect(answer.status).toBe(503);
    expect(await nameAt(url, session)).toBeNull();
  });

  it('ends every session that the request carries', async () => {
    const url = await start();
    const [one, other] = [await as(url), await as(url, 'vera', 'three')];
    const answer = await ask(`${url}/tasks/auth/logout`, {
      method: 'POST',
      headers: { Cookie: `${one.cookie}; ${other.cookie}` },
    });
    expect(answer.status).toBe(303);
    expect([await nameAt(url, one), await nameAt(url, other)]).toEqual([null, null]);
  });

  it('lasts across a restart with the same key and store', async () => {
    const store = memoryStore();
    const session = await as(await start({ store }));
    const url = await start({ store });
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: session });
    expect(await nameAt(await start({ store }), session)).toBeNull();
  });

  it('logs a warning once a minute if the token is used again', async () => {
    const url = await start();
    const session = await as(url);
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: session });
    for (let n = 0; n < 5; n++) await nameAt(url, session);
    expect(log.events('authn_token_reuse')).toMatchObject([{ level: 40, username: 'admin' }]);
  });
});

describe('a changed user', () => {
  const changing: Record<string, Users> = {
    'is removed': [['vera', cheapHash('three')]],
    'gets another password': [['admin', cheapHash('another')]],
    'gets other roles': [['admin', cheapHash(password), { roles: ['viewer'] }]],
  };

  it.each(Object.entries(changing))(
    'has no session after a restart if the user %s',
    async (_case, changed) => {
      const url = await start();
      const session = await as(url);
      expect(await nameAt(await start(), session)).toBe('admin');
      expect(await nameAt(await start({ strategies: changed }), session)).toBeNull();
    },
  );

  it('keeps a session across a restart only with the same plain password', async () => {
    const url = await start({ strategies: ['admin', 'a plain password'] });
    const session = await as(url, 'admin', 'a plain password');
    expect(await nameAt(await start({ strategies: ['admin', 'a plain password'] }), session)).toBe(
      'admin',
    );
    expect(
      await nameAt(await start({ strategies: ['admin', 'another password'] }), session),
    ).toBeNull();
  });

  it('has no session if the strategy is no longer registered', async () => {
    const url = await start({
      strategies: new StrategyRegistry().register('team', multiUser(users)),
    });
    const session = await as(url);
    expect(
      await nameAt(
        await start({ strategies: new StrategyRegistry().register('staff', multiUser(users)) }),
        session,
      ),
    ).toBeNull();
  });

  /** Makes a strategy with one user that the test can change. */
  const database = (row: {
    known: KnownUser | undefined;
    fails?: boolean;
    asked: number;
    sync?: boolean;
  }): AuthStrategy => ({
    authenticate_user: (name, given) => name === 'admin' && given === password,
    find_user() {
      row.asked += 1;
      if (row.fails) throw new Error('the database is down');
      return row.sync ? row.known : Promise.resolve(row.known);
    },
  });

  it('loses the session with the next request and its stream within seconds', async () => {
    quickLooks();
    const row = { known: { version: '1' } as KnownUser | undefined, asked: 0, sync: true };
    const url = await start({ strategies: database(row) });
    const session = await as(url);
    const stream = await openStream(`${url}/stream`, session);
    await waitFor(() => stream.events.length > 0);
    row.known = { version: '2' };
    expect(await nameAt(url, session)).toBeNull();
    await stream.ended;
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"revoked"}' });
    expect(log.events('session_expired')[0]).toMatchObject({
      reason: 'user_changed',
      username: 'admin',
    });
  });

  it('causes one call of an asynchronous find_user in 30 seconds', async () => {
    const { pass } = turnableClock();
    const row = { known: { version: '1' } as KnownUser | undefined, asked: 0 };
    const url = await start({ strategies: database(row) });
    const session = await as(url);
    const asked = row.asked;
    await Promise.all(Array.from({ length: 50 }, () => nameAt(url, session)));
    expect(row.asked).toBe(asked);
    row.known = undefined;
    pass(31);
    expect(await nameAt(url, session)).toBeNull();
  });

  it('keeps the session and gets 503 if find_user fails and no answer holds', async () => {
    const row = {
      known: { version: '1' } as KnownUser | undefined,
      asked: 0,
      fails: false,
      sync: true,
    };
    const url = await start({ strategies: { ...database(row), staleFor: 0 } });
    const session = await as(url);
    row.fails = true;
    const answer = await ask(url, { headers: session });
    expect([answer.status, (answer.json as { code: string }).code]).toEqual([
      503,
      'STORE_UNAVAILABLE',
    ]);
    row.fails = false;
    row.known = { version: 7 } as unknown as KnownUser;
    expect((await ask(url, { headers: session })).status).toBe(503);
    row.known = { version: '1' };
    expect(await nameAt(url, session)).toBe('admin');
  });

  it('does not prevent logins and logouts if find_user of a strategy fails', async () => {
    const row = {
      known: { version: '1' } as KnownUser | undefined,
      asked: 0,
      fails: false,
      sync: true,
    };
    const strategies = new StrategyRegistry()
      .register('directory', { ...database(row), staleFor: 0 })
      .register('static', multiUser(users.slice(1)));
    const url = await start({ strategies });
    const login = `${url}/tasks/auth/login`;
    const [first, second] = [await as(url), await as(url)];
    row.fails = true;
    expect((await ask(login, { headers: { ...first, Accept: 'text/html' } })).status).toBe(200);
    expect((await postForm(login, { username: 'vera', password: 'three' }, first)).status).toBe(
      303,
    );
    expect(
      (await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: second })).status,
    ).toBe(303);
    row.fails = false;
    expect([await nameAt(url, first), await nameAt(url, second)]).toEqual([null, null]);
  });

  it('gets no session if find_user does not know the accepted user', async () => {
    const url = await start({ strategies: database({ known: undefined, asked: 0 }) });
    expect(
      (await postJson(`${url}/tasks/auth/login`, { username: 'admin', password })).status,
    ).toBe(401);
    expect(log.events('authn_strategy_error')[0]).toMatchObject({ level: 50, strategy: 'default' });
  });
});

describe('a change of keys', () => {
  const next = 'another-secret-key-of-the-tests-0123456789';

  it('keeps all sessions until the old key is removed from the list', async () => {
    const session = await as(await start());
    const rotated = await start({ secretKey: [next, secretKey] });
    expect(await nameAt(rotated, session)).toBe('admin');
    const newer = await as(rotated);
    expect(await nameAt(await start(), newer)).toBeNull();
    const done = await start({ secretKey: next });
    expect([await nameAt(done, session), await nameAt(done, newer)]).toEqual([null, 'admin']);
  });
});

describe('idleTimeout', () => {
  let url: string;
  let pass: (seconds: number) => void;
  const page = { Accept: 'text/html' };
  const cookieAfter = async (
    session: { cookie: string },
    init: RequestInit = {},
    path = '/',
  ): Promise<{ cookie: string }> => {
    const answer = await ask(url + path, {
      ...init,
      headers: { ...session, ...(init.headers as object) },
    });
    return answer.cookie?.startsWith('taskflow_token=') ? { cookie: answer.cookie } : session;
  };

  beforeEach(async () => {
    ({ pass } = turnableClock());
    url = await start({ idleTimeout: 600, tokenExpiry: 3600 });
  });

  it('ends a session without requests, and its cookie', async () => {
    const answer = await postForm(`${url}/tasks/auth/login`, { username: 'admin', password });
    expect(answer.headers.getSetCookie()[0]).toContain('Max-Age=600;');
    const session = { cookie: answer.cookie ?? '' };
    pass(599);
    expect(await nameAt(url, session)).toBe('admin');
    pass(1);
    expect(await nameAt(url, session)).toBeNull();
  });

  it('restarts at most once a minute when the user opens a page or makes a change', async () => {
    const first = await as(url);
    pass(30);
    expect(await cookieAfter(first, { headers: page })).toEqual(first);
    pass(31);
    const second = await cookieAfter(first, { headers: page });
    expect(second).not.toEqual(first);
    pass(599);
    const third = await cookieAfter(second, {
      method: 'POST',
      headers: { 'Sec-Fetch-Site': 'same-origin' },
    });
    expect(third).not.toEqual(second);
    pass(599);
    expect(await nameAt(url, third)).toBe('admin');
    expect(await sessionsOf(url, third)).toHaveLength(1);
    const claims = ({ cookie }: { cookie: string }): Record<string, unknown> =>
      JSON.parse(Buffer.from(cookie.split('.')[1] ?? '', 'base64url').toString());
    expect([claims(third).jti, claims(third).auth_time]).toEqual([
      claims(first).jti,
      claims(first).auth_time,
    ]);
  });

  it('does not restart on background requests, cross-site requests or Bearer tokens', async () => {
    const session = await as(url);
    pass(120);
    for (const headers of [
      { Accept: '*/*' },
      { Accept: 'text/event-stream' },
      { Accept: 'text/html', 'Sec-Fetch-Dest': 'empty' },
      { Accept: 'text/html', 'Sec-Fetch-Dest': 'image' },
    ])
      expect(await cookieAfter(session, { headers })).toEqual(session);
    expect(
      await cookieAfter(session, { method: 'POST', headers: { 'Sec-Fetch-Site': 'cross-site' } }),
    ).toEqual(session);
    const bearer = { Authorization: `Bearer ${session.cookie.split('=')[1]}`, Accept: 'text/html' };
    expect((await ask(url, { headers: bearer })).headers.getSetCookie()).toEqual([]);
  });

  it('never extends a session beyond tokenExpiry', async () => {
    let session = await as(url);
    for (let n = 0; n < 7; n++) {
      pass(500);
      session = await cookieAfter(session, { headers: page });
    }
    expect(await nameAt(url, session)).toBe('admin');
    pass(99);
    session = await cookieAfter(session, { headers: page });
    expect(await nameAt(url, session)).toBe('admin');
    pass(1);
    expect(await nameAt(url, session)).toBeNull();
  });

  it('does not let a renewed token survive a logout', async () => {
    const store = memoryStore();
    url = await start({ store, idleTimeout: 600, tokenExpiry: 3600 });
    const first = await as(url);
    pass(61);
    const second = await cookieAfter(first, { headers: page });
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: first });
    pass(590);
    expect(await nameAt(url, second)).toBeNull();
    // A process that starts later knows the logout from the store alone.
    expect(
      await nameAt(await start({ store, idleTimeout: 600, tokenExpiry: 3600 }), second),
    ).toBeNull();
  });

  it('applies to sessions that started before it was set', async () => {
    const session = await as(await start({ tokenExpiry: 3600 }));
    url = await start({ idleTimeout: 60, tokenExpiry: 3600 });
    pass(59);
    expect(await nameAt(url, session)).toBe('admin');
    pass(1);
    expect(await nameAt(url, session)).toBeNull();
  });
});

describe('a stream', () => {
  it('ends with a reason when its session expires', async () => {
    let stream: OpenStream | undefined;
    await seenAlive(async (tokenExpiry) => {
      const url = await start({ tokenExpiry });
      stream = await openStream(`${url}/stream`, await as(url));
      return stream.status === 200;
    });
    await stream?.ended;
    expect(stream?.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"expired"}' });
  });

  it('continues if another process has renewed the session', async () => {
    const store = memoryStore();
    const url = await start({ store, idleTimeout: 3 });
    const other = await start({ store, idleTimeout: 3 });
    const session = await as(url);
    const stream = await openStream(`${url}/stream`, session);
    const [record] = await sessionsOf(other, session);
    const key = `auth:/tasks:session:admin:default:${String(record?.id)}`;
    const kept = (await store.get(key)) as { expiresAt: number };
    await store.set(key, { ...kept, expiresAt: kept.expiresAt + 3000 }, 60);
    let ended = false;
    void stream.ended.then(() => {
      ended = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 3300));
    expect(ended).toBe(false);
    await stream.ended;
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"expired"}' });
  });

  it('of a session that lasts thirty days stays open', async () => {
    const timers = jest.spyOn(globalThis, 'setTimeout');
    const url = await start({ tokenExpiry: 30 * 86_400 });
    const stream = await openStream(`${url}/stream`, await as(url));
    await waitFor(() => stream.events.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(stream.of('session')).toEqual([]);
    // Node fires a timer of more than 2^31 - 1 ms immediately.
    expect(Math.max(...timers.mock.calls.map(([, delay]) => Number(delay ?? 0)))).toBe(2 ** 31 - 1);
    timers.mockRestore();
    stream.close();
  });

  it('ends without a reason if the store cannot say whether the session is valid', async () => {
    quickLooks();
    const store = memoryStore();
    let fails = false;
    const failing: SharedStore = {
      ...store,
      async *watch(prefix, signal) {
        for await (const entries of store.watch(prefix, signal)) {
          if (fails) throw new Error('down');
          yield entries;
        }
        if (fails) throw new Error('down');
      },
    };
    const url = await start({ store: failing });
    const stream = await openStream(`${url}/stream`, await as(url));
    await waitFor(() => stream.events.length > 0);
    fails = true;
    await store.set('auth:/tasks:revoked:id:somebody-else', 0, 60);
    await stream.ended;
    expect(stream.of('session')).toEqual([]);
  });
});

describe('the list of revocations', () => {
  it('holds a hundred thousand entries in 32 MiB and drops each when it expires', async () => {
    turnableClock();
    const { followRevocations } = await import('../../../src/auth/sessions/revocations.js');
    // The memory of the store itself is not measured.
    const store: SharedStore = { ...memoryStore(), set: async () => {} };
    const revocations = followRevocations({
      store,
      prefix: 'revoked:',
      tokenExpiry: 3600,
      now: Date.now,
    });
    await revocations.ready();
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    const session = (n: number) => ({
      id: `session-${n}-0123456789abcdef`,
      username: 'admin',
      strategy: 'team',
      roles: [],
      issuedAt: new Date(),
      expiresAt: new Date(Date.now() + 3_600_000),
      authenticatedAt: new Date(),
    });
    const first = session(0);
    for (let n = 0; n < 100_000; n++) await revocations.end(session(n).id, session(n).expiresAt);
    globalThis.gc?.();
    expect((process.memoryUsage().heapUsed - before) / 2 ** 20).toBeLessThan(32);
    jest.setSystemTime(Date.now() + 3_599_999);
    await revocations.end('another-0123456789', new Date(Date.now() + 600_000));
    expect(revocations.has(first, 0)).toBe(true);
    jest.setSystemTime(Date.now() + 120_000);
    await revocations.end('a-third-0123456789', new Date(Date.now() + 600_000));
    await waitFor(() => !revocations.has(first, 0));
  });
});
