import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import type { AuthStrategy, Verdict } from '../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { type Answer, ask, logIn, postForm, postJson } from '../helpers/client.js';
import { stoppedClock, turnableClock } from '../helpers/clock.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password, scryptHash } from '../helpers/passwords.js';
import { quickest } from '../helpers/quickest.js';
import { sleep, waitFor } from '../helpers/wait.js';

const fast = { floor: 0 };
let app: LoginApp;
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await app.close();
});

const start = async (
  options: Partial<AuthOptions>,
  koa?: Parameters<typeof serveLogin>[1],
): Promise<void> => {
  app = await serveLogin(options, koa);
};
const codeOf = ({ json }: Answer): unknown => (json as { code?: string } | undefined)?.code;
const fail = (username = 'admin', headers: Record<string, string> = {}): Promise<Answer> =>
  postJson(app.login, { username, password: 'wrong' }, headers);
const failTimes = async (times: number, ...args: Parameters<typeof fail>): Promise<number[]> => {
  const statuses: number[] = [];
  for (let n = 0; n < times; n++) statuses.push((await fail(...args)).status);
  return statuses;
};
/** Returns the parts of an answer that could distinguish two failures. */
const visible = ({ status, headers, json }: Answer): unknown => [
  status,
  [...headers].filter(([name]) => name !== 'date'),
  { ...(json as object), requestId: '' },
];
/** Makes a strategy that counts its calls. */
const counting = (verdict: Verdict = false) => {
  const strategy: AuthStrategy & { asked: number } = {
    asked: 0,
    authenticate_user() {
      strategy.asked += 1;
      return verdict;
    },
  };
  return strategy;
};

