import { afterEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import { type Auth, internalsOf } from '../../../src/auth/auth.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { requireAuth } from '../../../src/auth/require-auth.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { KnownUser, RequestStrategy } from '../../../src/auth/strategies/strategy.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { serveAdmin } from '../../helpers/admin-app.js';
import { ask, logIn, postJson } from '../../helpers/client.js';
import { heldTimers, quickTimers, steadyClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { recordingLogger } from '../../helpers/logs.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { serve } from '../../helpers/serve.js';
import { openStream } from '../../helpers/stream.js';
import { waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();

type Answer = ReturnType<RequestStrategy['authenticate_request']>;
type Extras = Partial<Omit<RequestStrategy, 'authenticate_request'>>;

/** Makes a strategy that identifies the user named by the header `X-User`. */
function header(
  verdictOf: (username: string) => Answer = (username) => ({ ok: true, username }),
  extras: Extras = {},
): RequestStrategy {
  return {
    ambient: true,
    ...extras,
    authenticate_request(ctx) {
      const username = ctx.get('X-User');
      return username === '' ? undefined : verdictOf(username);
    },
  };
}

/** Makes a strategy whose users send a Bearer token that begins with `tf_`. */
function tokens(verdictOf: () => Answer, extras: Extras = {}): RequestStrategy {
  return {
    ambient: false,
    ...extras,
    ownsBearer: (value) => value.startsWith('tf_'),
    authenticate_request: (ctx) => (ctx.get('Authorization') === '' ? undefined : verdictOf()),
  };
}

async function* silence(): AsyncGenerator<{ event: string; data: number }> {
  yield { event: 'first', data: 1 };
  await new Promise(() => {});
}

interface App {
  url: string;
  auth: Auth;
  log: ReturnType<typeof recordingLogger>;
  /** Resolves to the name and the strategy of the user of a request. */
  who(headers?: Record<string, string>): Promise<unknown>;
}

/** Serves an app whose users also sign in with a password, as `admin` and `vera`. */
async function start(
  strategies: Record<string, RequestStrategy>,
  registry = new StrategyRegistry({ timeLimit: 0.2 }),
): Promise<App> {
  const log = recordingLogger();
  for (const [name, strategy] of Object.entries(strategies)) registry.register(name, strategy);
  registry.register(
    'local',
    multiUser([
      ['admin', cheapHash(password)],
      ['vera', cheapHash('three'), { roles: [] }],
    ]),
  );
  const auth = createAuth({ strategies: registry, secretKey, logger: log.logger });
  const stream = sseStream(() => silence(), { access: auth, logger: false });
  const guard = requireAuth('401');
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx, next) => (ctx.path === '/stream' ? stream(ctx, next) : next()));
  app.use((ctx, next) => (ctx.path === '/guarded' ? guard(ctx, next) : next()));
  app.use((ctx) => {
    ctx.body = { session: ctx.state.session ?? null };
  });
  const { url } = keep(await serve(app));
  return {
    ...{ url, auth, log },
    async who(headers = {}) {
      const { status, json } = await ask(url, { headers });
      const { session } = json as { session: { username: string; strategy: string } | null };
      if (status !== 200) return status;
      return session && [session.strategy, session.username];
    },
  };
}

/** Returns the log lines about failed strategies, without their stacks. */
const errorsOf = ({ log }: App): unknown[] =>
  log.events('authn_strategy_error').filter(({ level }) => level === 50);

const crossSite = { 'Sec-Fetch-Site': 'cross-site' };
const bearer = { Authorization: 'Bearer tf_one' };

afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

describe('a request strategy', () => {
  it('is asked in the order of registration, before the cookie, until one decides', async () => {
    const asked: string[] = [];
    const strategy = (name: string, decides: string): RequestStrategy =>
      header((username) => {
        asked.push(name);
        return username === decides ? { ok: true, username } : undefined;
      });
    const app = await start({ one: strategy('one', 'first'), two: strategy('two', 'second') });
    const session = await logIn(`${app.url}/tasks`);
    expect(await app.who({ ...session, 'X-User': 'first' })).toEqual(['one', 'first']);
    expect(asked.splice(0)).toEqual(['one']);
    expect(await app.who({ ...session, 'X-User': 'second' })).toEqual(['two', 'second']);
    expect(asked.splice(0)).toEqual(['one', 'two']);
    expect(await app.who({ ...session, 'X-User': 'third' })).toEqual(['local', 'admin']);
    expect(await app.who(session)).toEqual(['local', 'admin']);
    expect(await app.who({ 'X-User': 'third' })).toBeNull();
  });

  it.each([
    ['false', false],
    ['a reason', { ok: false, reason: 'locked' }],
    ['a promise of false', Promise.resolve(false)],
  ] as const)(
    'makes the request anonymous with %s, whatever its cookie says',
    async (_, verdict) => {
      const app = await start({ proxy: header(() => verdict) });
      const session = await logIn(`${app.url}/tasks`);
      expect(await app.who({ ...session, 'X-User': 'alice' })).toBeNull();
      expect(
        (await ask(`${app.url}/guarded`, { headers: { ...session, 'X-User': 'a' } })).status,
      ).toBe(401);
      expect(await app.who(session)).toEqual(['local', 'admin']);
    },
  );

  it('logs the reason of a rejection once a minute', async () => {
    const { pass } = steadyClock();
    const app = await start({ proxy: header(() => ({ ok: false, reason: 'locked' })) });
    for (const after of [0, 0, 61]) {
      pass(after);
      await app.who({ 'X-User': 'alice' });
    }
    expect(app.log.events('authn_request_rejected')).toEqual([
      expect.objectContaining({ strategy: 'proxy', reason: 'locked', level: 40, path: '/' }),
      expect.objectContaining({ strategy: 'proxy', reason: 'locked' }),
    ]);
  });

  it('is not asked if a Bearer token of this login or of another strategy decides', async () => {
    const asked: string[] = [];
    const proxy = header((username) => {
      asked.push(username);
      return { ok: true, username };
    });
    let verdict: Answer = { ok: true, username: 'script' };
    const app = await start({ proxy, tokens: tokens(() => verdict) });
    const { json } = await postJson(`${app.url}/tasks/auth/login`, { username: 'admin', password });
    const { token } = json as { token: string };
    const session = await logIn(`${app.url}/tasks`);
    const sent = { ...session, 'X-User': 'alice' };
    asked.splice(0);
    expect(await app.who({ ...sent, Authorization: `Bearer ${token}` })).toEqual([
      'local',
      'admin',
    ]);
    expect(await app.who({ ...sent, Authorization: `Bearer ${token}x` })).toBeNull();
    expect(await app.who({ ...sent, Authorization: 'Bearer' })).toBeNull();
    expect(await app.who({ ...sent, ...bearer })).toEqual(['tokens', 'script']);
    for (verdict of [false, undefined]) expect(await app.who({ ...sent, ...bearer })).toBeNull();
    expect(asked).toEqual([]);
    expect(await app.who({ ...sent, Authorization: 'Bearer other' })).toEqual(['proxy', 'alice']);
  });

  it.each<[string, () => Answer]>([
    [
      'throws',
      () => {
        throw new Error('down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('down'))],
    ['does not answer', () => new Promise<never>(() => {})],
    ['answers true without a name', () => true],
    ['answers null', () => null as never],
    [
      'answers roles that are no list',
      () => ({ ok: true, username: 'a', roles: 'admin' as never }),
    ],
    ['has a find_user that fails', () => ({ ok: true, username: 'fails' })],
  ])('gets 503 for its requests and one log line a minute if it %s', async (_, verdict) => {
    const { pass } = steadyClock();
    const find_user = (username: string): KnownUser => {
      if (username === 'fails') throw new Error('down');
      return { version: '1' };
    };
    const app = await start({ proxy: header(verdict, { find_user }) });
    const session = await logIn(`${app.url}/tasks`);
    const sent = { ...session, 'X-User': 'alice' };
    expect(await app.who(sent)).toBe(503);
    expect(await app.who(sent)).toBe(503);
    const lines = (): unknown[] => errorsOf(app);
    expect(lines()).toEqual([expect.objectContaining({ strategy: 'proxy' })]);
    pass(61);
    expect(await app.who(sent)).toBe(503);
    expect(lines()).toHaveLength(2);
    expect(app.log.text()).not.toContain('request failed');
    expect((await ask(`${app.url}/tasks/auth/login`, { headers: sent })).status).toBe(200);
    expect(
      (await ask(`${app.url}/tasks/auth/logout`, { headers: sent })).headers.get('Location'),
    ).toBe('/tasks/auth/login');
    expect(await app.who(session)).toBeNull();
  });

  it('keeps the token of a request out of the log', async () => {
    const fails = tokens(() => {
      throw new Error('the look-up of tf_one failed');
    });
    const app = await start({ tokens: fails });
    expect(await app.who(bearer)).toBe(503);
    expect(app.log.text()).not.toContain('tf_one');
  });

  it('answers without a promise if the strategies do', async () => {
    const seen: string[] = [];
    const registry = new StrategyRegistry().register('proxy', header());
    const read = sessionToken(createAuth({ strategies: registry, secretKey, logger: false }));
    const app = new Koa();
    app.use((ctx) => {
      const done = read(ctx, async () => void seen.push('next'));
      seen.push('after');
      ctx.body = '';
      return done;
    });
    const { url } = keep(await serve(app));
    await ask(url, { headers: { 'X-User': 'alice' } });
    expect(seen).toEqual(['next', 'after']);
  });

  it('gives its context the address, the id and a signal that aborts', async () => {
    const seen: unknown[] = [];
    const strategy: RequestStrategy = {
      ambient: true,
      authenticate_request(_ctx, { ip, requestId, signal }) {
        seen.push(ip, requestId);
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            seen.push('aborted');
            reject(signal.reason as Error);
          });
        });
      },
    };
    const app = await start({ strategy });
    expect(await app.who({ 'X-Request-Id': 'request-1' })).toBe(503);
    expect(seen).toEqual(['127.0.0.1', 'request-1', 'aborted']);
    expect(errorsOf(app)).toEqual([
      expect.objectContaining({ strategy: 'strategy', timeout: true }),
    ]);
  });

  it('must say whether its proof is ambient', () => {
    const { ambient: _, ...strategy } = header();
    expect(() => new StrategyRegistry().register('proxy', strategy as RequestStrategy)).toThrow(
      "ambient of strategy 'proxy' is undefined; it must be true or false",
    );
  });
});

