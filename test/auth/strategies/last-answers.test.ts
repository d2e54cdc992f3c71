import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { AuthStrategy, KnownUser, Strategy } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { ask, logIn } from '../../helpers/client.js';
import { settableClock, stoppedClock, turnableClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { entries, searchAt } from '../../helpers/directory.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { password, secretKey } from '../../helpers/passwords.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';
import { everyStore } from '../../helpers/stores.js';
import { waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

/** A directory of one user, which the tests change. */
interface Directory {
  known: KnownUser | undefined;
  /** What `find_user` does instead of answering. */
  failure?: 'throws' | 'rejects' | 'hangs' | undefined;
  /** The users for whom it fails. Default: all. */
  failing?: readonly string[];
  /** The text of its error. */
  error?: string;
  /** The `staleFor` of its error. */
  limit?: number | undefined;
  asked: number;
}

/** Lets the processes ask the directory again, as they do after 30 seconds. */
const refreshed: (() => void)[] = [];
const refresh = (): void => {
  for (const each of refreshed) each();
};

function strategyOf(directory: Directory, more: Partial<AuthStrategy> = {}): AuthStrategy {
  return {
    authenticate_user: () => true,
    attach: ({ usersChanged }) => void refreshed.push(usersChanged),
    find_user(username) {
      directory.asked += 1;
      const { failing, known, error = 'the directory is down', limit } = directory;
      const failure = failing?.includes(username) === false ? undefined : directory.failure;
      const failed = Object.assign(new Error(error), { staleFor: limit });
      if (failure === 'throws') throw failed;
      if (failure === 'rejects') return Promise.reject(failed);
      return failure === 'hangs' ? new Promise(() => {}) : Promise.resolve(known);
    },
    ...more,
  };
}

const start = async (strategy: Strategy, store: SharedStore): Promise<LoginApp> => {
  const strategies = new StrategyRegistry({ timeLimit: 1 }).register('directory', strategy);
  return keep(await serveLogin({ strategies, store, throttle: { floor: 0 } }));
};
const seen = async (app: LoginApp, headers: { cookie: string }): Promise<unknown> => {
  const { status, json } = await ask(app.url, { headers });
  return status === 200 ? (json as { name: unknown }).name : status;
};
const states = ({ log }: LoginApp) =>
  log.events('authn_strategy_state').map(({ state }) => String(state));

describe.each(everyStore)('the session of a user, with the store in %s', (_name, open) => {
  it.each(['throws', 'rejects', 'hangs'] as const)(
    'lasts while find_user %s, in each process and after a restart',
    async (failure) => {
      const { one, two, close } = await open();
      const directory: Directory = { known: { version: 'secret-hash', roles: ['sre'] }, asked: 0 };
      const [first, second] = [
        await start(strategyOf(directory), one),
        await start(strategyOf(directory), two),
      ];
      const session = await logIn(first.base, 'ann', password);
      directory.failure = failure;
      refresh();
      const restarted = await start(strategyOf(directory), one);
      // A store on a busy machine may take longer than requests wait for it.
      for (const app of [first, second, restarted])
        await waitFor(async () => (await seen(app, session)) === 'ann');
      directory.failure = undefined;
      directory.known = { version: 'other-hash' };
      for (const app of [first, second, restarted])
        await waitFor(async () => (await seen(app, session)) === null);
      directory.failure = failure;
      for (const app of [first, second, restarted]) expect(await seen(app, session)).toBeNull();
      await close();
    },
  );

  it('ends when the user was removed, and stays ended when find_user fails again', async () => {
    const { one, two, close } = await open();
    const directory: Directory = { known: { version: '1' }, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), one),
      await start(strategyOf(directory), two),
    ];
    const session = await logIn(first.base, 'ann', password);
    directory.known = undefined;
    refresh();
    expect(await seen(first, session)).toBeNull();
    directory.failure = 'rejects';
    refresh();
    for (const app of [first, second])
      await waitFor(async () => (await seen(app, session)) === null);
    const { json } = await ask(`${first.base}/auth/session`, { headers: session });
    expect(json).toMatchObject({ code: 'UNAUTHENTICATED' });
    await close();
  });
});