describe('the limit of login attempts', () => {
  it('answers 429 with Retry-After after five failures, in JSON and on the page', async () => {
    stoppedClock();
    await start({ throttle: fast });
    expect(await failTimes(5)).toEqual(Array(5).fill(401));
    const answer = await fail();
    expect([answer.status, codeOf(answer), answer.headers.get('Retry-After')]).toEqual([
      429,
      'THROTTLED',
      '1',
    ]);
    const page = await postForm(app.login, {
      username: 'admin',
      password: 'wrong',
      next: '/reports',
    });
    expect([page.status, page.headers.get('Retry-After')]).toEqual([429, '1']);
    expect(page.text).toContain('Too many attempts. Try again in 1 second.');
    expect(page.text).toContain('value="admin"');
    expect(page.text).toContain('value="/reports"');
  });

  it('answers the same 429 to unknown names and right passwords, without any check', async () => {
    stoppedClock();
    const strategy = counting();
    await start({ strategies: strategy, throttle: fast });
    await failTimes(5, 'admin');
    await failTimes(5, 'nobody');
    expect(strategy.asked).toBe(10);
    const [known, unknown] = [await fail('admin'), await fail('nobody')];
    const right = await postJson(app.login, { username: 'admin', password });
    expect(visible(unknown)).toEqual(visible(known));
    expect(visible(right)).toEqual(visible(known));
    expect(strategy.asked).toBe(10);
  });

  it('allows the right password after the wait', async () => {
    const { pass } = turnableClock();
    await start({ throttle: fast });
    await failTimes(5);
    expect((await postJson(app.login, { username: 'admin', password })).status).toBe(429);
    pass(1);
    expect((await postJson(app.login, { username: 'admin', password })).status).toBe(200);
  });

  it('lets five of two hundred simultaneous attempts reach the strategy', async () => {
    const strategy = counting();
    await start({ strategies: strategy, throttle: fast });
    const began = Date.now();
    await Promise.all(Array.from({ length: 200 }, () => fail()));
    // One attempt becomes available per second, and a busy machine may take that long.
    expect(strategy.asked).toBeGreaterThanOrEqual(5);
    expect(strategy.asked).toBeLessThanOrEqual(5 + Math.floor((Date.now() - began) / 1000));
  });

  it('applies to the address of the socket or proxy, not to a forged X-Forwarded-For', async () => {
    await start({ throttle: { ...fast, address: 10, pair: 100 } });
    for (let n = 0; n < 10; n++) await fail(`user ${n}`, { 'X-Forwarded-For': `198.51.100.${n}` });
    expect((await fail('another', { 'X-Forwarded-For': '6.6.6.6' })).status).toBe(429);
    await app.close();
    await start({ throttle: { ...fast, address: 10, pair: 100 } }, { proxy: true });
    for (let n = 0; n < 10; n++)
      await fail(`user ${n}`, { 'X-Forwarded-For': `198.51.100.${n}, 203.0.113.7` });
    expect((await fail('another', { 'X-Forwarded-For': '6.6.6.6, 203.0.113.7' })).status).toBe(429);
    expect((await fail('another', { 'X-Forwarded-For': '6.6.6.6, 203.0.113.8' })).status).toBe(401);
    expect(app.log.lines.filter(({ msg }) => String(msg).includes('maxIpsCount'))).toHaveLength(1);
  });

  it('counts invalid bodies by their address', async () => {
    stoppedClock();
    await start({ throttle: { ...fast, address: 3 } });
    for (let n = 0; n < 3; n++)
      expect((await postJson(app.login, { username: 'admin' })).status).toBe(400);
    expect((await postJson(app.login, { username: 'admin' })).status).toBe(429);
    expect((await postJson(app.login, { username: 'admin', password })).status).toBe(429);
  });

  it('shares the failure count between processes on the same store', async () => {
    stoppedClock();
    const store = memoryStore();
    await start({ store, throttle: fast });
    const other = await serveLogin({ store, throttle: fast });
    await failTimes(3);
    for (let n = 0; n < 2; n++)
      await postJson(other.login, { username: 'admin', password: 'wrong' });
    expect((await fail()).status).toBe(429);
    expect((await postJson(other.login, { username: 'admin', password: 'wrong' })).status).toBe(
      429,
    );
    await other.close();
  });

  it('succeeds with a store that answers each call within its time limit', async () => {
    const store = memoryStore();
    const slowly = <A extends unknown[], T>(call: (...args: A) => Promise<T>) => {
      return async (...args: A): Promise<T> => {
        await sleep(0.55);
        return call(...args);
      };
    };
    await start({ store: { ...store, get: slowly(store.get), replace: slowly(store.replace) } });
    expect((await postJson(app.login, { username: 'admin', password })).status).toBe(200);
  });

  it('answers 503 and asks no strategy if the store does not answer', async () => {
    const strategy = counting(true);
    await start({
      store: { ...memoryStore(), get: () => new Promise(() => {}) },
      strategies: strategy,
    });
    expect(codeOf(await postJson(app.login, { username: 'admin', password }))).toBe(
      'STORE_UNAVAILABLE',
    );
    expect(strategy.asked).toBe(0);
  });

  it('writes one log line and one audit row for each block', async () => {
    stoppedClock();
    await start({ throttle: fast });
    await failTimes(40);
    expect(await app.log.logged('authn_login_throttled', 1)).toMatchObject([
      {
        level: 40,
        owasp: 'authn_login_fail_max',
        username: 'admin',
        bucket: 'pair',
        retryAfter: 1,
        refused: 1,
      },
    ]);
    const { items } = (await app.auth.audit?.({ outcome: 'refused' })) ?? { items: [] };
    expect(items).toMatchObject([{ action: 'login', actor: 'admin', detail: { bucket: 'pair' } }]);
  });
});

