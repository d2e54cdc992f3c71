import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import type { AuthStrategy, KnownUser } from '../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { type Answer, ask, postForm, postJson } from '../helpers/client.js';
import { turnableClock } from '../helpers/clock.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { everyStore, keysIn, type TwoViews } from '../helpers/stores.js';
import { waitFor } from '../helpers/wait.js';

const password = 'the right password of ci';
const apps: LoginApp[] = [];
const closeApps = async (): Promise<void> => {
  jest.useRealTimers();
  await Promise.all(apps.splice(0).map((app) => app.close()));
};
afterEach(closeApps);

/** Makes a strategy with one user, `ci`, which counts the wrong passwords it gets. */
function users() {
  const strategy: AuthStrategy & {
    guesses: number;
    user: KnownUser | undefined;
    failing: boolean;
  } = {
    guesses: 0,
    user: { version: '1' },
    failing: false,
    staleFor: 0,
    authenticate_user(username, given) {
      const right = username.toLowerCase() === 'ci' && given === password;
      if (!right) strategy.guesses += 1;
      return right && { ok: true, username: 'ci' };
    },
    find_user(username) {
      if (strategy.failing) throw new Error('down');
      return username === 'ci' ? strategy.user : undefined;
    },
  };
  return strategy;
}

/** Makes a strategy with a separate user for each spelling of `ci`, all with the same password. */
function twins() {
  const strategy = users();
  strategy.authenticate_user = (username, given) => {
    if (given !== password) strategy.guesses += 1;
    return given === password && { ok: true, username };
  };
  strategy.find_user = (username) => ({ version: username });
  return strategy;
}

const serve = async (options: Partial<AuthOptions>): Promise<LoginApp> => {
  const app = await serveLogin(
    { throttle: { floor: 0 }, ...options },
    { proxy: true, maxIpsCount: 1 },
  );
  apps.push(app);
  return app;
};
const from = (address: string, cookie?: string): Record<string, string> => ({
  'X-Forwarded-For': address,
  ...(cookie !== undefined && { Cookie: cookie }),
});
const guess = async (
  app: LoginApp,
  address: string,
  username = 'ci',
  cookie?: string,
): Promise<number> =>
  (await postJson(app.login, { username, password: 'wrong' }, from(address, cookie))).status;
/** Repeats a guess until the store answers in time, because the machine may be busy. */
const answered = (...args: Parameters<typeof guess>): Promise<number> =>
  waitFor(async () => {
    const status = await guess(...args);
    return status !== 503 && status;
  });
const logIn = async (app: LoginApp, address: string, more: object = {}): Promise<number> =>
  (await postJson(app.login, { username: 'ci', password, ...more }, from(address))).status;
/** Logs in with the form and returns the device cookie. */
const deviceOf = async (
  app: LoginApp,
  address: string,
  strategy = '',
  username = 'ci',
): Promise<string> => {
  const answer: Answer = await postForm(app.login, { username, password, strategy }, from(address));
  const cookies = answer.headers.getSetCookie().map((each) => each.split(';')[0] ?? '');
  return cookies.find((each) => each.includes('_device')) ?? '';
};
/** Returns an address in the nth /64 network. */
const network = (n: number): string => `2001:db8:${n.toString(16)}::1`;

