import { afterEach, describe, expect, it } from '@jest/globals';
import { apiTokens } from '../../../src/auth/strategies/api-tokens/api-tokens.js';
import { database } from '../../../src/auth/strategies/database.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { AuthStrategy, KnownUser } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import { watchSecret } from '../../helpers/canaries.js';
import { ask, logIn, postJson } from '../../helpers/client.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, password } from '../../helpers/passwords.js';
import { waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();

/** The account that has the name `ann`. Its version is always the same. */
let account: { identity?: string | undefined; roles: string[] } | undefined;
let onCheck = (): void => {};
let isDown = false;
afterEach(() => {
  onCheck = () => {};
  isDown = false;
});

const users = {
  authenticate_user() {
    onCheck();
    return account !== undefined;
  },
  find_user(): KnownUser | undefined {
    if (isDown) throw new Error('down');
    return account && { version: '1', ...account };
  },
  staleFor: 0,
} satisfies AuthStrategy;

/** Serves a login with API tokens. */
async function start() {
  const tokens = apiTokens();
  const strategies = new StrategyRegistry()
    .register('staff', users)
    .register('tokens', tokens)
    .register('local', multiUser([['root', cheapHash('root password')]]));
  const app = keep(await serveLogin({ strategies, store: memoryStore() }));
  return { ...app, tokens };
}

const nameOf = async (app: LoginApp, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(app.url, { headers })).json as { name: unknown }).name;

/** Signs in as `ann` and creates a token. */
async function signIn(app: LoginApp) {
  const session = await logIn(app.base, 'ann', password);
  const answer = await postJson(`${app.base}/auth/tokens`, { name: 'ci' }, session);
  expect(answer.status).toBe(201);
  const { id, token } = answer.json as { id: string; token: string };
  watchSecret(token);
  return { session, id, token: { Authorization: `Bearer ${token}` } };
}

describe('an account that gets the name of an earlier one', () => {
  it('gets neither its sessions nor its API tokens, which have ended', async () => {
    account = { identity: 'row 1', roles: ['admin'] };
    const app = await start();
    const first = await signIn(app);
    expect(await nameOf(app, first.session)).toBe('ann');
    expect(await nameOf(app, first.token)).toBe('staff:ann');
    account = { identity: 'row 2', roles: ['admin'] };
    expect(await nameOf(app, first.session)).toBeNull();
    expect(await nameOf(app, first.token)).toBeNull();
    await waitFor(async () => (await app.tokens.list()).length === 0);
    const second = await signIn(app);
    account = { identity: 'row 1', roles: ['admin'] };
    for (const { session, token } of [first, second])
      for (const headers of [session, token]) expect(await nameOf(app, headers)).toBeNull();
  });

  it('neither sees nor rotates the API tokens of the earlier one', async () => {
    account = { identity: 'row 1', roles: [] };
    const app = await start();
    const { id, session } = await signIn(app);
    const list = async (headers: Record<string, string>) =>
      ((await ask(`${app.base}/auth/tokens`, { headers })).json as { items: unknown[] }).items;
    expect(await list(session)).toHaveLength(1);
    account = { identity: 'row 2', roles: [] };
    const second = await logIn(app.base, 'ann', password);
    expect(await list(second)).toEqual([]);
    expect((await postJson(`${app.base}/auth/tokens/${id}/rotate`, {}, second)).status).toBe(404);
    await expect(app.tokens.rotate(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    // An administrator can still revoke it.
    expect(await app.tokens.list()).toMatchObject([{ id }]);
  });

  it('does not see the sessions of the earlier one', async () => {
    account = { identity: 'row 1', roles: [] };
    const app = await start();
    const list = async (headers: Record<string, string>) =>
      ((await ask(`${app.base}/auth/sessions`, { headers })).json as { items: unknown[] }).items;
    await logIn(app.base, 'ann', password);
    expect(await list(await logIn(app.base, 'ann', password))).toHaveLength(2);
    account = { identity: 'row 2', roles: [] };
    expect(await list(await logIn(app.base, 'ann', password))).toHaveLength(1);
    // Administrators see the sessions of a user whose strategy cannot tell.
    account = { identity: 'row 3', roles: [] };
    isDown = true;
    const root = await logIn(app.base, 'root', 'root password');
    const answer = await ask(`${app.base}/auth/sessions?username=ann&strategy=staff`, {
      headers: root,
    });
    expect((answer.json as { items: unknown[] }).items).toHaveLength(1);
  });

  it('cannot sign in with the check of the earlier one', async () => {
    account = { identity: 'row 1', roles: [] };
    const app = await start();
    onCheck = () => {
      account = { identity: 'row 2', roles: [] };
    };
    const answer = await postJson(app.login, { username: 'ann', password });
    expect(answer.status).toBe(401);
    expect(app.log.events('authn_login_fail')).toMatchObject([{ reason: 'user_changed' }]);
  });
});

describe('the API token of an account', () => {
  it('is refused while the strategy cannot identify the account, and then valid', async () => {
    account = { identity: 'row 1', roles: [] };
    const app = await start();
    const { token } = await signIn(app);
    account = { roles: [] };
    for (let n = 0; n < 3; n++) expect(await nameOf(app, token)).toBeNull();
    account = { identity: 'row 1', roles: [] };
    expect(await nameOf(app, token)).toBe('staff:ann');
  });

  it('belongs to the account from its rotation, if it was created before', async () => {
    account = { roles: [] };
    const app = await start();
    const { id, token } = await signIn(app);
    account = { identity: 'row 1', roles: [] };
    expect(await nameOf(app, token)).toBe('staff:ann');
    const rotated = await app.tokens.rotate(id);
    watchSecret(rotated.token);
    account = { identity: 'row 2', roles: [] };
    expect(await nameOf(app, { Authorization: `Bearer ${rotated.token}` })).toBeNull();
  });
});

describe('an identity', () => {
  it.each([1, '', 'a\n', 'a'.repeat(257), null])('is refused if it is %j', async (identity) => {
    account = { identity: identity as string, roles: [] };
    const app = await start();
    expect((await postJson(app.login, { username: 'ann', password })).status).toBe(401);
    const [{ err } = {}] = app.log.events('authn_strategy_error') as { err?: object }[];
    expect(err).toMatchObject({ message: expect.stringMatching(/^identity of the result of/) });
  });

  it('of a user of a database is that of find', async () => {
    const hash = cheapHash(password);
    const context = { signal: new AbortController().signal };
    const found = { hash, identity: '17' };
    expect(await database(() => found).find_user?.('ann', context)).toEqual({
      ...{ version: hash, identity: '17', roles: [] },
    });
    const wrong = database(() => ({ hash, identity: 17 }) as never).find_user?.('ann', context);
    await expect(wrong).rejects.toThrow(/^find returned an identity that is not 1 to 256/);
  });
});