describe('a browser with an earlier login', () => {
  const cookiesOf = (answer: Answer): string =>
    answer.headers
      .getSetCookie()
      .map((each) => each.split(';')[0])
      .join('; ');
  const signIn = (headers: Record<string, string> = {}): Promise<Answer> =>
    postForm(app.login, { username: 'admin', password }, headers);
  const device = async (): Promise<string> => cookiesOf(await signIn()).split('; ')[1] ?? '';

  it('has an HttpOnly cookie that lasts 180 days and opens no session', async () => {
    await start({});
    const line = (await signIn()).headers.getSetCookie()[1];
    const [pair = '', ...attributes] = line?.split('; ') ?? [];
    expect(pair).toMatch(/^taskflow_token_device=[\w-]+\.[\w-]{43}$/);
    expect(attributes).toEqual(['Path=/', 'Max-Age=15552000', 'HttpOnly', 'SameSite=Lax']);
    const value = pair.split('=')[1] ?? '';
    for (const headers of [
      { Cookie: `taskflow_token=${value}` },
      { Authorization: `Bearer ${value}` },
    ] as Record<string, string>[])
      expect((await ask(app.url, { headers })).json).toEqual({ name: null });
  });

  it('lets its user sign in after other browsers have used up the account limit', async () => {
    stoppedClock();
    await start({ throttle: { ...fast, account: 6, pair: 3 } });
    const cookie = await device();
    await failTimes(10);
    expect((await signIn()).status).toBe(429);
    expect((await signIn({ Cookie: cookie })).status).toBe(303);
    expect(
      (await postJson(app.login, { username: 'admin', password }, { Cookie: cookie })).status,
    ).toBe(200);
  });

  it('has its own five attempts', async () => {
    stoppedClock();
    await start({ throttle: fast });
    const cookie = await device();
    expect(await failTimes(7, 'admin', { Cookie: cookie })).toEqual([
      401, 401, 401, 401, 401, 429, 429,
    ]);
    expect((await fail('admin')).status).toBe(401);
  });

  it('is not familiar for another account, another strategy or another key', async () => {
    stoppedClock();
    const strategies = new StrategyRegistry()
      .register('team', staticUser('admin', cheapHash(password)))
      .register('staff', staticUser('admin', cheapHash('another')));
    await start({ strategies, throttle: { ...fast, pair: 2 } });
    const cookie =
      cookiesOf(await postForm(app.login, { username: 'admin', password, strategy: 'team' })).split(
        '; ',
      )[1] ?? '';
    await failTimes(2, 'admin');
    await failTimes(2, 'bob');
    expect((await fail('bob', { Cookie: cookie })).status).toBe(429);
    const named = (strategy: string) =>
      postJson(app.login, { username: 'admin', password: 'wrong', strategy }, { Cookie: cookie });
    expect((await named('staff')).status).toBe(429);
    expect((await named('team')).status).toBe(401);
    const forged = cookie.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'));
    expect((await fail('admin', { Cookie: forged })).status).toBe(429);
  });

  it('also reaches the other strategies if the login names none', async () => {
    const strategies = new StrategyRegistry()
      .register('team', staticUser('admin', cheapHash(password)))
      .register('staff', staticUser('admin', cheapHash('another')));
    await start({ strategies, throttle: fast });
    const cookie = await device();
    const answer = await postJson(
      app.login,
      { username: 'admin', password: 'another' },
      { Cookie: cookie },
    );
    expect(answer.status).toBe(200);
  });

  it('keeps its id across logins and logouts', async () => {
    await start({});
    const first = await signIn();
    const idOf = (cookies: string): unknown =>
      JSON.parse(
        Buffer.from(/_device=([\w-]+)\./.exec(cookies)?.[1] ?? '', 'base64url').toString(),
      )[2];
    const out = await ask(`${app.base}/auth/logout`, {
      method: 'POST',
      headers: { Cookie: cookiesOf(first) },
    });
    const again = await signIn({ Cookie: cookiesOf(first) });
    expect(idOf(cookiesOf(again))).toBe(idOf(cookiesOf(first)));
    expect(idOf(cookiesOf(out))).toBe(idOf(cookiesOf(first)));
  });
});