describe('a session whose user has changed', () => {
  it('stays ended in an outage, although another process still has the old answer', async () => {
    const clock = turnableClock();
    const store = memoryStore();
    const directory: Directory = { known: { version: 'old' }, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), store),
      await start(strategyOf(directory), store),
    ];
    const old = await logIn(first.base, 'ann', password);
    clock.pass(120);
    expect(await seen(first, old)).toBe('ann');
    directory.known = { version: 'new' };
    clock.pass(1);
    const present = await logIn(second.base, 'ann', password);
    directory.failure = 'rejects';
    // The first process has the old answer for 30 seconds, and stores it at this request.
    expect(await seen(first, present)).toBeNull();
    for (const seconds of [31, 300]) {
      clock.pass(seconds);
      for (const app of [first, second]) {
        await waitFor(async () => (await seen(app, present)) === 'ann');
        expect(await seen(app, old)).toBeNull();
      }
    }
  });

  it.each([
    ['disabled', 120, undefined],
    ['given other roles', 120, { version: '1', roles: ['viewer'] }],
    ['disabled', 1, undefined],
    ['given other roles', 1, { version: '1', roles: ['viewer'] }],
  ])('does not return when the user, who was %s after %i s, changes back', async (...row) => {
    const [, seconds, changed] = row;
    const clock = turnableClock();
    const store = memoryStore();
    const before = { version: '1', roles: ['admin'] };
    const directory: Directory = { known: before, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), store),
      await start(strategyOf(directory), store),
    ];
    const session = await logIn(first.base, 'ann', password);
    clock.pass(seconds);
    expect(await seen(first, session)).toBe('ann');
    directory.known = changed;
    clock.pass(31);
    expect(await seen(first, session)).toBeNull();
    directory.known = before;
    clock.pass(31);
    for (const app of [first, second]) expect(await seen(app, session)).toBeNull();
    const again = await logIn(second.base, 'ann', password);
    const { json } = await ask(`${first.base}/auth/sessions`, { headers: again });
    expect((json as { items: unknown[] }).items).toHaveLength(1);
  });

  it('is not ended by the answer before a password check, which has no roles', async () => {
    const directory: Directory = { known: { version: '1', roles: ['viewer'] }, asked: 0 };
    const onlys: unknown[] = [];
    const strategy = strategyOf(directory, {
      authenticate_user: (_name, given) => given === password && { ok: true, roles: ['viewer'] },
    });
    const find = strategy.find_user;
    strategy.find_user = async (username, context) => {
      onlys.push(context.only);
      const known = await find?.(username, context);
      return known && context.only === 'version' ? { version: known.version } : known;
    };
    const app = await start(strategy, memoryStore());
    const session = await logIn(app.base, 'ann', password);
    expect(onlys).toEqual(['version', undefined]);
    refresh();
    await expect(logIn(app.base, 'ann', 'wrong')).rejects.toThrow('login answered 401');
    expect(await seen(app, session)).toBe('ann');
    await expect(logIn(app.base, 'ann', 'wrong')).rejects.toThrow('login answered 401');
    directory.failure = 'rejects';
    refresh();
    expect(await seen(app, session)).toBe('ann');
  });

  it('is not ended by an answer that is older than the session', async () => {
    const clock = turnableClock();
    const store = memoryStore();
    const directory: Directory = { known: { version: '1' }, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), store),
      await start(strategyOf(directory), store),
    ];
    expect(await seen(second, await logIn(second.base, 'ann', password))).toBe('ann');
    directory.known = { version: '2' };
    const session = await logIn(first.base, 'ann', password);
    expect(await seen(second, session)).toBeNull();
    await waitFor(async () => (await seen(second, session)) === 'ann');
    clock.pass(31);
    for (const app of [first, second]) expect(await seen(app, session)).toBe('ann');
  });

  it('is not ended by the last answer of a strategy that fails, and causes no call', async () => {
    const store = memoryStore();
    const directory: Directory = { known: { version: '1' }, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), store),
      await start(strategyOf(directory), store),
    ];
    const session = await logIn(first.base, 'ann', password);
    directory.known = { version: '2' };
    expect(await seen(second, await logIn(second.base, 'ann', password))).toBe('ann');
    directory.failure = 'rejects';
    refresh();
    expect(await seen(first, session)).toBeNull();
    const before = directory.asked;
    for (let n = 0; n < 9; n += 1) expect(await seen(first, session)).toBeNull();
    // Once a second, and nine requests take less than that.
    expect(directory.asked - before).toBeLessThan(5);
    directory.failure = undefined;
    directory.known = { version: '1' };
    await waitFor(async () => (await seen(first, session)) === 'ann');
  });

  it('is asked about once for requests at the same time', async () => {
    const clock = turnableClock();
    const directory: Directory = { known: { version: '1' }, asked: 0 };
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const strategy = strategyOf(directory);
    const find = strategy.find_user;
    let isHeld = false;
    strategy.find_user = async (...args) => {
      if (isHeld) await held;
      return find?.(...args);
    };
    const app = await start(strategy, memoryStore());
    const session = await logIn(app.base, 'ann', password);
    directory.known = { version: '2' };
    clock.pass(31);
    const other = await logIn(app.base, 'ann', password);
    expect(await seen(app, other)).toBe('ann');
    isHeld = true;
    const before = directory.asked;
    for (let n = 0; n < 5; n += 1) expect(await seen(app, session)).toBeNull();
    release();
    await waitFor(() => directory.asked > before);
    expect(directory.asked).toBe(before + 1);
  });

  it('does not return when find_user fails, though another process stored its state', async () => {
    const store = memoryStore();
    const directory: Directory = { known: { version: '1', roles: ['viewer'] }, asked: 0 };
    const [first, second] = [
      await start(strategyOf(directory), store),
      await start(strategyOf(directory), store),
    ];
    expect(await seen(second, await logIn(second.base, 'ann', password))).toBe('ann');
    directory.known = { version: '1', roles: ['admin'] };
    const session = await logIn(first.base, 'ann', password);
    expect(await seen(first, session)).toBe('ann');
    directory.known = { version: '1', roles: ['viewer'] };
    refresh();
    expect(await seen(second, session)).toBeNull();
    directory.failure = 'rejects';
    refresh();
    expect(await seen(second, session)).toBeNull();
  });
});

