import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createAuth } from '../../../../src/auth/create-auth.js';
import { apiTokens } from '../../../../src/auth/strategies/api-tokens/api-tokens.js';
import { StrategyRegistry } from '../../../../src/auth/strategies/registry.js';
import type { KnownUser } from '../../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { watchSecret } from '../../../helpers/canaries.js';
import { turnableClock } from '../../../helpers/clock.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { TestProvider } from '../../../helpers/oidc-provider.js';
import { type AttachedOidc, attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';
import { secretKey } from '../../../helpers/passwords.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(() => {
  provider.reset();
  provider.givesRefreshTokens = true;
  jest.useRealTimers();
});
afterAll(async () => provider.close());

const { signal } = new AbortController();
const day = 86_400;
const returnTo = 'http://127.0.0.1:1/tasks/auth/login';
let users = 0;

/** Signs in as a new user. The clock of the strategy can be moved. */
async function signedIn(options: Parameters<typeof attachOidc>[1] = {}) {
  users += 1;
  const login = `unchecked-${users}`;
  provider.accounts.set(login, { preferred_username: login, groups: ['sre'] });
  const clock = { ahead: 0 };
  const now = (): number => Date.now() + clock.ahead * 1000;
  const store = memoryStore();
  const attached = attachOidc(provider, options, { store, now });
  const { sessionId } = await attached.signIn(login);
  return { ...attached, ...{ login, clock, now, store, sessionId } };
}

const find = async ({ strategy }: Pick<AttachedOidc, 'strategy'>, login: string) =>
  strategy.find_user?.(login, { signal });

describe('the roles of a user are those of an earlier time', () => {
  it('if the user has signed out', async () => {
    const user = await signedIn();
    expect(await find(user, user.login)).not.toHaveProperty('unchecked');
    await user.strategy.logoutUrl?.({ id: user.sessionId, username: user.login, returnTo });
    provider.accounts.delete(user.login);
    const before = provider.count('/token');
    for (const ahead of [301, day, 29 * day]) {
      user.clock.ahead = ahead;
      expect(await find(user, user.login)).toMatchObject({ roles: ['operator'], unchecked: true });
    }
    expect(provider.count('/token')).toBe(before);
  });

  it('if the provider gave no refresh token, or is never asked', async () => {
    const never = await signedIn({ refresh: false });
    expect(await find(never, never.login)).toMatchObject({ unchecked: true });
    provider.givesRefreshTokens = false;
    const user = await signedIn();
    expect(await find(user, user.login)).toMatchObject({ unchecked: true });
  });

  it('and follow the option `roles`', async () => {
    provider.givesRefreshTokens = false;
    const { login, store } = await signedIn();
    const { strategy } = attachOidc(provider, { roles: { map: { sre: 'viewer' } } }, { store });
    expect(await find({ strategy }, login)).toMatchObject({ roles: ['viewer'] });
    const none = attachOidc(provider, { roles: { map: { staff: 'viewer' } } }, { store });
    expect(await find(none, login)).toBeUndefined();
  });
});

describe('an API token of an owner whose roles are those of an earlier time', () => {
  /** Makes a login with such an owner. Returns its tokens, and what they are accepted for. */
  function start(known: KnownUser) {
    const log = recordingLogger();
    const tokens = apiTokens();
    const strategies = new StrategyRegistry()
      .register('sso', { authenticate_user: () => false, find_user: () => known })
      .register('tokens', tokens);
    createAuth({ strategies, secretKey, store: memoryStore(), logger: log.logger });
    const accepted = async (token: string): Promise<unknown> => {
      const req = { socket: { remoteAddress: '127.0.0.1' }, headers: {} };
      const ctx = { get: () => `Bearer ${token}`, req, app: {}, state: {} };
      return tokens.authenticate_request(ctx as never, { signal, ip: '', requestId: 'r1' });
    };
    return { tokens, accepted };
  }
  const owned = { name: 'ci', owner: 'sso:ann', roles: ['operator'] };

  it('is valid for 30 days at most, and has no other roles', async () => {
    const { tokens } = start({ version: '1', roles: ['operator'], unchecked: true });
    const expiresIn = 31 * day;
    await expect(tokens.create({ ...owned, expiresIn })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    await expect(tokens.create({ ...owned, roles: ['admin'] })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    watchSecret((await tokens.create(owned)).token);
    expect(await tokens.list()).toMatchObject([{ ownerChecked: false }]);
  });

  it('is valid for 30 days at most, even if it was to last longer', async () => {
    const clock = turnableClock();
    const known: KnownUser = { version: '1', roles: ['operator'] };
    const { tokens, accepted } = start(known);
    const { token } = await tokens.create({ ...owned, expiresIn: 90 * day });
    watchSecret(token);
    known.unchecked = true;
    clock.pass(29 * day);
    expect(await accepted(token)).toMatchObject({ ok: true, roles: ['operator'] });
    known.roles = ['viewer'];
    expect(await accepted(token)).toMatchObject({ ok: true, roles: [] });
    clock.pass(2 * day);
    expect(await accepted(token)).toMatchObject({ ok: false, reason: 'unknown_user' });
    known.unchecked = false;
    expect(await accepted(token)).toMatchObject({ ok: true });
  });
});