describe('the identity of a request', () => {
  it('has the shape of a session and opens none', async () => {
    const app = await start({ proxy: header() });
    const before = Date.now();
    const answer = await ask(app.url, { headers: { 'X-User': 'alice' } });
    const { session } = answer.json as { session: Record<string, string> };
    expect(session).toEqual({
      id: 'request:proxy:alice',
      username: 'alice',
      strategy: 'proxy',
      roles: [],
      issuedAt: expect.any(String),
      authenticatedAt: session.issuedAt,
      expiresAt: new Date(Date.parse(session.issuedAt ?? '') + 60_000).toISOString(),
    });
    expect(Date.parse(session.issuedAt ?? '')).toBeGreaterThanOrEqual(before);
    expect(answer.headers.getSetCookie()).toEqual([]);
    const admin = await logIn(`${app.url}/tasks`);
    const list = await ask(`${app.url}/tasks/auth/sessions?username=alice`, { headers: admin });
    expect(list.json).toEqual({ items: [], nextCursor: null });
    expect((await ask(`${app.url}/tasks/auth/login`, { headers: admin })).text).not.toContain(
      'proxy',
    );
  });

  it('needs a promise only until find_user has answered', async () => {
    const strategies = new StrategyRegistry().register(
      'proxy',
      header(undefined, { find_user: async () => ({ version: '1', roles: ['viewer'] }) }),
    );
    const { reader } = internalsOf(createAuth({ strategies, secretKey, logger: false }));
    const app = new Koa();
    app.use(async (ctx) => {
      const session = reader.of(ctx);
      const isPromise = session instanceof Promise;
      ctx.body = { isPromise, roles: (await session)?.roles };
    });
    const { url } = keep(await serve(app));
    const answer = async () => (await ask(url, { headers: { 'X-User': 'ann' } })).json;
    expect(await answer()).toEqual({ isPromise: true, roles: ['viewer'] });
    expect(await answer()).toEqual({ isPromise: false, roles: ['viewer'] });
  });

  it('has the roles of find_user, and needs a user that find_user knows', async () => {
    const users: Record<string, KnownUser> = {
      alice: { version: '1', roles: ['operator'] },
      bob: { version: '1' },
    };
    const find = header((username) => ({ ok: true, username, roles: ['viewer'] }), {
      find_user: (username) => Promise.resolve(users[username]),
    });
    const app = await start({ proxy: find });
    const rolesOf = async (name: string): Promise<unknown> => {
      const { json } = await ask(app.url, { headers: { 'X-User': name } });
      return (json as { session: { roles: unknown } | null }).session?.roles;
    };
    expect([await rolesOf('alice'), await rolesOf('bob')]).toEqual([['operator'], ['viewer']]);
    expect(await rolesOf('carol')).toBeUndefined();
    expect(app.log.events('authn_request_rejected')).toEqual([
      expect.objectContaining({ reason: 'unknown_user' }),
    ]);
  });

  it.each([
    ['refused if the proof is ambient', header(), { 'X-User': 'alice' }, 403, 403],
    [
      'accepted if a script added the proof',
      tokens(() => ({ ok: true, username: 'a' })),
      bearer,
      200,
      200,
    ],
    [
      'refused for a foreign Bearer token beside it',
      header(),
      { 'X-User': 'a', Authorization: 'Bearer x' },
      403,
      403,
    ],
  ] as const)('makes requests of another site %s', async (_, strategy, sent, post, read) => {
    const app = await start({ strategy });
    const headers = { ...sent, ...crossSite };
    expect((await ask(`${app.url}/guarded`, { method: 'POST', headers })).status).toBe(post);
    const stream = await openStream(`${app.url}/stream`, headers);
    expect(stream.status).toBe(read);
    stream.close();
    expect((await ask(`${app.url}/tasks/auth/session`, { headers })).status).toBe(read);
  });

  it('can be read at auth/session, and has no sessions to list or to end', async () => {
    const app = await start({
      proxy: header((username) => ({ ok: true, username, roles: ['admin'] })),
      tokens: tokens(() => ({ ok: true, username: 'script', roles: ['admin'] })),
    });
    await logIn(`${app.url}/tasks`, 'vera', 'three');
    const route = async (sent: Record<string, string>, path: string, method = 'GET') => {
      const { status, json } = await ask(`${app.url}/tasks/auth/${path}`, {
        method,
        headers: sent,
      });
      return [status, (json as { detail?: string } | undefined)?.detail];
    };
    const alice = { 'X-User': 'alice' };
    const own = [
      403,
      "You have no sessions here, because 'proxy' identifies each of your requests.",
    ];
    expect(await route(alice, 'session')).toEqual([200, undefined]);
    expect(await route(alice, 'sessions')).toEqual(own);
    expect(await route(alice, 'sessions', 'DELETE')).toEqual(own);
    expect(await route(alice, 'sessions/abcdefghijklmnopqrstuv', 'DELETE')).toEqual(own);
    expect(await route(alice, 'sessions?username=alice&strategy=proxy')).toEqual(own);
    expect(await route(alice, 'sessions?username=vera')).toEqual([200, undefined]);
    expect(await route(alice, 'sessions?username=vera', 'DELETE')).toEqual([204, undefined]);
    const token = [
      403,
      "Requests that 'tokens' identifies cannot list or end sessions. Sign in to do this.",
    ];
    expect(await route(bearer, 'session')).toEqual([200, undefined]);
    expect(await route(bearer, 'sessions?username=vera')).toEqual(token);
    expect(await route(bearer, 'sessions?username=vera', 'DELETE')).toEqual(token);
  });

  it.each([
    ['leads to logoutUrl by a page', '/oauth2/sign_out', [302, '/tasks/auth/signed-out']],
    ['says that the proxy decides', undefined, [403, null]],
  ] as const)('has no logout: the sign-out ends the cookie and %s', async (_, logoutUrl, seen) => {
    const app = await start({ proxy: header(undefined, { logoutUrl }) });
    const session = await logIn(`${app.url}/tasks`);
    const headers = { ...session, 'X-User': 'alice', Accept: 'text/html' };
    const logout = `${app.url}/tasks/auth/logout`;
    const answer = await ask(logout, { headers });
    expect([answer.status, answer.headers.get('Location')]).toEqual(seen);
    expect(answer.cookie).toBe('taskflow_token=');
    expect(await app.who(session)).toBeNull();
    const text = 'A proxy in front of this site decides who is signed in, so sign out there';
    if (logoutUrl === undefined) expect(answer.text).toContain(text);
    const script = { method: 'POST', headers: { 'X-User': 'alice', Accept: 'application/json' } };
    const refused = await ask(logout, script);
    expect([refused.status, refused.json]).toEqual([
      403,
      expect.objectContaining({ detail: expect.stringContaining(text) }),
    ]);
  });

  it('guards the dashboard, whose sign-out is a link', async () => {
    const registry = new StrategyRegistry().register(
      'proxy',
      header((username) => ({ ok: true, username, roles: ['operator'] })),
    );
    const auth = createAuth({ strategies: registry, secretKey, logger: false });
    const app = keep(await serveAdmin({ auth }));
    const headers = { 'X-User': 'alice' };
    const page = await ask(`${app.base}/dashboard`, { headers });
    const facts: unknown = JSON.parse(/id="facts">(.*?)<\/script>/.exec(page.text)?.[1] ?? '');
    expect(facts).toMatchObject({
      user: 'alice',
      strategy: 'proxy',
      roles: ['operator'],
      mayAct: true,
      loginUrl: null,
      logoutUrl: '/tasks/auth/logout',
      hasSession: false,
    });
    const retry = `${app.base}/${app.taskId}/retry`;
    expect(
      (await ask(retry, { method: 'POST', headers: { ...headers, ...crossSite } })).status,
    ).toBe(403);
    expect((await ask(retry, { method: 'POST', headers })).status).not.toBe(403);
    expect((await ask(`${app.base}/dashboard`)).status).toBe(302);
    const login = await ask(`${app.base}/auth/login`);
    expect(login.text).toContain('A proxy or a token identifies the users of this site');
    expect(login.text).not.toContain('<form');
  });
});