describe('while find_user fails', () => {
  const store = memoryStore();
  const outage = async (more: Partial<AuthStrategy> = {}, of = store) => {
    const directory: Directory = { known: { version: '1' }, asked: 0 };
    const app = await start(strategyOf(directory, more), of);
    return { directory, app, session: await logIn(app.base, 'ann', password) };
  };

  it.each([
    ['by default', undefined, 900],
    ['with `staleFor`', 300, 300],
    ['with `staleFor` above `tokenExpiry`', 10_000_000, 86_400],
  ])('the last answer holds for some time, %s', async (_case, staleFor, seconds) => {
    const clock = turnableClock();
    const { directory, app, session } = await outage({ staleFor });
    directory.failure = 'rejects';
    clock.pass(seconds - 10);
    if (seconds < 86_400) {
      expect(await seen(app, session)).toBe('ann');
      clock.pass(20);
      expect(await seen(app, session)).toBe(503);
      directory.failure = undefined;
      expect(await seen(app, session)).toBe('ann');
    } else expect(await seen(app, session)).toBe('ann');
  });

  it('an error with `staleFor` shortens the time of its user, also after a restart', async () => {
    const clock = turnableClock();
    const more = { staleFor: 10_000 };
    const own = memoryStore();
    const { directory, app, session } = await outage(more, own);
    const eve = await logIn(app.base, 'eve', password);
    Object.assign(directory, { failing: ['eve'], failure: 'rejects', limit: 900 });
    for (const seconds of [100, 790]) {
      clock.pass(seconds);
      expect(await seen(app, eve)).toBe('eve');
      expect(await seen(app, session)).toBe('ann');
    }
    directory.limit = undefined;
    expect(await seen(app, eve)).toBe('eve');
    const restarted = await start(strategyOf(directory, more), own);
    clock.pass(20);
    for (const each of [app, restarted]) {
      expect(await seen(each, eve)).toBe(503);
      expect(await seen(each, session)).toBe('ann');
    }
    directory.failing = [];
    expect(await seen(app, eve)).toBe('eve');
    directory.failing = ['ann', 'eve'];
    clock.pass(9000);
    for (const each of [eve, session]) expect(await seen(app, each)).toMatch(/ann|eve/);
  });

  it('an answer after an error with `staleFor` holds as long as any other', async () => {
    const clock = turnableClock();
    const { directory, app, session } = await outage({ staleFor: 10_000 }, memoryStore());
    Object.assign(directory, { failure: 'rejects', limit: 0 });
    clock.pass(31);
    expect(await seen(app, session)).toBe(503);
    directory.failure = undefined;
    expect(await seen(app, session)).toBe('ann');
    Object.assign(directory, { failure: 'rejects', limit: undefined });
    for (const seconds of [31, 9000]) {
      clock.pass(seconds);
      expect(await seen(app, session)).toBe('ann');
    }
  });

  it('the `staleFor` of its errors also counts for users for whom it is not called', async () => {
    stoppedClock();
    const clock = turnableClock();
    const { directory, app, session } = await outage({ staleFor: 10_000 }, memoryStore());
    const others: { cookie: string }[] = [];
    for (const name of ['bob', 'eve', 'zoe']) others.push(await logIn(app.base, name, password));
    Object.assign(directory, { failure: 'rejects', limit: 900 });
    clock.pass(890);
    for (const each of [session, ...others]) expect(await seen(app, each)).not.toBe(503);
    expect(directory.asked).toBeLessThan(12);
    const before = directory.asked;
    expect(await seen(app, others[2] ?? session)).toBe('zoe');
    expect(directory.asked).toBe(before);
    clock.pass(20);
    expect(await seen(app, others[2] ?? session)).toBe(503);
  });

  it('an answer that is more than a minute in the future does not hold', async () => {
    const clock = turnableClock();
    const { directory, app, session } = await outage();
    clock.pass(3600);
    expect(await seen(app, session)).toBe('ann');
    directory.failure = 'rejects';
    clock.pass(-50);
    refresh();
    expect(await seen(app, session)).toBe('ann');
    clock.pass(-20);
    expect(await seen(app, session)).toBe(503);
  });

  it('no answer holds if `staleFor` is 0', async () => {
    const { directory, app, session } = await outage({ staleFor: 0 });
    directory.failure = 'rejects';
    refresh();
    expect(await seen(app, session)).toBe(503);
    directory.failure = undefined;
    expect(await seen(app, session)).toBe('ann');
  });

  it('each change of state is logged once, if it fails for three users', async () => {
    const { directory, app, session } = await outage({}, memoryStore());
    const others = [await logIn(app.base, 'bob', password), await logIn(app.base, 'eve', password)];
    for (const _ of [1, 2]) {
      directory.failure = 'rejects';
      refresh();
      for (const _request of [1, 2, 3, 4]) expect(await seen(app, session)).toBe('ann');
      // A user for whom it failed a moment ago is asked about again a second later.
      await waitFor(async () => {
        for (const other of others) expect(await seen(app, other)).toMatch(/bob|eve/);
        return states(app).at(-1) === 'down';
      });
      directory.failure = undefined;
      await waitFor(async () => (await seen(app, session)) && states(app).at(-1) === 'up');
    }
    expect(states(app)).toEqual(['down', 'up', 'down', 'up']);
    const [line] = app.log.events('authn_strategy_state');
    expect(line).toMatchObject({ strategy: 'directory', error: 'the directory is down' });
  });

  it('a line a minute names a user until it fails for three, and contains no key', async () => {
    const clock = settableClock();
    const { directory, app, session } = await outage({}, memoryStore());
    const others = [await logIn(app.base, 'bob', password), await logIn(app.base, 'eve', password)];
    const lines = () => app.log.events('authn_find_user_error');
    const failing = ['ann'];
    Object.assign(directory, { failing, failure: 'rejects', error: `no bind with ${secretKey}` });
    for (const [seconds, count] of [
      [31, 1],
      [2, 1],
      [58, 2],
    ] as const) {
      clock.pass(seconds);
      expect(await seen(app, session)).toBe('ann');
      expect(lines()).toHaveLength(count);
    }
    expect(lines()[0]).toMatchObject({
      ...{ level: 40, strategy: 'directory', username: 'ann', mount: '/tasks' },
      err: { type: 'Error', message: 'no bind with [redacted]' },
    });
    expect(states(app)).toEqual([]);
    failing.push('bob', 'eve');
    clock.pass(2);
    for (const each of [session, ...others]) expect(await seen(app, each)).not.toBe(503);
    expect(states(app)).toEqual(['down']);
    clock.pass(70);
    for (const each of [session, ...others]) expect(await seen(app, each)).not.toBe(503);
    expect(lines()).toHaveLength(2);
  });

  it.each([
    ['one user', ['ann']],
    ['three users', ['ann', 'bob', 'eve']],
  ])('for %s only, the sessions of others still end', async (_case, failing) => {
    const { directory, app, session } = await outage({}, memoryStore());
    const sessions = [session];
    for (const name of failing.slice(1)) sessions.push(await logIn(app.base, name, password));
    const zoe = await logIn(app.base, 'zoe', password);
    Object.assign(directory, { failing, failure: 'rejects', known: { version: '2' } });
    refresh();
    for (const [index, each] of sessions.entries())
      expect(await seen(app, each)).toBe(failing[index]);
    let stop = false;
    const asking = Promise.all(
      sessions.map(async (each) => {
        while (!stop) await seen(app, each);
      }),
    );
    await waitFor(async () => (await seen(app, zoe)) === null);
    stop = true;
    await asking;
    expect(states(app)).toEqual(failing.length < 3 ? [] : ['down']);
  });

  it('users for whom it fails do not take the turns of the others', async () => {
    const clock = settableClock();
    const { directory, app, session } = await outage({}, memoryStore());
    const failing = ['ann', 'bob', 'eve'];
    const sessions = [session];
    for (const name of failing.slice(1)) sessions.push(await logIn(app.base, name, password));
    const zoe = await logIn(app.base, 'zoe', password);
    Object.assign(directory, { failing, failure: 'rejects', known: { version: '2' } });
    refresh();
    for (const each of sessions) await seen(app, each);
    clock.pass(2);
    expect(await seen(app, session)).toBe('ann');
    expect(await seen(app, zoe)).toBeNull();
  });

  it('requests do not wait for a call that hangs, which is made once a second', async () => {
    const { directory, app, session } = await outage();
    directory.failure = 'hangs';
    refresh();
    expect(await seen(app, session)).toBe('ann');
    directory.asked = 0;
    const started = performance.now();
    for (let request = 0; request < 40; request += 1) expect(await seen(app, session)).toBe('ann');
    const seconds = (performance.now() - started) / 1000;
    expect(seconds).toBeLessThan(20);
    expect(directory.asked).toBeLessThanOrEqual(seconds + 1);
  });

  it('a login is refused', async () => {
    const { directory, app } = await outage();
    directory.failure = 'rejects';
    await expect(logIn(app.base, 'ann', password)).rejects.toThrow('login answered 401');
  });

  it('a wrong answer counts as a failure', async () => {
    const { directory, app, session } = await outage();
    directory.known = { version: 7 } as unknown as KnownUser;
    refresh();
    expect(await seen(app, session)).toBe('ann');
  });

  it('the store has no text of the answer, which may be a hash', async () => {
    const own = memoryStore();
    const written: string[] = [];
    const recording: SharedStore = {
      ...own,
      replace: (...args) => {
        written.push(JSON.stringify(args));
        return own.replace(...args);
      },
    };
    const directory: Directory = { known: { version: 'a-hash', roles: ['a-role'] }, asked: 0 };
    await logIn((await start(strategyOf(directory), recording)).base, 'ann', password);
    const answers = written.filter((text) => text.includes(':known:'));
    expect(answers).not.toEqual([]);
    for (const secret of ['a-hash', 'a-role', 'ann']) expect(answers.join()).not.toContain(secret);
  });

  it('the answer about another user does not hold', async () => {
    const own = memoryStore();
    const prefix = 'auth:/tasks:known:';
    let isMixed = false;
    const mixed: SharedStore = {
      ...own,
      async get(key) {
        const entries =
          isMixed && key.startsWith(prefix) ? await own.list(prefix, undefined, 9) : [];
        const other = entries.find((entry) => entry.key !== key);
        return other?.value ?? own.get(key);
      },
    };
    const { directory, app, session } = await outage({}, mixed);
    directory.failure = 'rejects';
    refresh();
    expect(await seen(app, session)).toBe('ann');
    directory.failure = undefined;
    await logIn(app.base, 'bob', password);
    isMixed = true;
    directory.failure = 'rejects';
    refresh();
    expect(await seen(app, session)).toBe(503);
  });
});

