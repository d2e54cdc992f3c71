import { describe, expect, it, jest } from '@jest/globals';
import type { AuthStrategy, Verdict } from '../../src/auth/strategies/strategy.js';
import {
  describeStrategy,
  type StrategyTestRunner,
  type StrategyUnderTest,
} from '../../src/testing/index.js';

const user = {
  username: 'zo\u00eb',
  password: 'p\u00e4ss"w\u00f6rd-of-Zo\u00eb',
  roles: ['viewer'],
};
const { username, password } = user;
const accepted: Verdict = { ok: true, username, roles: ['viewer'] };

/** Runs the tests of a strategy, or one of them, and returns the names of those that fail. */
async function failuresOf(make: () => StrategyUnderTest, only?: string): Promise<string[]> {
  const tests: [name: string, body: () => unknown][] = [];
  const runner: StrategyTestRunner = {
    describe: (_name, body) => body(),
    it: (name, body) => void tests.push([name, body]),
  };
  describeStrategy('tested', make, runner);
  expect(tests.length).toBeGreaterThan(15);
  const failures: string[] = [];
  for (const [name, body] of tests.filter(([name]) => only === undefined || name === only))
    try {
      await body();
    } catch {
      failures.push(name);
    }
  return failures;
}

/** Makes a correct strategy with a source that can fail, in which a test replaces parts. */
function correct(more: Partial<AuthStrategy> = {}): StrategyUnderTest {
  let exists = true;
  let fails = false;
  const knows = (name: string): boolean => {
    if (fails) throw new Error('the source is down');
    return exists && name === username;
  };
  return {
    strategy: {
      authenticate_user: async (name, typed) =>
        knows(name) && typed === password ? accepted : { ok: false, reason: 'unknown' },
      find_user: async (name) => (knows(name) ? { version: 'v1', roles: ['viewer'] } : undefined),
      ...more,
    },
    user,
    removeUser() {
      exists = false;
    },
    fail() {
      fails = true;
    },
  };
}

/** A strategy that checks users as a function says. */
const checking =
  (check: (name: string, typed: string, signal: AbortSignal) => unknown) =>
  (): StrategyUnderTest => ({
    strategy: {
      authenticate_user: async (name, typed, { signal }) =>
        (await check(name, typed, signal)) as Verdict,
    },
    user,
  });
const when = (right: boolean): Verdict => (right ? accepted : false);
const isRight = (name: string, typed: string): boolean => name === username && typed === password;

