import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { Auth } from '../../src/auth/auth.js';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import type { AuthStrategy, KnownUser, Verdict } from '../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { type Answer, ask, postJson } from '../helpers/client.js';
import { turnableClock } from '../helpers/clock.js';
import { closeAfterEach } from '../helpers/closing.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password } from '../helpers/passwords.js';
import { everyStore } from '../helpers/stores.js';
import { promptly, sleep, waitFor } from '../helpers/wait.js';

const keep = closeAfterEach();
const open: LoginApp[] = [];
afterEach(async () => {
  jest.useRealTimers();
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function start(options: Partial<AuthOptions>): Promise<LoginApp> {
  const app = await serveLogin({ throttle: { floor: 0 }, ...options });
  open.push(app);
  return app;
}

const signIn = (app: LoginApp, username = 'alice', given = 'old'): Promise<Answer> =>
  postJson(app.login, { username, password: given });
const bearerOf = ({ json }: Answer): { Authorization: string } => ({
  Authorization: `Bearer ${(json as { token: string }).token}`,
});
const nameAt = async (app: LoginApp, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(app.url, { headers })).json as { name: unknown }).name;
const rolesAt = async (app: LoginApp, answer: Answer): Promise<unknown> =>
  (
    (await ask(`${app.base}/auth/session`, { headers: bearerOf(answer) })).json as {
      roles: unknown;
    }
  ).roles;

const faultsOf = (app: LoginApp): unknown[] =>
  app.log.events('authn_strategy_error').filter(({ level }) => level === 50);

interface Row {
  password: string;
  version: string;
  roles?: string[];
}

/** Makes a user table of alice. Its password check reads the row and answers 100 ms later. */
function slowTable(row: Row, withFind = true): AuthStrategy & { asked: number } {
  const strategy = {
    asked: 0,
    async authenticate_user(username: string, given: string): Promise<Verdict> {
      strategy.asked += 1;
      const seen = { ...row };
      await sleep(0.1);
      if (username.toLowerCase() !== 'alice' || given !== seen.password) return false;
      return { ok: true, username: 'alice', ...(seen.roles && { roles: seen.roles }) };
    },
  };
  if (!withFind) return strategy;
  return Object.assign(strategy, {
    find_user: async (username: string): Promise<KnownUser | undefined> =>
      username === 'alice'
        ? { version: row.version, ...(row.roles && { roles: row.roles }) }
        : undefined,
  });
}

it('asks no find_user of a strategy that checks no passwords', async () => {
  const asked: string[] = [];
  const find_user = (username: string): KnownUser => {
    asked.push(username);
    return { version: '1', roles: [] };
  };
  const strategies = new StrategyRegistry()
    .register('local', staticUser('root', cheapHash(password)))
    .register('sso', { begin: () => 'https://sso.example', complete: () => false, find_user })
    .register('proxy', { authenticate_request: () => undefined, ambient: true, find_user });
  const app = await start({ strategies });
  for (const strategy of ['sso', 'proxy', 'none', undefined])
    expect((await postJson(app.login, { username: 'ann', password, strategy })).status).toBe(401);
  const reasons = (await app.log.logged('authn_login_fail', 4)).map(({ reason }) => reason);
  expect(reasons).toContain('unknown_strategy');
  expect(asked).toEqual([]);
});

describe('a login in progress', () => {
  /**
   * Starts a login, makes a change during the check of the password, and resolves to the answer.
   */
  const during = async (
    app: LoginApp,
    strategy: { asked: number },
    change: () => unknown,
    username = 'alice',
  ): Promise<Answer> => {
    const answer = signIn(app, username);
    await waitFor(() => strategy.asked > 0);
    await sleep(0.02);
    await change();
    return answer;
  };

  it('is rejected if the password changes during the check', async () => {
    const row = { password: 'old', version: '1' };
    const strategy = slowTable(row);
    const app = await start({ strategies: strategy });
    const answer = await during(app, strategy, () =>
      Object.assign(row, { password: 'new', version: '2' }),
    );
    expect(answer.status).toBe(401);
    expect(await app.log.logged('authn_login_fail', 1)).toMatchObject([{ reason: 'user_changed' }]);
    expect((await signIn(app, 'alice', 'new')).status).toBe(200);
  });

  it('is rejected if the password changes during the check of another spelling', async () => {
    const row = { password: 'old', version: '1' };
    const strategy = slowTable(row);
    const app = await start({ strategies: strategy });
    const answer = await during(
      app,
      strategy,
      () => Object.assign(row, { password: 'new', version: '2' }),
      'ALICE',
    );
    expect(answer.status).toBe(401);
    const later = await signIn(app, 'ALICE', 'new');
    expect([later.status, await nameAt(app, bearerOf(later))]).toEqual([200, 'alice']);
  });

  it.each([
    ['with find_user', true, 'alice'],
    ['without find_user', false, 'alice'],
    ['without find_user, under another spelling of the name', false, 'ALICE'],
  ])(
    'opens no session if signOutEverywhere runs during the check, %s',
    async (_case, withFind, username) => {
      const strategy = slowTable({ password: 'old', version: '1' }, withFind);
      const app = await start({ strategies: strategy });
      const answer = await during(
        app,
        strategy,
        () => app.auth.signOutEverywhere('default', 'alice'),
        username,
      );
      expect(answer.status).toBe(401);
      const later = await signIn(app, username);
      expect(await nameAt(app, bearerOf(later))).toBe('alice');
    },
  );

  it('keeps a session for at most a second after a sign-out in another process', async () => {
    /** Returns for how many milliseconds the session was kept. */
    const kept = async (): Promise<number> => {
      const store = memoryStore();
      const strategy = slowTable({ password: 'old', version: '1' });
      const app = await start({ strategies: strategy, store });
      const other = await start({ strategies: strategy, store });
      const answer = await during(app, strategy, () =>
        other.auth.signOutEverywhere('default', 'alice'),
      );
      const answered = performance.now();
      if (answer.status === 200)
        await waitFor(async () => (await nameAt(app, bearerOf(answer))) === null, promptly);
      else expect(answer.status).toBe(401);
      return performance.now() - answered;
    };
    // Other programs on the machine can make a try slow, but not every try.
    let least = Number.POSITIVE_INFINITY;
    for (let tries = 5; tries > 0 && least >= 1000; tries--) least = Math.min(least, await kept());
    expect(least).toBeLessThan(1000);
  });

  it('gets the roles that the user has after the check', async () => {
    const row: Row = { password: 'old', version: '1', roles: ['admin'] };
    const strategy = slowTable(row);
    const app = await start({ strategies: strategy });
    const answer = await during(app, strategy, () => Object.assign(row, { roles: ['viewer'] }));
    expect(await rolesAt(app, answer)).toEqual(['viewer']);
    expect(faultsOf(app)).toMatchObject([{ strategy: 'default' }]);
  });

  it('gets the roles of find_user if the verdict names none, and logs the difference', async () => {
    const app = await start({
      strategies: {
        authenticate_user: () => true,
        find_user: () => ({ version: '1', roles: ['viewer'] }),
      },
    });
    expect(await rolesAt(app, await signIn(app))).toEqual(['viewer']);
    expect(faultsOf(app)).toHaveLength(1);
  });

  it('logs no difference if both name the same roles in another order', async () => {
    const app = await start({
      strategies: {
        authenticate_user: () => ({ ok: true, roles: ['a', 'b'] }),
        find_user: () => ({ version: '1', roles: ['b', 'a'] }),
      },
    });
    expect((await signIn(app)).status).toBe(200);
    expect(faultsOf(app)).toEqual([]);
  });

  it('succeeds if the check itself creates the user', async () => {
    const users = new Map<string, KnownUser>();
    const app = await start({
      strategies: {
        authenticate_user: (username) => {
          users.set(username, { version: '1' });
          return true;
        },
        find_user: (username) => users.get(username),
      },
    });
    const answer = await signIn(app);
    expect(await nameAt(app, bearerOf(answer))).toBe('alice');
  });

  it('starts before the check of the password', async () => {
    const { pass } = turnableClock();
    const app = await start({
      strategies: {
        authenticate_user: () => {
          pass(5);
          return true;
        },
      },
      tokenExpiry: 60,
    });
    const before = Date.now();
    const { json } = await signIn(app);
    expect(Date.parse((json as { expiresAt: string }).expiresAt)).toBe(before + 60_000);
  });

  it('answers 503 and leaves no session if the store fails after the check', async () => {
    const inner = memoryStore();
    let fails = false;
    const store = {
      ...inner,
      get: (key: string) =>
        fails && key.includes('revoked') ? Promise.reject(new Error('down')) : inner.get(key),
    };
    const app = await start({
      store,
      strategies: {
        authenticate_user: () => {
          fails = true;
          return true;
        },
      },
    });
    expect((await signIn(app)).status).toBe(503);
    expect(await inner.list('auth:/tasks:session:', undefined, 10)).toEqual([]);
  });

  it.each([
    ['right', 'of a stranger'],
    ['wrong', 'of a stranger'],
    ['right', 'from a familiar network'],
    ['wrong', 'from a familiar network'],
  ])(
    'answers 503 to a %s password %s if the store is down after the check',
    async (given, place) => {
      const inner = memoryStore();
      let fails = false;
      const down = <Args extends unknown[], Answer>(call: (...args: Args) => Promise<Answer>) => {
        return async (...args: Args): Promise<Answer> => {
          if (fails) throw new Error('down');
          return call(...args);
        };
      };
      const { get, set, replace, increment, list } = inner;
      const app = await start({
        store: {
          ...inner,
          get: down(get),
          set: down(set),
          replace: down(replace),
          increment: down(increment),
          list: down(list),
        },
        strategies: {
          authenticate_user: (_username, typed) => {
            fails = typed !== 'first';
            return typed !== 'wrong';
          },
        },
      });
      if (place === 'from a familiar network')
        expect((await signIn(app, 'alice', 'first')).status).toBe(200);
      const answer = await signIn(app, 'alice', given);
      expect([answer.status, (answer.json as { code: string }).code]).toEqual([
        503,
        'STORE_UNAVAILABLE',
      ]);
      expect(
        app.log.lines.filter(({ level, msg }) => level === 50 && msg === 'request failed'),
      ).toHaveLength(1);
      if (given === 'wrong') await app.log.logged('authn_login_fail', 1);
    },
  );
});

describe.each(everyStore)('signOutEverywhere on the %s store', (_name, openStore) => {
  /**
   * Repeats a request while the answer is 503, because the store on a busy machine may take longer
   * than the time limit of a request.
   */
  const answered = (request: () => Promise<Answer>): Promise<Answer> =>
    waitFor(async () => {
      const answer = await request();
      return answer.status !== 503 && answer;
    });
  const sessionOn = async (app: LoginApp): Promise<{ Authorization: string }> => {
    const answer = await answered(() => signIn(app));
    expect([answer.status, answer.json]).toEqual([200, expect.anything()]);
    return bearerOf(answer);
  };
  const nameOn = async (app: LoginApp, headers: Record<string, string>): Promise<unknown> =>
    ((await answered(() => ask(app.url, { headers }))).json as { name: unknown }).name;

  it('ends the sessions of a host with a fast clock, but no later login', async () => {
    const views = keep(await openStore());
    const { pass } = turnableClock();
    const strategies: AuthStrategy = { authenticate_user: () => true };
    const [slow, fast] = [
      await start({ strategies, store: views.one }),
      await start({ strategies, store: views.two }),
    ];
    /** Runs a step on the host with a clock that is 40 seconds ahead. */
    const onFast = async <T>(act: () => Promise<T>): Promise<T> => {
      pass(40);
      try {
        return await act();
      } finally {
        pass(-40);
      }
    };
    for (const signOut of [
      () => slow.auth.signOutEverywhere('default', 'alice'),
      () => onFast(() => fast.auth.signOutEverywhere('default', 'alice')),
    ]) {
      const old = [await sessionOn(slow), await onFast(() => sessionOn(fast))];
      for (const session of old)
        expect([await nameOn(slow, session), await onFast(() => nameOn(fast, session))]).toEqual([
          'alice',
          'alice',
        ]);
      await signOut();
      const fresh = [await sessionOn(slow), await onFast(() => sessionOn(fast))];
      for (const session of old) {
        await waitFor(async () => (await nameAt(slow, session)) === null, promptly);
        await waitFor(async () => (await onFast(() => nameAt(fast, session))) === null, promptly);
      }
      for (const session of fresh)
        expect([await nameOn(slow, session), await onFast(() => nameOn(fast, session))]).toEqual([
          'alice',
          'alice',
        ]);
    }
  });
});

describe('signOutEverywhere', () => {
  it('ends the sessions of all spellings that a strategy accepts for one user', async () => {
    const app = await start({
      strategies: { authenticate_user: (username) => username.toLowerCase() === 'alice' },
    });
    const sessions = [bearerOf(await signIn(app, 'alice')), bearerOf(await signIn(app, 'ALICE'))];
    await app.auth.signOutEverywhere('default', 'Alice');
    expect(await Promise.all(sessions.map((session) => nameAt(app, session)))).toEqual([
      null,
      null,
    ]);
  });

  it.each<[string, (auth: Auth) => Promise<void>]>([
    ['an unknown strategy', (auth) => auth.signOutEverywhere('nowhere', 'alice')],
    ['swapped arguments', (auth) => auth.signOutEverywhere('alice', 'default')],
    [
      'one argument',
      (auth) => (auth.signOutEverywhere as (name: string) => Promise<void>)('alice'),
    ],
    ['an empty name', (auth) => auth.signOutEverywhere('default', '')],
    [
      'a name that is not a string',
      (auth) => auth.signOutEverywhere('default', { name: 'alice' } as unknown as string),
    ],
  ])('rejects %s', async (_case, call) => {
    const app = await start({});
    await expect(call(app.auth)).rejects.toThrow(/signOutEverywhere/);
  });

  it('answers 400 over HTTP for an unknown strategy', async () => {
    const app = await start({});
    const session = bearerOf(await signIn(app, 'admin', password));
    const answer = await ask(`${app.base}/auth/sessions?username=vera&strategy=nowhere`, {
      method: 'DELETE',
      headers: session,
    });
    expect(answer.status).toBe(400);
  });
});

describe('find_user', () => {
  /** Makes a thenable that is not a Promise, as query builders return. */
  const thenable = <T>(then: (resolve: (value: T) => void) => void): PromiseLike<T> =>
    ({ then }) as unknown as PromiseLike<T>;
  const query = <T>(value: T): PromiseLike<T> => thenable((resolve) => resolve(value));

  it('may return any thenable, like authenticate_user', async () => {
    const app = await start({
      strategies: {
        authenticate_user: () => query(true),
        find_user: () => query({ version: '1' }),
      },
    });
    const answer = await signIn(app);
    expect([answer.status, await nameAt(app, bearerOf(answer))]).toEqual([200, 'alice']);
  });

  it('gets a signal that aborts after the time limit', async () => {
    const signals: AbortSignal[] = [];
    const strategy: AuthStrategy = {
      authenticate_user: () => true,
      find_user(_username, context) {
        signals.push(context.signal);
        return new Promise(() => {});
      },
    };
    const app = await start({
      strategies: new StrategyRegistry({ timeLimit: 0.1 }).register('table', strategy),
    });
    expect((await signIn(app)).status).toBe(401);
    expect(signals[0]?.aborted).toBe(true);
  });

  it('gets an aborted signal if it reads the signal after the time limit', async () => {
    let aborted: boolean | undefined;
    const strategy: AuthStrategy = {
      authenticate_user: () => true,
      async find_user(_username, context) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        aborted ??= context.signal.aborted;
        return undefined;
      },
    };
    const app = await start({
      strategies: new StrategyRegistry({ timeLimit: 0.1 }).register('table', strategy),
    });
    expect((await signIn(app)).status).toBe(401);
    await waitFor(() => aborted !== undefined);
    expect(aborted).toBe(true);
  });

  const failing: Record<string, () => PromiseLike<KnownUser> | KnownUser> = {
    hangs: () => new Promise(() => {}),
    rejects: () => Promise.reject(new Error('down')),
    throws: () => {
      throw new Error('down');
    },
    'returns a thenable that throws': () =>
      thenable(() => {
        throw new Error('down');
      }),
    'returns a thenable that never calls back': () => thenable(() => {}),
    'returns a getter that throws': () =>
      Object.defineProperty({}, 'version', {
        get: () => {
          throw new Error('trap');
        },
      }) as KnownUser,
    'returns another shape': () => ({ version: 7 }) as unknown as KnownUser,
  };

  it.each(Object.entries(failing))(
    'does not block logins of other strategies if it %s',
    async (_case, find_user) => {
      // Long enough for the hash of the administrator on a busy machine.
      const strategies = new StrategyRegistry({ timeLimit: 3 })
        .register('table', { authenticate_user: () => true, find_user })
        .register('admin', staticUser('admin', cheapHash(password)));
      const app = await start({ strategies, throttle: false });
      const statuses = await Promise.all(
        Array.from({ length: 100 }, async () => (await signIn(app)).status),
      );
      // Some find the queue of the other strategy full.
      expect(statuses.filter((status) => status !== 401 && status !== 429)).toEqual([]);
      expect((await signIn(app, 'admin', password)).status).toBe(200);
      expect(faultsOf(app).length).toBeGreaterThan(0);
    },
  );

  it('runs for a limited number of users at once', async () => {
    let [running, most] = [0, 0];
    const strategy: AuthStrategy = {
      authenticate_user: () => true,
      async find_user(username) {
        running += 1;
        most = Math.max(most, running);
        await sleep(0.01);
        running -= 1;
        return { version: username };
      },
    };
    const registry = new StrategyRegistry().register('table', strategy);
    const names = Array.from({ length: 200 }, (_, n) => `user${n}`);
    const found = await Promise.all(names.map((name) => registry.find(strategy, name)));
    expect(found.map((user) => user?.version)).toEqual(names);
    expect(most).toBe(64);
  });

  it('is still called while calls of authenticate_user hang', async () => {
    const strategy: AuthStrategy = {
      authenticate_user: (username) => (username === 'alice' ? true : new Promise(() => {})),
      find_user: () => ({ version: '1' }),
    };
    const app = await start({
      strategies: new StrategyRegistry({ timeLimit: 0.1 }).register('table', strategy),
      throttle: false,
    });
    const session = bearerOf(await signIn(app));
    await Promise.all(Array.from({ length: 16 }, () => signIn(app, 'stranger')));
    expect((await signIn(app)).status).toBe(401);
    expect(await nameAt(app, session)).toBe('alice');
  });

  it('is not called while 64 of its calls hang, and is called again after they end', async () => {
    const ends: ((user: KnownUser) => void)[] = [];
    const strategy: AuthStrategy = {
      authenticate_user: () => true,
      find_user: () => new Promise((resolve) => ends.push(resolve)),
    };
    const registry = new StrategyRegistry({ timeLimit: 0.05 }).register('table', strategy);
    const find = async (): Promise<KnownUser | undefined> => registry.find(strategy, 'alice');
    const late = await Promise.allSettled(Array.from({ length: 100 }, find));
    expect(late.map(({ status }) => status)).toEqual(Array(100).fill('rejected'));
    const asked = ends.length;
    await expect(find()).rejects.toThrow();
    expect([asked, ends.length]).toEqual([64, 64]);
    for (const end of ends) end({ version: '1' });
    await sleep(0.01);
    const again = find();
    ends.at(-1)?.({ version: '2' });
    expect(await again).toEqual({ version: '2' });
  });
});