describe.each(everyStore)('guesses that are counted on the %s store', (_name, openStore) => {
  let views: TwoViews;
  beforeEach(async () => {
    views = await openStore();
  });
  afterEach(async () => {
    await closeApps();
    await views.close();
  });

  it('add and reset no count if their address is blocked, whatever names they use', async () => {
    const { pass } = turnableClock();
    const store = views.one;
    const strategies = users();
    const app = await serve({ strategies, store });
    for (let n = 0; n < 49; n++) {
      if (n % 10 === 0) pass(1);
      await guess(app, network(n));
    }
    for (let n = 0; n < 31; n++) {
      if (n % 10 === 0) pass(1);
      await guess(app, '198.51.100.7', `junk ${n}`);
    }
    const before = await keysIn(views.two, '');
    const names = Array.from({ length: 510 }, (_, n) => `name ${n}`);
    for (let n = 0; n < names.length; n += 30) {
      const statuses = await Promise.all(
        names.slice(n, n + 30).map((name) => answered(app, '198.51.100.7', name)),
      );
      expect(new Set(statuses)).toEqual(new Set([429]));
    }
    expect(await keysIn(views.two, '')).toEqual(before);
    strategies.guesses = 0;
    pass(1);
    expect(await guess(app, network(1000))).toBe(401);
    for (let n = 1001; n < 1010; n++) expect(await guess(app, network(n))).toBe(429);
    expect(strategies.guesses).toBe(1);
  });

  it('from a /48 network do not lock the user out of a familiar network', async () => {
    const { pass } = turnableClock();
    const strategies = users();
    const [app, other] = [
      await serve({ strategies, store: views.one }),
      await serve({ strategies, store: views.two }),
    ];
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    let [attempts, let200] = [0, 0];
    for (let second = 0; second < 64; second++) {
      for (let n = 0; n < 4; n++) await guess(n % 2 ? app : other, network(attempts++));
      if (second % 2 && (await logIn(second % 4 === 1 ? app : other, '192.0.2.10')) === 200)
        let200 += 1;
      pass(1);
    }
    expect(let200).toBe(32);
    expect(strategies.guesses).toBeLessThanOrEqual(52);
    // The exception: a login from a network that is new to the account has to wait.
    expect(await logIn(app, '203.0.113.1')).toBe(429);
  });

  it('with forty device cookies are limited to fifty in total', async () => {
    const { pass } = turnableClock();
    const strategies = users();
    const app = await serve({ strategies, store: views.one });
    const cookies: string[] = [];
    for (let n = 0; n < 40; n++) {
      if (n % 10 === 0) pass(1);
      cookies.push(await deviceOf(app, '192.0.2.10'));
    }
    const tryAll = async (): Promise<number> => {
      strategies.guesses = 0;
      for (const cookie of cookies)
        for (let n = 0; n < 5; n++) await guess(app, '192.0.2.99', 'ci', cookie);
      return strategies.guesses;
    };
    expect(await tryAll()).toBe(50);
    pass(3600);
    strategies.user = { version: '2' };
    expect(await tryAll()).toBe(5);
  });

  it('in four spellings of a name share the limit of fifty', async () => {
    const { pass } = turnableClock();
    const strategies = users();
    const app = await serve({ strategies, store: views.one });
    const spellings = ['José', 'JOSE\u0301', '\uff4aose', ' jo\u200bsè '];
    for (let n = 0; n < 100; n++) {
      if (n % 10 === 0) pass(1);
      await guess(app, network(n), spellings[n % 4]);
    }
    expect(strategies.guesses).toBe(50);
  });

  it('from a familiar network count as unfamiliar after signOutEverywhere', async () => {
    turnableClock();
    const strategies = users();
    const app = await serve({
      strategies,
      store: views.one,
      throttle: { floor: 0, account: 3, pair: 10 },
    });
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    const cookie = await deviceOf(app, '192.0.2.11');
    for (let n = 0; n < 4; n++) await guess(app, network(n));
    expect(await guess(app, '192.0.2.10')).toBe(401);
    expect(await guess(app, '192.0.2.99', 'ci', cookie)).toBe(401);
    await app.auth.signOutEverywhere('default', 'ci');
    expect(await guess(app, '192.0.2.10')).toBe(429);
    expect(await guess(app, '192.0.2.99', 'ci', cookie)).toBe(429);
    expect(await logIn(app, '192.0.2.10')).toBe(429);
  });
});

