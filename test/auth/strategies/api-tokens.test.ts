import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import Koa, { type Context } from 'koa';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import {
  type ApiTokens,
  apiTokens,
  type CreatedToken,
  type TokenInfo,
} from '../../../src/auth/strategies/api-tokens/api-tokens.js';
import { isToken, newToken } from '../../../src/auth/strategies/api-tokens/token-text.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { AuthStrategy, KnownUser } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { watchSecret } from '../../helpers/canaries.js';
import { type Answer, ask, logIn, postJson } from '../../helpers/client.js';
import { turnableClock } from '../../helpers/clock.js';
import { serveLogin } from '../../helpers/login-app.js';
import { recordingLogger } from '../../helpers/logs.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { type Served, serve } from '../../helpers/serve.js';
import { everyStore, type TwoViews } from '../../helpers/stores.js';
import { openStream } from '../../helpers/stream.js';
import { promptly, waitFor } from '../../helpers/wait.js';

const documented = /\btf_[0-9A-Za-z]{49}\b/;
const day = 86_400;

/** The users of the strategy `staff`, which tests change. */
const staff = new Map<string, readonly string[]>();

const staffStrategy: AuthStrategy = {
  authenticate_user: (username) => ({ ok: staff.has(username), username }) as never,
  find_user(username) {
    const roles = staff.get(username);
    return roles && { version: '1', roles };
  },
};

async function* silence(): AsyncGenerator<{ event: string; data: number }> {
  yield { event: 'first', data: 1 };
  await new Promise(() => {});
}

interface App extends Served {
  base: string;
  tokens: ApiTokens;
  log: ReturnType<typeof recordingLogger>;
}

/** Serves a login with the users `admin`, `olga` (operator), and `vera`, who may only read. */
async function start(store: SharedStore, maxAge?: number): Promise<App> {
  const log = recordingLogger();
  const tokens = apiTokens({ maxAge });
  const strategies = new StrategyRegistry()
    .register(
      'local',
      multiUser([
        ['admin', cheapHash(password)],
        ['olga', cheapHash('two'), { roles: ['operator'] }],
        ['vera', cheapHash('three'), { roles: [] }],
      ]),
    )
    .register('staff', staffStrategy)
    .register('plain', { authenticate_user: () => false })
    .register('tokens', tokens);
  const auth = createAuth({
    ...{ strategies, secretKey, store, logger: log.logger },
    throttle: { floor: 0, address: 5 },
  });
  const stream = sseStream(() => silence(), { access: auth, logger: false });
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx, next) => (ctx.path === '/stream' ? stream(ctx, next) : next()));
  app.use((ctx) => {
    const { username, roles } = ctx.state.session ?? {};
    ctx.body = { username: username ?? null, roles };
  });
  const served = await serve(app);
  return { ...served, base: `${served.url}/tasks`, tokens, log };
}

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
const who = async ({ url }: App, token: string): Promise<unknown> => {
  const { status, json } = await ask(url, { headers: bearer(token) });
  return status === 200 ? (json as { username: unknown }).username : status;
};
const created = ({ status, json }: Answer): CreatedToken => {
  expect([status, json]).toEqual([201, expect.anything()]);
  watchSecret((json as CreatedToken).token);
  return json as CreatedToken;
};
const itemsOf = ({ json }: Answer): TokenInfo[] => (json as { items: TokenInfo[] }).items;

afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

describe('the text of a token', () => {
  it('matches the documented pattern, which no JWT, UUID or SHA matches', () => {
    const texts = new Set(Array.from({ length: 10_000 }, () => newToken('tf_')));
    expect(texts.size).toBe(10_000);
    for (const text of texts) {
      expect([text, documented.exec(text)?.[0]]).toEqual([text, text]);
      expect(isToken('tf_', text)).toBe(true);
    }
    const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
    for (const other of [jwt, randomUUID(), 'a'.repeat(40), '0'.repeat(64)])
      expect(documented.test(other)).toBe(false);
  });

  it('has a checksum that fails if any character is another one', () => {
    const text = newToken('ci_');
    for (let at = 3; at < text.length; at++)
      for (const other of ['0', 'z'])
        if (text[at] !== other)
          expect(isToken('ci_', text.slice(0, at) + other + text.slice(at + 1))).toBe(false);
    for (const wrong of [`${text}0`, text.slice(1), text.replace('ci_', 'tf_'), ''])
      expect(isToken('ci_', wrong)).toBe(false);
  });
});

