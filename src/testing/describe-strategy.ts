import { describeFindingUsers } from './contract/finding-users.js';
import { describeResisting } from './contract/resisting.js';
import { describeSigningIn } from './contract/signing-in.js';
import { caseOf, type DeclareStrategyTest, type StrategyUnderTest } from './strategy-suite.js';
import type { TestRunner } from './suite.js';

/** The functions of a test runner that `describeStrategy` uses. */
export type StrategyTestRunner = Pick<TestRunner, 'describe' | 'it'>;

/**
 * Milliseconds that a test may take. A costly hash makes 200 attempts slower than the usual limit
 * of a test runner.
 */
const testTimeout = 120_000;

/**
 * Declares the tests that every strategy for passwords must pass. For authors of strategies.
 *
 * @param name The name of the strategy in the titles of the tests.
 * @param make Makes a new strategy and its user; called for each test.
 * @param runner The functions of the test runner, such as those of Jest, Vitest or `node:test`.
 * Default: the global ones.
 * @throws TypeError if there is no runner.
 * @example
 * ```ts
 * import { describe, it } from 'node:test';
 * import { describeStrategy } from 'koa-taskflow/testing';
 *
 * describeStrategy('my', async () => {
 *   const users = await createUsers();
 *   await users.add('zoë', 'pässword of Zoë');
 *   return {
 *     strategy: myStrategy(users),
 *     user: { username: 'zoë', password: 'pässword of Zoë', roles: ['viewer'] },
 *     removeUser: () => users.remove('zoë'),
 *     cleanUp: () => users.close(),
 *   };
 * }, { describe, it });
 * ```
 */
export function describeStrategy(
  name: string,
  make: () => StrategyUnderTest | PromiseLike<StrategyUnderTest>,
  runner: StrategyTestRunner = globalThis as unknown as StrategyTestRunner,
): void {
  if (typeof runner.describe !== 'function' || typeof runner.it !== 'function')
    throw new TypeError(
      'describeStrategy needs a test runner; pass its functions as { describe, it }',
    );
  const test: DeclareStrategyTest = (behaviour, body) =>
    runner.it(
      behaviour,
      async () => {
        const under = await make();
        try {
          await body(caseOf(under));
        } finally {
          await under.cleanUp?.();
        }
      },
      testTimeout,
    );

  runner.describe(`the ${name} strategy`, () => {
    runner.describe('when users sign in', () => describeSigningIn(test));
    runner.describe('when users are looked up', () => describeFindingUsers(test));
    runner.describe('under attack', () => describeResisting(test));
  });
}