describe('the stream of an identified user', () => {
  it('ends after a minute if the proof is ambient, so that the proxy decides again', async () => {
    const minutes = heldTimers('setTimeout', 60_000);
    const app = await start({ proxy: header() });
    const stream = await openStream(`${app.url}/stream`, { 'X-User': 'alice' });
    await waitFor(() => stream.events.length > 0 && minutes.length > 0);
    for (const fire of minutes) fire();
    await stream.ended;
    expect(stream.events.map(({ event }) => event)).toEqual(['first', 'reconnect']);
  });

  it.each<[string, (user: { verdict: Answer }) => void]>([
    [
      'no longer identifies the user',
      (user) => {
        user.verdict = false;
      },
    ],
    [
      'gives the user other roles',
      (user) => {
        user.verdict = { ok: true, username: 'script', roles: ['x'] };
      },
    ],
  ])('ends within seconds if the strategy %s', async (_, change) => {
    quickTimers('setInterval', 5000);
    const user: { verdict: Answer } = { verdict: { ok: true, username: 'script' } };
    const app = await start({ tokens: tokens(() => user.verdict) });
    const stream = await openStream(`${app.url}/stream`, bearer);
    await waitFor(() => stream.events.length > 0);
    change(user);
    await stream.ended;
    expect(stream.events.map(({ event }) => event)).toEqual(['first', 'reconnect']);
  });

  it.each([
    ['proxy', { 'X-User': 'alice' }],
    ['tokens', bearer],
  ] as const)('ends with a sign-out everywhere, and may open again: %s', async (name, headers) => {
    const app = await start({
      proxy: header(),
      tokens: tokens(() => ({ ok: true, username: 'alice' })),
    });
    const sent: Record<string, string> = headers;
    for (const _ of [1, 2]) {
      const stream = await openStream(`${app.url}/stream`, sent);
      await waitFor(() => stream.events.length > 0);
      await app.auth.signOutEverywhere(name, 'alice');
      await stream.ended;
      expect(stream.events.map(({ event }) => event)).toEqual(['first', 'reconnect']);
    }
    expect(await app.who(sent)).toEqual([name, 'alice']);
  });
});
