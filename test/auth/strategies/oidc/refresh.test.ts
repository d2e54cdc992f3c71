import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { decodeJwt } from 'jose';
import Koa from 'koa';
import { createAuth } from '../../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../../src/auth/login-routes.js';
import { sessionToken } from '../../../../src/auth/session-token.js';
import { oidc } from '../../../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../../../src/auth/strategies/registry.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { sseStream } from '../../../../src/web/sse-stream.js';
import { Jar } from '../../../helpers/jar.js';
import { client, PlainBrowser, TestProvider } from '../../../helpers/oidc-provider.js';
import { type AttachedOidc, attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';
import { secretKey } from '../../../helpers/passwords.js';
import { serve } from '../../../helpers/serve.js';
import { everyStore } from '../../../helpers/stores.js';
import { openStream } from '../../../helpers/stream.js';
import { waitFor } from '../../../helpers/wait.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(async () => {
  provider.reset();
  provider.givesRefreshTokens = true;
  jest.restoreAllMocks();
});
afterAll(async () => provider.close());

const { signal } = new AbortController();
let users = 0;

/** Signs in as a new user. The clock of the strategy can be moved. */
async function signedIn(account: Record<string, unknown> = { groups: ['staff'] }) {
  users += 1;
  const login = `user-${users}`;
  provider.accounts.set(login, { preferred_username: login, ...account });
  const clock = { ahead: 0 };
  const now = (): number => Date.now() + clock.ahead * 1000;
  const store = memoryStore();
  const attached = attachOidc(provider, {}, { store, now });
  const { sessionId } = await attached.signIn(login);
  return { ...attached, ...{ login, clock, now, store, sessionId } };
}

const find = async ({ strategy }: Pick<AttachedOidc, 'strategy'>, login: string) =>
  strategy.find_user?.(login, { signal });

const groupsOf = (login: string, groups: readonly string[]): void => {
  provider.accounts.set(login, { preferred_username: login, groups });
};

async function* silence(): AsyncGenerator<{ event: string; data: number }> {
  yield { event: 'first', data: 1 };
  await new Promise(() => {});
}

describe('an open stream', () => {
  it('ends when the provider refuses the refresh token of its session', async () => {
    const clock = { ahead: 0 };
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + clock.ahead * 1000);
    const tokens: string[] = [];
    provider.change('/token', (answer) => {
      tokens.push(String(answer.refresh_token));
      return answer;
    });
    provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
    const okta = oidc({
      ...{ issuer: provider.issuer, clientId: client.id, clientSecret: client.secret },
      ...{ scopes: ['openid', 'profile', 'groups'], roles: { map: { sre: 'operator' } } },
    });
    const strategies = new StrategyRegistry().register('okta', okta);
    const auth = createAuth({
      strategies,
      secretKey,
      publicUrl: new URL(redirectUri).origin,
      store: memoryStore(),
      logger: false,
    });
    const app = new Koa();
    app.use(sessionToken(auth)).use(loginRoutes(auth));
    app.use(sseStream(() => silence(), { access: auth, logger: false }));
    const { url, close } = await serve(app);
    const user = new Jar();
    const begun = await user.ask(`${url}/tasks/auth/start/okta`);
    const callback = await new PlainBrowser().signIn(begun.headers.get('location') ?? '', {
      login: 'ann',
      stop: redirectUri,
    });
    await user.ask(url + callback.pathname + callback.search);
    const stream = await openStream(url, { Cookie: user.header() });
    await waitFor(() => stream.of('first').length === 1);
    clock.ahead = 301;
    expect(await okta.find_user?.('ann', { signal })).toMatchObject({ roles: ['operator'] });
    expect(tokens).toHaveLength(2);
    for (const token of tokens) provider.revoke(token);
    clock.ahead = 602;
    expect(await okta.find_user?.('ann', { signal })).toEqual({ version: 'refused', roles: [] });
    await stream.ended;
    expect((await user.ask(url)).status).toBe(401);
    await close();
  });
});