(hasSlapd ? describe : describe.skip)('the session of a user of a directory', () => {
  let slapd: Slapd;
  beforeAll(async () => {
    slapd = await Slapd.start({ entries });
  });
  afterAll(() => slapd?.remove());

  it('lasts while the directory is stopped, and ends when the user is gone', async () => {
    const clock = turnableClock();
    const store = memoryStore();
    const app = await start(ldap(searchAt(slapd.url)), store);
    const [ann, bob] = [
      await logIn(app.base, 'ann', 'ann-secret'),
      await logIn(app.base, 'bob', 'bob-secret'),
    ];
    await slapd.asRoot((client) => client.del(`uid=bob,ou=people,${suffix}`));
    await slapd.stop();
    clock.pass(31);
    const restarted = await start(ldap(searchAt(slapd.url)), store);
    for (const each of [app, restarted]) {
      expect(await seen(each, ann)).toBe('ann');
      expect(await seen(each, bob)).toBe('bob');
    }
    await slapd.start();
    for (const each of [app, restarted]) {
      await waitFor(async () => (await seen(each, bob)) === null);
      expect(await seen(each, ann)).toBe('ann');
    }
    await slapd.stop();
    clock.pass(940);
    expect(await seen(app, ann)).toBe(503);
    await slapd.start();
    await waitFor(async () => (await seen(app, ann)) === 'ann');
  });
});
