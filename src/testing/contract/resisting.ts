import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { type DeclareStrategyTest, outcomeOf, type StrategyUser } from '../strategy-suite.js';
import {
  hostileNames,
  hostileNamesLike,
  hostilePasswords,
  passwordsLike,
} from './hostile-texts.js';

/** Declares the tests of how a strategy treats attacks, failures and secrets. */
export function describeResisting(test: DeclareStrategyTest): void {
  test('accepts no hostile name', async ({ user, signIn }) => {
    const names = [...hostileNames, ...hostileNamesLike(user.username)];
    // Until a strategy has seen a hash, it may check a costly one for each unknown name.
    assert.ok(await signIn(user.username, user.password));
    await Promise.all(
      names.map(async (name) => {
        const { answer, error } = await outcomeOf(signIn(name, user.password));
        assert.equal(answer, undefined, `accepts the name ${JSON.stringify(name.slice(0, 100))}`);
        assertNoPassword(user, error, 'the error');
      }),
    );
  });

  test('accepts no hostile password', async ({ user, signIn }) => {
    const passwords = [...hostilePasswords, ...passwordsLike(user.password)];
    await Promise.all(
      passwords.map(async (password) => {
        const { answer, error } = await outcomeOf(signIn(user.username, password));
        const shown = JSON.stringify(password.slice(0, 100));
        assert.equal(answer, undefined, `accepts the password ${shown}`);
        assertNoPassword(user, error, 'the error');
      }),
    );
  });

  test('throws if its source fails, and neither rejects nor accepts a user', async (under) => {
    const { strategy, user, fail, signIn, find } = under;
    if (!fail) return;
    await fail();
    for (const [name, password] of [
      [user.username, user.password],
      [user.username, 'wrong'],
      [randomUUID(), user.password],
    ] as const) {
      const { error } = await outcomeOf(signIn(name, password));
      assert.ok(error, 'authenticate_user must throw if it cannot tell');
      assertNoPassword(user, error, 'the error');
    }
    if (!strategy.find_user) return;
    const { error } = await outcomeOf(find(user.username));
    assert.ok(error, 'find_user must throw if it cannot tell');
  });

  test('never shows the password', async ({ strategy, user, signIn }) => {
    assertNoPassword(user, strategy, 'the strategy');
    await signIn(user.username, user.password);
    await outcomeOf(signIn(randomUUID(), user.password));
    assertNoPassword(user, strategy, 'the strategy');
  });
}

/** Throws if a value shows the password when it is logged, in any usual encoding. */
function assertNoPassword({ password }: StrategyUser, value: unknown, what: string): void {
  const shown = [
    inspect(value, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxStringLength: null }),
    JSON.stringify(value) ?? '',
    String(value),
  ].join('\n');
  const bytes = Buffer.from(password);
  const found = [
    ...[password, JSON.stringify(password).slice(1, -1), encodeURIComponent(password)],
    ...[bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex')],
  ].some((form) => shown.includes(form));
  assert.ok(!found, `${what} shows the password`);
}
