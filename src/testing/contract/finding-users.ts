import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type DeclareStrategyTest, outcomeOf } from '../strategy-suite.js';
import { waitFor } from '../wait.js';
import { hostileNames, hostileNamesLike } from './hostile-texts.js';

/** Declares the tests of `find_user`. Without the method, a strategy passes most of them. */
export function describeFindingUsers(test: DeclareStrategyTest): void {
  test('knows the user, with a version that stays the same', async (under) => {
    const { strategy, user, signIn, find } = under;
    if (!strategy.find_user) return;
    const first = await find(user.username);
    assert.ok(first, 'find_user must know the name that authenticate_user returns');
    assert.notEqual(first.version, '');
    await signIn(user.username, user.password);
    await outcomeOf(signIn(user.username, 'wrong'));
    assert.equal((await find(user.username))?.version, first.version);
  });

  test('says the same version before the password is checked', async (under) => {
    const { strategy, user, find } = under;
    if (!strategy.find_user) return;
    const all = await find(user.username);
    const early = await find(user.username, 'version');
    assert.deepEqual(
      [early?.version, early?.identity],
      [all?.version, all?.identity],
      "with only: 'version', find_user must return the same version and identity",
    );
    assert.equal(await find(randomUUID(), 'version'), undefined);
  });

  test('knows no other user', async ({ strategy, user, find }) => {
    if (!strategy.find_user) return;
    assert.equal(await find(randomUUID()), undefined);
    for (const name of ['', ...hostileNames, ...hostileNamesLike(user.username)]) {
      const { answer } = await outcomeOf(find(name));
      assert.equal(answer, undefined, `find_user knows ${JSON.stringify(name.slice(0, 100))}`);
    }
  });

  test('does not accept the version of a user as a password', async ({ user, signIn, find }) => {
    const version = (await find(user.username))?.version;
    if (version === undefined) return;
    assert.ok(!version.includes(user.password), 'the version contains the password');
    assert.equal(await signIn(user.username, version), undefined);
  });

  test('neither knows a removed user nor accepts the password', async (under) => {
    const { user, removeUser, signIn, find } = under;
    if (!removeUser) return;
    assert.ok(await signIn(user.username, user.password));
    await removeUser();
    await waitFor(async () => (await find(user.username)) === undefined);
    await waitFor(async () => (await signIn(user.username, user.password)) === undefined);
  });
}