describe('a login', () => {
  const strategies = (): StrategyRegistry =>
    new StrategyRegistry({ timeLimit: 0.2 })
      .register('users', multiUser([['admin', cheapHash(password)]]))
      .register('throwing', {
        authenticate_user: (name) => {
          if (name === 'thrower') throw new Error('down');
          return false;
        },
      })
      .register('hanging', {
        authenticate_user: (name) => (name === 'hanger' ? new Promise(() => {}) : false),
      });

  it('gets the same answer for any failure, byte for byte', async () => {
    await start({ strategies: strategies(), throttle: fast });
    const answers = [
      await fail('admin'),
      await fail('nobody'),
      await fail('thrower'),
      await fail('hanger'),
      await postJson(app.login, { username: 'admin', password, strategy: 'constructor' }),
      await postJson(app.login, { username: 'admin', password, strategy: '__proto__' }),
    ];
    for (const answer of answers) expect(visible(answer)).toEqual(visible(answers[0] as Answer));
    const pages = [
      await postForm(app.login, { username: 'admin', password: 'x' }),
      await postForm(app.login, { username: 'nobody', password: 'x' }),
    ];
    expect(pages[1]?.text.replace('nobody', 'admin')).toBe(pages[0]?.text);
  });

  it('is answered after a minimum time if it fails, but at once if it succeeds', async () => {
    await start({});
    expect(
      await quickest(0, () => postJson(app.login, { username: 'nobody', password: 'x' }), 1),
    ).toBeGreaterThanOrEqual(298);
    expect(
      await quickest(250, () => postJson(app.login, { username: 'admin', password })),
    ).toBeLessThan(250);
  });

  it('asks every strategy, for a known name as for an unknown one', async () => {
    const counts = new Map<string, number>();
    const users = new StrategyRegistry()
      .register(
        'first',
        counted(
          multiUser([
            ['alice', cheapHash('a')],
            ['bob', cheapHash('b')],
          ]),
        ),
      )
      .register('second', counted(staticUser('admin', cheapHash(password))));
    function counted(inner: AuthStrategy): AuthStrategy {
      return {
        async authenticate_user(name, given, context) {
          const verdict = await inner.authenticate_user(name, given, context);
          counts.set(name, (counts.get(name) ?? 0) + 1);
          return verdict;
        },
      };
    }
    await start({ strategies: users, throttle: fast });
    for (const name of ['alice', 'admin', 'nobody']) await fail(name);
    expect([...counts.values()]).toEqual([2, 2, 2]);
  });

  it('skips a strategy with hanging calls, so that the administrator can sign in', async () => {
    let asked = 0;
    const hang = () => {
      asked += 1;
      return new Promise<never>(() => {});
    };
    // Long enough for the hash of the administrator on a busy machine.
    const hanging = new StrategyRegistry({ timeLimit: 3 })
      .register('directory', { authenticate_user: hang })
      .register('admin', staticUser('admin', cheapHash(password)));
    await start({ strategies: hanging, throttle: false });
    await Promise.all(Array.from({ length: 100 }, () => fail()));
    expect(app.log.events('authn_strategy_error').some(({ timeout }) => timeout === true)).toBe(
      true,
    );
    const before = asked;
    expect((await postJson(app.login, { username: 'admin', password })).status).toBe(200);
    // The registry skips a strategy that has sixteen or more hanging calls.
    expect(asked).toBe(before);
  });

  it('ignores a strategy that answers or rejects after its time limit', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const late: AuthStrategy = {
      authenticate_user: (name) =>
        new Promise((resolve, reject) =>
          setTimeout(() => (name === 'rejects' ? reject(new Error('late')) : resolve(true)), 300),
        ),
    };
    await start({
      strategies: new StrategyRegistry({ timeLimit: 0.1 }).register('late', late),
      throttle: fast,
    });
    const answers = await Promise.all([fail('rejects'), fail('resolves')]);
    expect(answers.map(({ status }) => status)).toEqual([401, 401]);
    await new Promise((resolve) => setTimeout(resolve, 350));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});

describe('five hundred simultaneous logins', () => {
  it('keep other routes responsive, compute few hashes and get Retry-After', async () => {
    await start({
      strategies: staticUser('admin', 'a plain password'),
      throttle: { ...fast, pair: 1e6, address: 1e6, account: 1e6, global: 1e6, queue: 8 },
    });
    await waitFor(
      async () =>
        (await postJson(app.login, { username: 'admin', password: 'a plain password' })).status ===
        200,
    );
    /** Returns the 95th percentile of the response times of another route, in milliseconds. */
    const usual = async (): Promise<number> => {
      const times: number[] = [];
      for (let n = 0; n < 100; n++) times.push(await quickest(0, () => ask(app.url), 1));
      return times.sort((one, other) => one - other)[95] ?? 0;
    };
    const quiet = await usual();
    const flood = Promise.all(Array.from({ length: 500 }, () => fail()));
    const busy = await usual();
    // Awaited before the assertions, because unfinished requests would fail the next test.
    const statuses = (await flood).map(({ status }) => status);
    expect(busy).toBeLessThan(500 + 10 * quiet);
    expect(statuses.filter((status) => status === 401).length).toBeLessThan(40);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(440);
    expect(await app.log.logged('authn_login_throttled', 1)).toMatchObject([
      { bucket: 'queue', owasp: 'excess_rate_limit_exceeded' },
    ]);
  });
});

describe('simultaneous logins with the right password', () => {
  it.each<[string, AuthOptions['strategies']]>([
    [
      'a strategy that takes 50 ms',
      { authenticate_user: () => new Promise<boolean>((resolve) => setTimeout(resolve, 50, true)) },
    ],
    ['a hash that takes about as long', ['admin', scryptHash(password, { ln: 14, r: 8, p: 2 })]],
  ])('all succeed from one address: %s', async (_case, strategies) => {
    await start({ strategies });
    await logIn(app.base);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => postJson(app.login, { username: 'admin', password })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(app.log.events('authn_login_throttled')).toEqual([]);
  });
});

describe('a guess that a full queue interrupts', () => {
  it('is counted if one strategy has already answered it', async () => {
    // The clock must stand still, because each second allows another guess.
    turnableClock();
    const first = counting();
    const strategies = new StrategyRegistry()
      .register('first', first)
      .register('second', staticUser('admin', 'a plain password'));
    await start({ strategies, throttle: { ...fast, queue: 1, global: 1000 } });
    await postJson(app.login, { username: 'warm up', password: 'x' });
    first.asked = 0;
    await Promise.all(Array.from({ length: 60 }, () => fail('alice')));
    for (let n = 0; n < 3; n++) await Promise.all(Array.from({ length: 20 }, () => fail('alice')));
    expect(first.asked).toBeLessThanOrEqual(5);
  });
});

describe('the log of a login', () => {
  it('has one line and one audit row per outcome, and the number of earlier failures', async () => {
    await start({ throttle: fast });
    await failTimes(2);
    await logIn(app.base);
    await logIn(app.base);
    await fail('Typed-My-Pa55word');
    const fails = await app.log.logged('authn_login_fail', 3);
    expect(
      app.log.lines.map(({ event }) => event).filter((event) => String(event).startsWith('authn')),
    ).toEqual([
      'authn_login_fail',
      'authn_login_fail',
      'authn_login_successafterfail',
      'authn_login_success',
      'authn_login_fail',
    ]);
    expect(fails.map(({ attempt }) => attempt)).toEqual([1, 2, 1]);
    expect(app.log.events('authn_login_successafterfail')).toMatchObject([
      { failures: 2, via: 'form' },
    ]);
    const page = await app.auth.audit?.({});
    expect(page?.items.map(({ action, outcome, actor }) => [action, outcome, actor])).toEqual([
      ['login', 'failed', undefined],
      ['login', 'done', 'admin'],
      ['login', 'done', 'admin'],
      ['login', 'failed', 'admin'],
      ['login', 'failed', 'admin'],
    ]);
    expect(JSON.stringify(page)).not.toContain('Typed-My-Pa55word');
  });

  describe('if a familiar strategy rejects the login first', () => {
    const written = async (): Promise<unknown> => [
      app.log.lines
        .map(({ event }) => event)
        .filter((event) => String(event).startsWith('authn_login')),
      (await app.auth.audit?.({}))?.items.map(({ outcome }) => outcome).reverse(),
    ];
    /** Starts an app whose strategy `team` is familiar, but not the other one. */
    const startFamiliar = async (other: AuthStrategy): Promise<void> => {
      const strategies = new StrategyRegistry()
        .register('team', staticUser('admin', cheapHash(password)))
        .register('staff', other);
      await start({ strategies, throttle: fast });
      expect((await postJson(app.login, { username: 'admin', password })).status).toBe(200);
    };

    it('has one success if another strategy accepts it, and counts the rejection', async () => {
      await startFamiliar(staticUser('admin', cheapHash('another')));
      for (let n = 0; n < 2; n++)
        expect((await postJson(app.login, { username: 'admin', password: 'another' })).status).toBe(
          200,
        );
      const success = 'authn_login_success';
      expect(await written()).toEqual([Array(3).fill(success), ['done', 'done', 'done']]);
      expect((await fail()).status).toBe(401);
      expect(await written()).toEqual([
        [success, success, success, 'authn_login_fail'],
        ['done', 'done', 'done', 'failed'],
      ]);
      expect(await app.log.logged('authn_login_fail', 1)).toMatchObject([
        { reason: 'bad_credentials', attempt: 3 },
      ]);
    });

    it('has one failure if no strategy accepts it, with the error as its reason', async () => {
      await startFamiliar({
        authenticate_user() {
          throw new Error('down');
        },
      });
      expect((await fail()).status).toBe(401);
      expect(await written()).toEqual([
        ['authn_login_success', 'authn_login_fail'],
        ['done', 'failed'],
      ]);
      expect(await app.log.logged('authn_login_fail', 1)).toMatchObject([
        { reason: 'strategy_error', attempt: 1 },
      ]);
    });

    it('has one failure if the limit for strangers blocks the other strategies', async () => {
      stoppedClock();
      const other = counting();
      await startFamiliar(other);
      for (let n = 0; n < 5; n++)
        await postJson(app.login, { username: 'admin', password: 'wrong', strategy: 'staff' });
      [other.asked, app.log.lines.length] = [0, 0];
      expect([(await fail()).status, other.asked]).toEqual([401, 0]);
      expect(await app.log.logged('authn_login_fail', 1)).toMatchObject([
        { reason: 'bad_credentials', attempt: 1 },
      ]);
    });
  });
});
