import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { isPasswordStrategy } from '../../auth/strategies/strategy.js';
import { type DeclareStrategyTest, outcomeOf, type StrategyCase } from '../strategy-suite.js';
import { sleep } from '../wait.js';
import { spellingsOf } from './hostile-texts.js';

/** Declares the tests of which credentials a strategy accepts. */
export function describeSigningIn(test: DeclareStrategyTest): void {
  test('checks a username and a password', async ({ strategy }) => {
    assert.ok(
      isPasswordStrategy(strategy),
      'a strategy for passwords has authenticate_user, and no method of another kind',
    );
  });

  test('accepts the right password, with the name and the roles of the user', async (under) => {
    const { user, signIn, find } = under;
    for (let n = 0; n < 3; n++) {
      const accepted = await signIn(user.username, user.password);
      assert.equal(accepted?.username, user.username, 'the right password opens no session');
      // Roles of `find_user` take precedence.
      const roles = (await find(user.username))?.roles ?? accepted.roles;
      if (user.roles) assert.deepEqual(roles.toSorted(), user.roles.toSorted());
      assert.deepEqual(roles.toSorted(), accepted.roles.toSorted(), 'find_user has other roles');
    }
  });

  test('rejects a wrong password, and then accepts the right one', async ({ user, signIn }) => {
    for (const wrong of ['wrong', randomUUID(), user.username])
      assert.equal(await signIn(user.username, wrong), undefined);
    assert.ok(await signIn(user.username, user.password));
  });

  test('rejects an unknown user', async ({ user, signIn }) => {
    for (const unknown of [randomUUID(), `${user.username}${randomUUID()}`])
      assert.equal(await signIn(unknown, user.password), undefined);
  });

  test('rejects an empty password and an empty name', async ({ user, signIn }) => {
    assert.equal(await signIn(user.username, ''), undefined);
    assert.equal(await signIn('', user.password), undefined);
    assert.equal(await signIn('', ''), undefined);
    assert.equal(await signIn(randomUUID(), ''), undefined);
  });

  test('rejects names of 256 bytes and passwords of 1,024 bytes', async ({ user, signIn }) => {
    for (const letter of ['a', '\u00e9', '\ud83d\ude00']) {
      const size = Buffer.byteLength(letter);
      assert.equal(await signIn(user.username, letter.repeat(1024 / size)), undefined);
      assert.equal(await signIn(letter.repeat(256 / size), user.password), undefined);
    }
  });

  test('signs in under the canonical name, however the name is spelled', async ({
    user,
    signIn,
  }) => {
    // Until a strategy has seen a hash, it may check a costly one for each unknown name.
    assert.ok(await signIn(user.username, user.password));
    for (const spelling of spellingsOf(user.username)) {
      const { answer } = await outcomeOf(signIn(spelling, user.password));
      assert.equal(answer?.username, answer && user.username);
      assert.equal((await outcomeOf(signIn(spelling, 'wrong'))).answer, undefined);
    }
  });

  test('treats each Unicode form of a name and a password alike each time', async (under) => {
    const { user } = under;
    const forms = (text: string): Set<string> =>
      new Set([text, ...(['NFC', 'NFD', 'NFKC', 'NFKD'] as const).map((f) => text.normalize(f))]);
    for (const name of forms(user.username))
      for (const password of forms(user.password)) {
        const first = await accepts(under, name, password);
        assert.equal(await accepts(under, name, password), first);
        if (name === user.username && password === user.password) assert.equal(first, true);
      }
    for (const wrong of forms('\u00e9\u1e9b\u0323\ufb01\u212b'))
      assert.equal(await under.signIn(user.username, wrong), undefined);
  });

  test('never mixes up the results of 200 attempts at once', async ({ user, signIn }) => {
    const attempts = Array.from({ length: 200 }, (_, n) =>
      n % 2 === 0
        ? signIn(user.username, user.password)
        : n % 4 === 1
          ? signIn(user.username, `wrong ${n}`)
          : signIn(`unknown ${n}`, user.password),
    );
    const names = (await Promise.all(attempts)).map((accepted) => accepted?.username);
    assert.deepEqual(
      names,
      names.map((_, n) => (n % 2 === 0 ? user.username : undefined)),
    );
  });

  test('ends or ignores an aborted attempt, and works afterwards', async ({ user, signIn }) => {
    const reason = new Error('the test aborts the attempt');
    const attempts = [0, 1, 5, 20, undefined].flatMap((milliseconds) => {
      const controller = new AbortController();
      if (milliseconds === undefined) controller.abort(reason);
      else setTimeout(() => controller.abort(reason), milliseconds);
      return [
        outcomeOf(signIn(user.username, user.password, controller.signal)),
        outcomeOf(signIn(user.username, 'wrong', controller.signal)),
      ];
    });
    for (const [n, { answer }] of (await Promise.all(attempts)).entries())
      assert.equal(answer?.username, n % 2 === 0 ? answer && user.username : undefined);
    assert.ok(await signIn(user.username, user.password));
    // Lets the test runner notice a rejection that the strategy does not handle.
    await sleep(0.1);
  });
}

async function accepts({ signIn }: StrategyCase, name: string, password: string): Promise<boolean> {
  return (await signIn(name, password)) !== undefined;
}