describe('describeStrategy', () => {
  it('passes a correct strategy, with find_user and without', async () => {
    expect(await failuresOf(correct)).toEqual([]);
    expect(await failuresOf(checking((name, typed) => when(isRight(name, typed))))).toEqual([]);
  });

  const signing = 'accepts the right password, with the name and the roles of the user';
  const crossing = 'never mixes up the results of 200 attempts at once';
  const aborting = 'ends or ignores an aborted attempt, and works afterwards';
  const failing = 'throws if its source fails, and neither rejects nor accepts a user';
  const hiding = 'never shows the password';
  const knowing = 'knows the user, with a version that stays the same';
  const removing = 'neither knows a removed user nor accepts the password';
  const canonical = 'signs in under the canonical name, however the name is spelled';
  let last = '';
  let calls = 0;
  const leaking = (name: string, typed: string): Verdict => {
    if (name.includes('*')) throw new Error(`cannot check ${Buffer.from(typed).toString('hex')}`);
    return when(isRight(name, typed));
  };

  it.each<[fault: string, make: () => StrategyUnderTest, test: string]>([
    ['returns a row', checking((n, p) => (isRight(n, p) ? { id: 1 } : false)), signing],
    ['accepts with the wrong roles', checking((name, typed) => isRight(name, typed)), signing],
    [
      'has other roles in find_user',
      () => correct({ find_user: () => ({ version: 'v', roles: ['x'] }) }),
      signing,
    ],
    [
      'has an odd reason',
      checking((name, typed) => (isRight(name, typed) ? accepted : { ok: false, reason: 'Bad!' })),
      'rejects a wrong password, and then accepts the right one',
    ],
    [
      'ignores the name',
      checking((_, typed) => when(typed === password)),
      'rejects an unknown user',
    ],
    [
      'accepts an empty password',
      checking((n, p) => when(n === username && (p === password || p === ''))),
      'rejects an empty password and an empty name',
    ],
    [
      'throws for an empty name',
      checking((n, p) => {
        if (n === '') throw new Error('empty');
        return when(isRight(n, p));
      }),
      'rejects an empty password and an empty name',
    ],
    [
      'fails for long passwords',
      checking((n, p) => {
        if (p.length > 72) throw new Error('too long');
        return when(isRight(n, p));
      }),
      'rejects names of 256 bytes and passwords of 1,024 bytes',
    ],
    [
      'returns no canonical name',
      checking((n, p) =>
        n.toLowerCase() === username && p === password ? { ok: true, roles: ['viewer'] } : false,
      ),
      canonical,
    ],
    [
      'fails for a decomposed name',
      checking((n, p) => {
        if (n !== n.normalize('NFC')) throw new Error('form');
        return when(isRight(n, p));
      }),
      'treats each Unicode form of a name and a password alike each time',
    ],
    [
      'keeps the last attempt',
      checking(async (n, p) => {
        last = n + p;
        await null;
        return when(last === username + password);
      }),
      crossing,
    ],
    [
      'accepts aborted attempts',
      checking(
        (n, p, signal) =>
          new Promise((resolve) => {
            setTimeout(() => resolve(when(isRight(n, p) || signal.aborted)), 2);
          }),
      ),
      aborting,
    ],
    [
      'rejects if the source fails',
      () => {
        const it = correct();
        const { strategy } = it;
        return {
          ...it,
          strategy: {
            authenticate_user: async (n, p, c) => {
              try {
                return await strategy.authenticate_user(n, p, c);
              } catch {
                return false;
              }
            },
          },
        };
      },
      failing,
    ],
    [
      'knows nobody if the source fails',
      () => {
        const it = correct();
        const { strategy } = it;
        return {
          ...it,
          strategy: {
            ...strategy,
            find_user: async (n, c) => {
              try {
                return await strategy.find_user?.(n, c);
              } catch {
                return undefined;
              }
            },
          },
        };
      },
      failing,
    ],
    [
      'has a version of each call',
      () =>
        correct({
          find_user: (n) =>
            n === username ? { version: `v${calls++}`, roles: ['viewer'] } : undefined,
        }),
      knowing,
    ],
    ['does not know the user', () => correct({ find_user: () => undefined }), knowing],
    [
      'has another version before the password is checked',
      () =>
        correct({
          find_user: (n, { only = 'all' }) =>
            n === username ? { version: `v-${only}`, roles: ['viewer'] } : undefined,
        }),
      'says the same version before the password is checked',
    ],
    [
      'knows every user',
      () => correct({ find_user: () => ({ version: 'v1' }) }),
      'knows no other user',
    ],
    [
      'accepts its version as a password',
      () => correct({ authenticate_user: (n, p) => when(isRight(n, p) || p === 'v1') }),
      'does not accept the version of a user as a password',
    ],
    [
      'shows the password in the version',
      () =>
        correct({ find_user: (n) => (n === username ? { version: `v-${password}` } : undefined) }),
      'does not accept the version of a user as a password',
    ],
    [
      'compares names as patterns',
      checking((n, p) => when(p === password && (n === '*' || n === username))),
      'accepts no hostile name',
    ],
    ['shows the password in an error', checking(leaking), 'accepts no hostile name'],
    [
      'ignores what follows a NUL',
      checking((n, p) => when(isRight(n, p.split('\0')[0] ?? ''))),
      'accepts no hostile password',
    ],
    [
      'ignores the case of passwords',
      checking((n, p) => when(n === username && p.toLowerCase() === password.toLowerCase())),
      'accepts no hostile password',
    ],
    ['holds the password', () => correct({ label: `of ${password}` }), hiding],
  ])('finds a strategy that %s', async (_fault, make, test) => {
    expect(await failuresOf(make, test)).toEqual([test]);
  });

  it('finds a strategy that still accepts a removed user', async () => {
    jest.useFakeTimers();
    const failures = failuresOf(() => ({ ...correct(), removeUser() {} }), removing);
    await jest.advanceTimersByTimeAsync(61_000);
    jest.useRealTimers();
    expect(await failures).toEqual([removing]);
  });

  it('needs a password that can be searched for, and a test runner', async () => {
    expect(
      await failuresOf(() => ({ ...correct(), user: { username, password: 'short' } }), signing),
    ).toEqual([signing]);
    expect(() => describeStrategy('tested', correct, {} as StrategyTestRunner)).toThrow(
      'pass its functions as { describe, it }',
    );
  });

  it('cleans up after each test, also if it fails', async () => {
    let open = 0;
    const make = (): StrategyUnderTest => {
      open += 1;
      return {
        ...checking(() => false)(),
        cleanUp() {
          open -= 1;
        },
      };
    };
    expect((await failuresOf(make)).length).toBeGreaterThan(1);
    expect(open).toBe(0);
  });
});