describe('the roles of a signed-in user', () => {
  it('are asked for again after `refresh` seconds', async () => {
    const user = await signedIn();
    const { login, clock } = user;
    const before = provider.count('/token');
    const first = await find(user, login);
    expect(first).toMatchObject({ roles: ['viewer'] });
    groupsOf(login, ['sre']);
    clock.ahead = 299;
    expect(await find(user, login)).toEqual(first);
    expect(provider.count('/token')).toBe(before);
    clock.ahead = 301;
    expect(await find(user, login)).toEqual({ ...first, roles: ['operator'] });
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
    expect(provider.count('/token')).toBe(before + 1);
    clock.ahead = 602;
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
    expect(provider.count('/token')).toBe(before + 2);
  });

  it('end the sessions of a user who has none any more', async () => {
    const user = await signedIn();
    groupsOf(user.login, []);
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toBeUndefined();
    expect(await find(user, user.login)).toBeUndefined();
  });

  it('hold if an answer lacks the claim', async () => {
    const user = await signedIn();
    provider.change('/token', ({ id_token: _, ...answer }) => answer);
    provider.change('/me', ({ sub }) => ({ sub }));
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toMatchObject({ roles: ['viewer'] });
  });

  it('end the sessions of a user whose groups no longer fit into a token', async () => {
    const user = await signedIn();
    provider.accounts.set(user.login, { preferred_username: user.login, hasgroups: true });
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toBeUndefined();
  });

  it('end the sessions of a user who was renamed', async () => {
    const user = await signedIn();
    provider.accounts.set(user.login, { preferred_username: 'renamed', groups: ['staff'] });
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toBeUndefined();
  });

  it('are those of the login if there is no refresh token', async () => {
    provider.givesRefreshTokens = false;
    const user = await signedIn();
    groupsOf(user.login, ['sre']);
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toMatchObject({ roles: ['viewer'] });
    await user.signIn(user.login);
    expect(await find(user, user.login)).toMatchObject({ roles: ['operator'] });
    const warnings = user.log.lines.filter(({ msg }) => String(msg).includes('offline_access'));
    expect(warnings).toHaveLength(1);
  });

  it('do not change if the tokens are those of another user', async () => {
    const user = await signedIn();
    provider.change('/token', async (answer) => {
      const claims = { ...decodeJwt(String(answer.id_token)), sub: 'other', groups: ['sre'] };
      return { ...answer, id_token: await provider.sign(claims) };
    });
    user.clock.ahead = 301;
    await expect(find(user, user.login)).rejects.toThrow('the tokens belong to another user');
    provider.reset();
    expect(await find(user, user.login)).toMatchObject({ roles: ['viewer'] });
  });

  it('are unknown while the provider is down, until it answers again', async () => {
    const user = await signedIn();
    await provider.close();
    user.clock.ahead = 301;
    await expect(find(user, user.login)).rejects.toThrow('cannot be reached');
    await provider.resume();
    groupsOf(user.login, ['sre']);
    user.clock.ahead = 303;
    await expect(find(user, user.login)).rejects.toThrow('cannot be reached');
    user.clock.ahead = 308;
    expect(await find(user, user.login)).toMatchObject({ roles: ['operator'] });
  });

  it('do not depend on the lifetime of the access token', async () => {
    provider.change('/token', ({ expires_in: _, ...answer }) => answer);
    const user = await signedIn();
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toMatchObject({ roles: ['viewer'] });
    expect(user.log.events('authn_strategy_error')).toEqual([]);
  });
});

describe('a session whose refresh token the provider refuses', () => {
  it('ends, and the other sessions of the user do not', async () => {
    const user = await signedIn();
    const tokens: string[] = [];
    provider.change('/token', (answer) => {
      tokens.push(String(answer.refresh_token));
      return answer;
    });
    const { sessionId: second } = await user.signIn(user.login);
    await user.signIn(user.login);
    provider.reset();
    provider.revoke(tokens[0] ?? '');
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toMatchObject({ roles: ['viewer'] });
    expect(user.ended).toEqual([{ username: user.login, sessionId: second }]);
  });

  it('ends with all others when the provider has deleted the user', async () => {
    const user = await signedIn();
    const { sessionId } = await user.signIn(user.login);
    provider.accounts.delete(user.login);
    user.clock.ahead = 301;
    expect(await find(user, user.login)).toEqual({ version: 'refused', roles: [] });
    expect(user.ended.map((each) => each.sessionId).sort()).toEqual(
      [user.sessionId, sessionId].sort(),
    );
  });
});

describe.each(everyStore)('two processes with one store (%s)', (_name, open) => {
  it('use a refresh token once, although the provider rotates it', async () => {
    const { one, two, close } = await open();
    const login = `shared-${_name}`;
    groupsOf(login, ['staff']);
    let ahead = 0;
    const now = (): number => Date.now() + ahead * 1000;
    const [first, second] = [one, two].map((store) => attachOidc(provider, {}, { store, now }));
    if (!first || !second) throw new Error('two processes');
    await first.signIn(login);
    for (const round of [1, 2, 3]) {
      const before = provider.count('/token');
      groupsOf(login, [round % 2 === 0 ? 'staff' : 'sre']);
      ahead = 301 * round;
      const all = Array.from({ length: 10 }, () => [find(first, login), find(second, login)]);
      for (const found of await Promise.all(all.flat())) expect(found).toBeDefined();
      expect(provider.count('/token')).toBe(before + 1);
      expect(await find(second, login)).toMatchObject({
        roles: [round % 2 === 0 ? 'viewer' : 'operator'],
      });
    }
    expect([...first.ended, ...second.ended]).toEqual([]);
    await close();
  });
});