describe('a familiar network', () => {
  const limited = { floor: 0, account: 3, pair: 3 };
  const exhaust = async (app: LoginApp): Promise<void> => {
    for (let n = 0; n < 3; n++) await guess(app, network(n));
    expect(await guess(app, network(99))).toBe(429);
  };

  it('is a /64 of IPv6, or an IPv4 address in any notation', async () => {
    const app = await serve({ strategies: users(), throttle: limited });
    expect(await logIn(app, '2001:db8:ffff::1')).toBe(200);
    expect(await logIn(app, '::ffff:192.0.2.10')).toBe(200);
    await exhaust(app);
    expect(await logIn(app, '2001:db8:ffff::2')).toBe(200);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    expect(await logIn(app, '::ffff:c000:20a')).toBe(200);
    expect(await logIn(app, '2001:db8:ffff:1::1')).toBe(429);
    expect(await logIn(app, '192.0.2.11')).toBe(429);
  });

  it('does not count for another account, another strategy or another login', async () => {
    const store = memoryStore();
    const strategies = new StrategyRegistry().register('team', users()).register('staff', users());
    const app = await serve({ strategies, store, throttle: limited });
    const shop = await serve({ strategies: users(), store, path: '/shop', throttle: limited });
    expect(await logIn(app, '192.0.2.10', { strategy: 'team' })).toBe(200);
    await exhaust(app);
    await exhaust(shop);
    expect(await logIn(app, '192.0.2.10', { strategy: 'staff' })).toBe(429);
    expect(await logIn(app, '192.0.2.10', { strategy: 'team' })).toBe(200);
    expect(await logIn(shop, '192.0.2.10')).toBe(429);
    for (let n = 0; n < 3; n++) await guess(app, network(n), 'bob');
    expect(await guess(app, '192.0.2.10', 'bob')).toBe(429);
  });

  it('is not replaced by a device cookie of another login with the same key and user', async () => {
    const strategies: AuthStrategy = {
      authenticate_user: (_username, given) => given === password,
    };
    const app = await serve({ strategies, throttle: limited });
    const shop = await serve({ strategies, path: '/shop', throttle: limited });
    const own = await deviceOf(app, '192.0.2.10');
    const renamed = (await deviceOf(shop, '192.0.2.10')).replace(/^[^=]+/, own.split('=')[0] ?? '');
    await exhaust(app);
    expect(await guess(app, '192.0.2.11', 'ci', renamed)).toBe(429);
    expect(await guess(app, '192.0.2.11', 'ci', own)).toBe(401);
  });

  it('is unfamiliar if the user is deleted, changed, or not known at present', async () => {
    const strategies = users();
    const app = await serve({ strategies, throttle: limited });
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    await exhaust(app);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    strategies.failing = true;
    expect(await logIn(app, '192.0.2.10')).toBe(429);
    strategies.failing = false;
    strategies.user = undefined;
    expect(await logIn(app, '192.0.2.10')).toBe(429);
    strategies.user = { version: '2' };
    expect(await logIn(app, '192.0.2.10')).toBe(429);
    strategies.user = { version: '1' };
    expect(await logIn(app, '192.0.2.10')).toBe(200);
  });

  it('is forgotten after thirty days without a login and kept by each login', async () => {
    const { pass } = turnableClock();
    const app = await serve({ strategies: users(), throttle: limited });
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    pass(29 * 86_400);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    pass(29 * 86_400);
    await exhaust(app);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    pass(30 * 86_400);
    await exhaust(app);
    expect(await logIn(app, '192.0.2.10')).toBe(429);
  });

  it('is one of the last twenty networks of the user, in one entry of the store', async () => {
    const { pass } = turnableClock();
    const store = memoryStore();
    const app = await serve({ strategies: users(), store, throttle: limited });
    for (let n = 0; n < 21; n++) {
      pass(1);
      expect(await logIn(app, `192.0.2.${n}`)).toBe(200);
    }
    await exhaust(app);
    expect(await logIn(app, '192.0.2.0')).toBe(429);
    expect(await logIn(app, '192.0.2.1')).toBe(200);
    expect(await keysIn(store, 'auth:/tasks:networks:')).toHaveLength(1);
  });

  it('is kept if twenty other networks log in as a user with a similar name', async () => {
    const app = await serve({ strategies: twins(), throttle: { ...limited, global: 100 } });
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    for (let n = 0; n < 20; n++)
      expect(await logIn(app, `198.51.100.${n}`, { username: 'cí' })).toBe(200);
    await exhaust(app);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
  });

  it('is dropped before sessions if a memory store is full', async () => {
    const strategies: AuthStrategy = {
      authenticate_user: (username) => ({ ok: true, username: username.trim() }),
    };
    const app = await serve({
      strategies,
      store: memoryStore({ maxKeys: 60 }),
      throttle: { floor: 0, global: 1000 },
    });
    for (let n = 0; n < 50; n++)
      expect(await logIn(app, '192.0.2.10', { username: `ci${' '.repeat(n)}` })).toBe(200);
    const { token } = (await postJson(app.login, { username: 'ci', password }, from('192.0.2.10')))
      .json as { token: string };
    const { json } = await ask(`${app.base}/auth/sessions`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    expect((json as { items: unknown[] }).items).toHaveLength(51);
  });

  it('is looked up before any strategy, and a failed lookup answers 503', async () => {
    const strategies = users();
    const store = memoryStore();
    const get = store.get;
    const app = await serve({
      strategies,
      store: {
        ...store,
        get: (key) => (key.includes('networks') ? Promise.reject(new Error('down')) : get(key)),
      },
    });
    expect(await guess(app, '192.0.2.10')).toBe(503);
    expect(strategies.guesses).toBe(0);
  });
});

describe.each(['cí', 'CI', 'ci ', '\uff43i'])('a user named %j beside the user ci', (twin) => {
  const limited = { floor: 0, account: 3, pair: 10, address: 100 };

  it('has separate familiar networks and browsers, and cannot use up those of ci', async () => {
    const strategies = twins();
    const app = await serve({ strategies, throttle: limited });
    const browser = await deviceOf(app, '192.0.2.11');
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    const twinBrowser = await deviceOf(app, '203.0.113.2', '', twin);
    expect(await logIn(app, '203.0.113.1', { username: twin })).toBe(200);
    // Strangers exhaust their common limit, which covers both names.
    for (let n = 0; n < 3; n++) expect(await guess(app, network(n))).toBe(401);
    expect(await guess(app, network(99), twin)).toBe(429);
    strategies.guesses = 0;
    expect(await guess(app, '203.0.113.1')).toBe(429);
    expect(await guess(app, '203.0.113.99', 'ci', twinBrowser)).toBe(429);
    expect(strategies.guesses).toBe(0);
    // The other user still has the allowance of a familiar user, and uses it up.
    for (let n = 0; n < 3; n++) expect(await guess(app, '203.0.113.1', twin)).toBe(401);
    expect(await guess(app, '203.0.113.99', twin, twinBrowser)).toBe(429);
    expect(await logIn(app, '192.0.2.10')).toBe(200);
    expect(await guess(app, '192.0.2.99', 'ci', browser)).toBe(401);
  });
});

describe('a user with several names in one strategy', () => {
  it('is familiar under the typed name, and a browser also under the canonical name', async () => {
    const strategies = users();
    const app = await serve({
      strategies,
      throttle: { floor: 0, account: 3, pair: 10, address: 100 },
    });
    const browser = await deviceOf(app, '192.0.2.11', '', 'CI');
    expect(await logIn(app, '192.0.2.10', { username: 'CI' })).toBe(200);
    for (let n = 0; n < 3; n++) await guess(app, network(n));
    expect(await logIn(app, '192.0.2.10', { username: 'CI' })).toBe(200);
    expect(await logIn(app, '192.0.2.10')).toBe(429);
    expect(await guess(app, '192.0.2.99', 'CI', browser)).toBe(401);
    expect(await guess(app, '192.0.2.99', 'ci', browser)).toBe(401);
    expect(await guess(app, '192.0.2.10', 'CI')).toBe(401);
    expect(await guess(app, '192.0.2.99', 'ci', browser)).toBe(429);
  });
});