describe('apiTokens', () => {
  it('refuses options that are not valid', () => {
    expect(() => apiTokens({ prefix: 'TF-' })).toThrow(
      /^apiTokens: prefix is "TF-"; it must be up to 15/,
    );
    expect(() => apiTokens({ maxAge: 1 })).toThrow(RangeError);
    expect(() => apiTokens({ max: 1 } as never)).toThrow(/^apiTokens has no option "max"/);
  });

  it('refuses a login without a store, a second strategy of its kind and the name service', () => {
    const login = (registry: StrategyRegistry, store?: SharedStore): unknown =>
      createAuth({ strategies: registry, secretKey, logger: false, store });
    const registry = (): StrategyRegistry => new StrategyRegistry().register('one', apiTokens());
    expect(() => login(registry())).toThrow(/^apiTokens needs a store that keeps the tokens/);
    expect(() => login(registry().register('two', apiTokens()), memoryStore())).toThrow(
      /^more than one strategy is apiTokens/,
    );
    expect(() => login(registry().register('service', staffStrategy), memoryStore())).toThrow(
      /^a strategy is named 'service'/,
    );
    return expect(apiTokens().list()).rejects.toThrow(/is not used by a login yet/);
  });

  it('needs no call to the store for a request, and records a use once a minute', async () => {
    const { pass } = turnableClock();
    const store = memoryStore();
    const calls: string[] = [];
    const counted = new Proxy(store, {
      get(target, name: keyof SharedStore) {
        const method = target[name];
        if (typeof method !== 'function') return method;
        return (...args: never[]) => {
          calls.push(`${name} ${String(args[0])}`);
          return (method as (...all: never[]) => unknown).apply(target, args);
        };
      },
    });
    const tokens = apiTokens();
    const strategies = new StrategyRegistry().register('tokens', tokens);
    createAuth({ strategies, secretKey, store: counted, logger: false });
    const { token } = await tokens.create({ name: 'ci', owner: 'service:ci' });
    const ctx = { get: () => `Bearer ${token}` } as unknown as Context;
    const context = { ip: '192.0.2.1', requestId: '1', signal: new AbortController().signal };
    const request = (): unknown => tokens.authenticate_request(ctx, context);
    calls.length = 0;
    for (let n = 0; n < 10_000; n++)
      expect(request()).toEqual({ ok: true, username: 'service:ci', roles: [] });
    await waitFor(() => calls.length === 2);
    pass(61);
    for (let n = 0; n < 100; n++) request();
    await waitFor(() => calls.length === 4);
    expect(calls.map((call) => call.replace(/used:.*/, 'used'))).toEqual(
      ['get', 'replace', 'get', 'replace'].map(
        (name) => `${name} auth:/tasks:strategy:tokens:used`,
      ),
    );
  });

  it('refuses a wrong checksum without the store', async () => {
    const store = memoryStore();
    const app = await start(store);
    const watch = jest.spyOn(store, 'watch');
    const replace = jest.spyOn(store, 'replace');
    expect(await who(app, `tf_${'0'.repeat(49)}`)).toBeNull();
    const keys = [watch, replace].flatMap(({ mock }) => mock.calls.map(([key]) => String(key)));
    // The first answer also stores the state of the strategy, under another key.
    expect(keys.filter((key) => key.startsWith('auth:/tasks:strategy:tokens'))).toEqual([]);
    await app.close();
  });

  it('answers 503 while the tokens cannot be read', async () => {
    const store = memoryStore();
    const app = await start(store);
    const { token } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    const other = await start({
      ...store,
      list: (prefix, after, limit) =>
        prefix.includes('token:')
          ? Promise.reject(new Error('down'))
          : store.list(prefix, after, limit),
    });
    expect(await who(other, token)).toBe(503);
    expect(await who(app, token)).toBe('service:ci');
    await Promise.all([app.close(), other.close()]);
  });

  it('counts wrong tokens by address, apart from failed logins', async () => {
    const app = await start(memoryStore());
    const { token } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    const wrong = async (): Promise<number> =>
      (await ask(`${app.base}/auth/session`, { headers: bearer(newToken('tf_')) })).status;
    for (let n = 0; n < 5; n++) expect(await wrong()).toBe(401);
    expect(await wrong()).toBe(429);
    expect(await who(app, token)).toBe('service:ci');
    await logIn(app.base);
    const throttled = await app.log.logged('authn_login_throttled', 1);
    expect(throttled).toMatchObject([{ bucket: 'token' }]);
    expect(app.log.events('authn_request_rejected')).toMatchObject([{ reason: 'unknown_token' }]);
    await app.close();
  });

  it('limits the lifetime of tokens, and the roles of services', async () => {
    const app = await start(memoryStore(), 60 * day);
    const { create } = app.tokens;
    const lasts = async (owner: string, expiresIn?: number): Promise<number> => {
      const { expiresAt } = await create({ name: 'ci', owner, expiresIn });
      return Math.round((expiresAt.getTime() - Date.now()) / 1000 / day);
    };
    expect(await lasts('service:ci')).toBe(30);
    expect(await lasts('local:admin', 60 * day)).toBe(60);
    expect(await lasts('plain:ann', 30 * day)).toBe(30);
    await expect(lasts('plain:ann', 31 * day)).rejects.toThrow(
      /^expiresIn must be at most 2592000/,
    );
    await expect(lasts('local:admin', 61 * day)).rejects.toThrow(RangeError);
    const roles = ['admin'];
    await expect(create({ name: 'ci', owner: 'service:ci', roles })).rejects.toThrow(RangeError);
    for (const owner of ['local:unknown', 'none:ann'])
      await expect(create({ name: 'ci', owner })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    for (const owner of ['ann', ':ann', 'local:', 'tokens:service:ci', 1])
      await expect(create({ name: 'ci', owner: owner as string })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    await expect(create({ name: 'ci', owner: 'local:olga', roles })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(
      (await app.tokens.list()).map(({ owner, ownerChecked }) => [owner, ownerChecked]),
    ).toEqual(
      expect.arrayContaining([
        ['plain:ann', false],
        ['local:admin', true],
        ['service:ci', false],
      ]),
    );
    await app.close();
  });

  it('limits the number of tokens of one owner', async () => {
    const app = await start(memoryStore());
    const token = { name: 'ci', owner: 'service:ci' };
    for (let n = 0; n < 100; n++) await app.tokens.create(token);
    await expect(app.tokens.create(token)).rejects.toThrow(/^service:ci has 100 tokens/);
    await app.tokens.create({ name: 'ci', owner: 'service:other' });
    await app.close();
  });

  it('limits the new tokens of a user in an hour, rotated ones included', async () => {
    const { pass } = turnableClock();
    const app = await start(memoryStore());
    staff.set('ann', []);
    let { id } = await app.tokens.create({ name: 'ci', owner: 'staff:ann' });
    const rotate = async () => {
      ({ id } = await app.tokens.rotate(id));
    };
    const limited = async () => {
      for (let n = 0; n < 120; n++) await rotate();
    };
    await expect(limited()).rejects.toMatchObject({
      code: 'THROTTLED',
      headers: { 'Retry-After': expect.stringMatching(/^[1-9]\d*$/) },
    });
    await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    pass(3600);
    await rotate();
    expect(await app.tokens.list({ owner: 'staff:ann' })).toHaveLength(1);
    staff.delete('ann');
    await app.close();
  });

  it('keeps a token that ended early for a day', async () => {
    const { pass } = turnableClock();
    const store = memoryStore();
    const app = await start(store);
    const count = async () =>
      (await store.list('auth:/tasks:strategy:tokens:token:', undefined, 9)).length;
    const { id } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    const next = await app.tokens.rotate(id, { keepOldFor: 3600 });
    expect(await who(app, next.token)).toBe('service:ci');
    pass(3600 + day - 60);
    expect(await count()).toBe(2);
    pass(120);
    expect(await count()).toBe(1);
    expect(await who(app, next.token)).toBe('service:ci');
    await app.close();
  });

  it.each([0, 100])('ends for good after %i s when its owner is gone', async (seconds) => {
    const { pass } = turnableClock();
    const app = await start(memoryStore());
    staff.set('ann', []);
    const { token } = await app.tokens.create({ name: 'ci', owner: 'staff:ann' });
    pass(seconds);
    expect(await who(app, token)).toBe('staff:ann');
    staff.delete('ann');
    expect(await who(app, token)).toBeNull();
    staff.set('ann', ['admin']);
    await waitFor(async () => (await app.tokens.list()).length === 0);
    expect(await who(app, token)).toBeNull();
    staff.delete('ann');
    await app.close();
  });

  it('is not ended by an answer about its owner that is older', async () => {
    const { pass } = turnableClock();
    const tokens = apiTokens();
    const old: undefined[] = [];
    const strategies = new StrategyRegistry()
      .register('team', {
        authenticate_user: () => false,
        find_user: async () => (old.length > 0 ? old.pop() : { version: '1', roles: [] }),
      })
      .register('tokens', tokens);
    const app = await serveLogin({ strategies, store: memoryStore() });
    const { token } = await tokens.create({ name: 'ci', owner: 'team:ann' });
    const name = async () => (await ask(app.url, { headers: bearer(token) })).json;
    expect(await name()).toEqual({ name: 'team:ann' });
    old.push(undefined);
    pass(31);
    expect(await name()).toEqual({ name: null });
    expect(await name()).toEqual({ name: 'team:ann' });
    expect(await tokens.list()).toHaveLength(1);
    await app.close();
  });

  it('gives a token only the roles that its owner still has', async () => {
    const app = await start(memoryStore());
    staff.set('ann', ['operator', 'deployer']);
    const roles = ['operator', 'deployer'];
    const { token } = await app.tokens.create({ name: 'ci', owner: 'staff:ann', roles });
    const rolesNow = async (): Promise<unknown> =>
      (await ask(app.url, { headers: bearer(token) })).json;
    expect(await rolesNow()).toEqual({ username: 'staff:ann', roles });
    staff.set('ann', ['admin']);
    expect(await rolesNow()).toEqual({ username: 'staff:ann', roles: ['operator'] });
    staff.set('ann', []);
    expect(await rolesNow()).toEqual({ username: 'staff:ann', roles: [] });
    staff.delete('ann');
    expect((await ask(`${app.base}/auth/session`, { headers: bearer(token) })).status).toBe(401);
    await app.close();
  });

  it('ends a token at its time', async () => {
    const { pass } = turnableClock();
    const app = await start(memoryStore());
    const { token } = await app.tokens.create({ name: 'ci', owner: 'service:ci', expiresIn: 60 });
    pass(59);
    expect(await who(app, token)).toBe('service:ci');
    pass(2);
    expect(await who(app, token)).toBeNull();
    expect(await app.tokens.list()).toEqual([]);
    await app.close();
  });

  it('never extends a token by its rotation, also for processes that start later', async () => {
    const store = memoryStore();
    const app = await start(store);
    const token = { name: 'ci', owner: 'service:ci', expiresIn: 60 };
    const { id, expiresAt } = await app.tokens.create(token);
    await app.tokens.rotate(id, { keepOldFor: day });
    const later = await start(store);
    const old = (await later.tokens.list()).find((each) => each.id === id);
    expect(old?.expiresAt).toEqual(expiresAt);
    await app.close();
    await later.close();
  });

  it('gives no roles that its strategy once confirmed and can no longer tell', async () => {
    const tokens = apiTokens();
    let known: KnownUser = { version: '1', roles: ['operator'] };
    const strategies = new StrategyRegistry()
      .register('team', { authenticate_user: () => false, find_user: () => known })
      .register('tokens', tokens);
    const app = await serveLogin({ strategies, store: memoryStore() });
    const { token } = await tokens.create({ name: 'ci', owner: 'team:ann', roles: ['operator'] });
    const name = async () => (await ask(app.url, { headers: bearer(token) })).json;
    expect(await name()).toEqual({ name: 'team:ann' });
    known = { version: '1' };
    expect(await name()).toEqual({ name: null });
    await app.close();
  });

  it('creates no token for a rotation that is refused', async () => {
    const app = await start(memoryStore());
    const { id } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    await app.tokens.rotate(id, { keepOldFor: 60 });
    await expect(app.tokens.rotate(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(app.log.events('token_rotated')).toHaveLength(1);
    await app.close();
  });

  it('ignores a record of the store under the id of another token', async () => {
    const store = memoryStore();
    const app = await start(store);
    const { id } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    const prefix = 'auth:/tasks:strategy:tokens:token:';
    await store.set(prefix + 'f'.repeat(32), (await store.get(prefix + id)) ?? null, day);
    const later = await start(store);
    expect((await later.tokens.list()).map((each) => each.id)).toEqual([id]);
    await app.close();
    await later.close();
  });

  it('leaves Bearer values alone that only contain its prefix', async () => {
    const app = await start(memoryStore());
    const headers = { ...(await logIn(app.base)), ...bearer('of-tf_another-service') };
    expect((await ask(app.url, { headers })).json).toMatchObject({ username: 'admin' });
    await app.close();
  });

  it('keeps a token revoked even if the store loses the change', async () => {
    const store = memoryStore();
    let cut = new AbortController();
    const app = await start({
      ...store,
      watch: (prefix, signal, options) =>
        store.watch(prefix, AbortSignal.any([signal, cut.signal]), options),
    });
    const { id, token } = await app.tokens.create({ name: 'ci', owner: 'service:ci' });
    const key = `auth:/tasks:strategy:tokens:token:${id}`;
    const before = await store.get(key);
    await app.tokens.revoke(id);
    await store.set(key, before ?? null, day);
    const old = cut;
    cut = new AbortController();
    old.abort();
    for (let n = 0; n < 3; n++) expect(await who(app, token)).toBeNull();
    await app.close();
  });
});

describe('the routes of API tokens', () => {
  let app: App;
  let olga: Record<string, string>;
  beforeAll(async () => {
    app = await start(memoryStore());
    olga = await logIn(app.base, 'olga', 'two');
  });
  afterAll(() => app.close());
  const url = (path = ''): string => `${app.base}/auth/tokens${path}`;
  const create = (body: unknown, headers = olga): Promise<Answer> => postJson(url(), body, headers);

  it('create a token of the user, with roles of the user', async () => {
    const answer = created(await create({ name: 'deploy', roles: ['operator'], expiresIn: 3600 }));
    expect(answer).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      name: 'deploy',
      token: expect.stringMatching(documented),
      roles: ['operator'],
      expiresAt: expect.any(String),
    });
    expect(await who(app, answer.token)).toBe('local:olga');
    const readOnly = created(await create({ name: 'read' }));
    expect(readOnly.roles).toEqual([]);
    const refused = await create({ name: 'more', roles: ['admin'] });
    expect([refused.status, refused.json]).toEqual([
      403,
      expect.objectContaining({
        detail: 'Your session does not have the role admin, so the token cannot have it.',
      }),
    ]);
  });

  it.each([
    [{}, /^name is undefined/],
    [{ name: '' }, /^name is ""/],
    [{ name: 'a'.repeat(101) }, /^name is/],
    [{ name: 'a', roles: 'admin' }, /^roles is "admin"/],
    [{ name: 'a', expiresIn: 59 }, /^expiresIn is 59/],
    [{ name: 'a', expiresIn: 91 * day }, /^expiresIn is 7,?862,?400/],
    [{ name: 'a', expiresIn: '60' }, /^expiresIn is "60"/],
    [{ name: 'a', owner: 'local:admin' }, /^Unknown member "owner"/],
    [{ name: 'a', expiry: 60 }, /^Unknown member "expiry". Did you mean "expiresIn"/],
  ])('refuse the body %j', async (body, detail) => {
    const answer = await create(body);
    expect([answer.status, answer.json]).toEqual([
      400,
      expect.objectContaining({ code: 'INVALID_INPUT', detail: expect.stringMatching(detail) }),
    ]);
  });

  it('refuse requests of a token', async () => {
    const { id, token } = created(await create({ name: 'self', roles: ['operator'] }));
    const headers = bearer(token);
    for (const answer of [
      await create({ name: 'more' }, headers),
      await ask(url(), { headers }),
      await postJson(url(`/${id}/rotate`), {}, headers),
      await ask(url(`/${id}`), { method: 'DELETE', headers }),
      await ask(`${app.base}/auth/sessions`, { method: 'DELETE', headers }),
    ])
      expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('Sign in')]);
    expect(await who(app, token)).toBe('local:olga');
    const inCookie = { cookie: olga.cookie?.replace(/=.*/, `=${token}`) ?? '' };
    expect((await ask(url(), { headers: inCookie })).status).toBe(401);
    expect((await ask(`${url()}?access_token=${token}`)).status).toBe(401);
  });

  it('show users their own tokens, and administrators all of them', async () => {
    const vera = await logIn(app.base, 'vera', 'three');
    const admin = await logIn(app.base);
    const { id, token } = created(await create({ name: 'report' }, vera));
    await who(app, token);
    let items: TokenInfo[] = [];
    await waitFor(async () => {
      items = itemsOf(await ask(url(), { headers: vera }));
      return items[0]?.lastUsedAt !== null;
    });
    expect(items).toEqual([
      {
        ...{ id, name: 'report', owner: 'local:vera', roles: [], ownerChecked: true },
        ...{ replacedBy: null, lastUsedIp: '127.0.0.1', lastUsedAt: expect.any(String) },
        ...{ createdAt: expect.any(String), expiresAt: expect.any(String) },
      },
    ]);
    expect((await ask(url(`/${id}`), { method: 'DELETE', headers: olga })).status).toBe(404);
    expect((await postJson(url(`/${id}/rotate`), {}, admin)).status).toBe(404);
    const all = itemsOf(await ask(url(), { headers: admin }));
    expect(new Set(all.map(({ owner }) => owner))).toEqual(new Set(['local:olga', 'local:vera']));
    expect((await ask(url(`/${id}`), { method: 'DELETE', headers: admin })).status).toBe(204);
    expect((await ask(url(`/${id}`), { method: 'DELETE', headers: admin })).status).toBe(404);
    expect(await who(app, token)).toBeNull();
  });

  it('rotate a token, and keep the old one valid for the given time', async () => {
    const one = created(await create({ name: 'rotated', roles: ['operator'] }));
    const two = created(await postJson(url(`/${one.id}/rotate`), { keepOldFor: 60 }, olga));
    expect(two).toMatchObject({ name: 'rotated', roles: ['operator'] });
    for (const { token } of [one, two]) expect(await who(app, token)).toBe('local:olga');
    const items = itemsOf(await ask(url(), { headers: olga }));
    const old = items.find(({ id }) => id === one.id);
    expect([old?.replacedBy, items.some(({ id }) => id === two.id)]).toEqual([two.id, true]);
    expect(Date.parse(String(old?.expiresAt)) - Date.now()).toBeLessThanOrEqual(60_000);
    expect((await postJson(url(`/${one.id}/rotate`), {}, olga)).status).toBe(404);
    const three = created(await postJson(url(`/${two.id}/rotate`), {}, olga));
    expect(await who(app, two.token)).toBeNull();
    expect(await who(app, three.token)).toBe('local:olga');
    const tooLong = await postJson(url(`/${three.id}/rotate`), { keepOldFor: day + 1 }, olga);
    expect(tooLong.status).toBe(400);
  });

  it('ask for a session that is younger than 15 minutes', async () => {
    const { pass } = turnableClock();
    const own = await start(memoryStore());
    const fresh = await logIn(own.base, 'olga', 'two');
    const tokens = `${own.base}/auth/tokens`;
    pass(890);
    const { id } = created(await postJson(tokens, { name: 'in time' }, fresh));
    pass(20);
    for (const answer of [
      await postJson(tokens, { name: 'late' }, fresh),
      await postJson(`${tokens}/${id}/rotate`, {}, fresh),
    ]) {
      expect([answer.status, answer.json]).toEqual([
        401,
        expect.objectContaining({
          code: 'UNAUTHENTICATED',
          detail: 'A new token needs a session that is younger than 15 minutes. Sign in again.',
        }),
      ]);
      expect(answer.headers.get('www-authenticate')).toBe(
        'Bearer realm="koa-taskflow", error="insufficient_user_authentication", max_age="900"',
      );
    }
    const ended = await ask(`${tokens}/${id}`, { method: 'DELETE', headers: fresh });
    expect(ended.status).toBe(204);
    await own.close();
  });

  it('are absent from a login without the strategy', async () => {
    const auth = createAuth({ strategies: ['admin', password], secretKey, logger: false });
    expect(JSON.stringify(auth.describe?.('/tasks'))).not.toContain('auth/tokens');
  });

  it('log and record what was done, with six characters of the id', async () => {
    const { id } = created(await create({ name: 'audited' }));
    const next = created(await postJson(url(`/${id}/rotate`), {}, olga));
    await ask(url(`/${next.id}`), { method: 'DELETE', headers: olga });
    const events = ['token_created', 'token_rotated', 'token_revoked'];
    for (const event of events) {
      const line = app.log.events(event).at(-1);
      expect(line).toMatchObject({ owner: 'local:olga', strategy: 'tokens', mount: '/tasks' });
      expect(line?.tokenId).toBe((event === 'token_created' ? id : next.id).slice(0, 6));
    }
  });
});

describe.each(everyStore)('API tokens in two processes on one store in %s', (_name, open) => {
  let views: TwoViews;
  let [one, two]: App[] = [];
  beforeAll(async () => {
    views = await open();
    [one, two] = [await start(views.one), await start(views.two)];
  });
  afterAll(async () => {
    await Promise.all([one?.close(), two?.close()]);
    await views.close();
  });
  const both = (): [App, App] => {
    if (!one || !two) throw new Error('the apps have not started');
    return [one, two];
  };

  it('work in both, and end in both with their streams within a second', async () => {
    const [first, second] = both();
    const session = await logIn(first.base);
    const body = { name: 'deploy', roles: ['operator'] };
    const { id, token } = created(await postJson(`${first.base}/auth/tokens`, body, session));
    for (const app of [first, second])
      await waitFor(async () => (await who(app, token)) === 'local:admin');
    const streams = await Promise.all(
      [first, second].map(({ url }) => openStream(`${url}/stream`, bearer(token))),
    );
    await waitFor(() => streams.every(({ of }) => of('first').length === 1));
    expect(await second.tokens.revoke(id)).toBe(true);
    const revoked = performance.now();
    await waitFor(async () => (await who(first, token)) === null);
    await Promise.all(streams.map(({ ended }) => ended));
    // Usually some milliseconds. Without a notification, the streams end after five seconds.
    expect(performance.now() - revoked).toBeLessThan((promptly * 1000) / 2.5);
    expect(await who(second, token)).toBeNull();
    expect(await first.tokens.revoke(id)).toBe(false);
  });

  it.each([0, 60])(
    'are rotated once if both rotate them at the same time, and keep the old one for %i s',
    async (keepOldFor) => {
      const [first, second] = both();
      const owner = `service:raced-${keepOldFor}`;
      const { id } = await first.tokens.create({ name: 'raced', owner });
      const results = await Promise.allSettled(
        [first, second].map(({ tokens }) => tokens.rotate(id, { keepOldFor })),
      );
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      const left = keepOldFor === 0 ? 1 : 2;
      for (const { tokens } of [first, second])
        await waitFor(async () => (await tokens.list({ owner })).length === left);
    },
  );

  it('record a use once for both within a minute', async () => {
    const [first, second] = both();
    const { id, token } = await first.tokens.create({ name: 'used', owner: 'service:used' });
    const key = `auth:/tasks:strategy:tokens:used:${id}`;
    await who(first, token);
    const use = await waitFor(async () => views.one.get(key));
    await waitFor(async () => (await who(second, token)) === 'service:used');
    // The second process reads the record before it would write.
    for (let n = 0; n < 20; n++) await views.two.get('nothing');
    expect(await views.two.get(key)).toEqual(use);
  });

  it('are not in the store', async () => {
    const [first] = both();
    const { token } = await first.tokens.create({ name: 'dumped', owner: 'service:dumped' });
    await who(first, token);
    const entries = await views.one.list('', undefined, 1000);
    const dump = JSON.stringify(entries);
    expect(dump).toContain('dumped');
    expect(dump).not.toContain(token);
    expect(dump).not.toMatch(documented);
  });
});
