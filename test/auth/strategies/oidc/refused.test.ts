import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { apiTokens } from '../../../../src/auth/strategies/api-tokens/api-tokens.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { watchSecret } from '../../../helpers/canaries.js';
import { steadyClock, turnableClock } from '../../../helpers/clock.js';
import { TestProvider } from '../../../helpers/oidc-provider.js';
import { type AttachedOidc, attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(() => {
  provider.reset();
  jest.restoreAllMocks();
  jest.useRealTimers();
});
afterAll(async () => provider.close());

const { signal } = new AbortController();
const returnTo = 'http://127.0.0.1:1/tasks/auth/login';
let users = 0;

const find = async ({ strategy }: Pick<AttachedOidc, 'strategy'>, login: string) =>
  strategy.find_user?.(login, { signal });

const refusalsIn = ({ lines }: AttachedOidc['log']) =>
  lines.filter(({ msg }) => String(msg).startsWith('the provider refuses'));

/** Signs in as a new user of two processes with one store. Their clock can be moved. */
async function signedIn() {
  users += 1;
  const login = `refused-${users}`;
  provider.accounts.set(login, { preferred_username: login, groups: ['sre'] });
  const clock = { ahead: 0 };
  const now = (): number => Date.now() + clock.ahead * 1000;
  const store = memoryStore();
  const attached = attachOidc(provider, {}, { store, now });
  const other = attachOidc(provider, {}, { store, now });
  const { sessionId } = await attached.signIn(login);
  return { ...attached, ...{ other, login, clock, sessionId } };
}

describe('an answer of the provider about a signed-in user', () => {
  it.each(['invalid_grant', 'interaction_required', 'access_denied', 'login_required'])(
    'that is %s ends the session',
    async (error) => {
      const user = await signedIn();
      provider.refuse('/token', 400, error);
      user.clock.ahead = 301;
      expect(await find(user, user.login)).toEqual({ version: 'refused', roles: [] });
      expect(user.ended).toContainEqual({ username: user.login, sessionId: user.sessionId });
      expect(user.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    },
  );

  it.each([
    ['unauthorized_client', 400, 900],
    ['invalid_request', 400, 900],
    ['unauthorized', 403, 900],
    ['temporarily_unavailable', 400, undefined],
    ['server_error', 500, undefined],
    ['invalid_grant', 503, undefined],
    ['slow_down', 429, undefined],
    ['invalid_grant', 429, undefined],
  ])('that is %s with the status %i holds the last one for %s seconds', async (...row) => {
    const [error, status, staleFor] = row;
    const user = await signedIn();
    const { strategy, clock, login, log } = user;
    provider.refuse('/token', status, error);
    clock.ahead = 301;
    for (const _ of [1, 2])
      await expect(find({ strategy }, login)).rejects.toMatchObject({ staleFor });
    expect(strategy.staleFor).toBeGreaterThan(86_400);
    expect(refusalsIn(log)).toHaveLength(staleFor === 900 ? 1 : 0);
    provider.reset();
    clock.ahead = 310;
    expect(await find({ strategy }, login)).toMatchObject({ roles: ['operator'] });
  });

  it('that refuses one user holds for 900 seconds, whatever it says about others', async () => {
    const user = await signedIn();
    const { login, clock, log } = user;
    provider.accounts.set('well', { preferred_username: 'well', groups: ['sre'] });
    await user.signIn('well');
    provider.refuseUser(login, 403, 'unauthorized');
    for (const round of [1, 2, 3]) {
      clock.ahead = 301 * round;
      await expect(find(user, login)).rejects.toMatchObject({ staleFor: 900 });
      expect(await find(user, 'well')).toMatchObject({ roles: ['operator'] });
      await expect(find(user, login)).rejects.toMatchObject({ staleFor: 900 });
    }
    expect(refusalsIn(log)).toHaveLength(1);
  });

  it('is awaited by other processes, for which the old one does not count', async () => {
    const user = await signedIn();
    const { other, login, clock } = user;
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const asked = new Promise<void>((resolve) => {
      provider.change('/token', async (answer) => {
        resolve();
        await held;
        return answer;
      });
    });
    provider.accounts.set(login, { preferred_username: login, groups: ['staff'] });
    clock.ahead = 301;
    const first = find(user, login);
    await asked;
    const second = find(other, login);
    release();
    expect(await second).toMatchObject({ roles: ['viewer'] });
    expect(await first).toMatchObject({ roles: ['viewer'] });
  });

  it('is not awaited for ever', async () => {
    const user = await signedIn();
    const { other, login, clock } = user;
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    provider.change('/token', async (answer) => {
      await held;
      return answer;
    });
    clock.ahead = 301;
    const both = await Promise.allSettled([find(user, login), find(other, login)]);
    release();
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});

describe('a provider that did not answer', () => {
  /** Signs in as more users of the same processes. */
  const others = async ({ signIn }: Pick<AttachedOidc, 'signIn'>, names: readonly string[]) => {
    for (const name of names) {
      provider.accounts.set(name, { preferred_username: name, groups: ['sre'] });
      await signIn(name);
    }
  };

  it('about one user is still asked about others', async () => {
    const user = await signedIn();
    const { login, clock } = user;
    await others(user, ['mallory', 'oscar']);
    clock.ahead = 301;
    for (const name of ['mallory', 'oscar']) provider.refuseUser(name, 503, 'server_error');
    for (const round of [1, 2, 3]) {
      clock.ahead += 10 * round;
      for (const name of ['mallory', 'oscar'])
        await expect(find(user, name)).rejects.toThrow('status 503');
    }
    provider.accounts.delete(login);
    expect((await find(user, login))?.identity).toBeUndefined();
  });

  it('about three users in a row is not asked about any user for five seconds', async () => {
    const user = await signedIn();
    const { login, clock } = user;
    const names = ['one', 'two', 'three'];
    await others(user, names);
    clock.ahead = 301;
    for (const name of names) provider.refuseUser(name, 503, 'server_error');
    for (const name of names) await expect(find(user, name)).rejects.toThrow('status 503');
    const before = provider.count('/token');
    await expect(find(user, login)).rejects.toThrow('status 503');
    expect(provider.count('/token')).toBe(before);
    clock.ahead += 6;
    // The failures for the same users do not pause the questions about this one again.
    for (const name of names) await expect(find(user, name)).rejects.toThrow('status 503');
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
  });

  it('and cannot be reached is not asked about any user for five seconds', async () => {
    const user = await signedIn();
    const { login, clock } = user;
    await others(user, ['bob']);
    await provider.close();
    clock.ahead = 301;
    await expect(find(user, 'bob')).rejects.toThrow('cannot be reached');
    await provider.resume();
    await expect(find(user, login)).rejects.toThrow('cannot be reached');
    clock.ahead += 6;
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
  });

  it('is asked again after five seconds, even if the clock was set back', async () => {
    const steady = steadyClock();
    const { strategy, clock, login } = await signedIn();
    provider.refuse('/token', 503, 'temporarily_unavailable');
    clock.ahead = 3600 + 301;
    await expect(find({ strategy }, login)).rejects.toThrow();
    provider.reset();
    clock.ahead -= 3600;
    const before = provider.count('/token');
    await expect(find({ strategy }, login)).rejects.toThrow();
    expect(provider.count('/token')).toBe(before);
    steady.pass(6);
    expect(await find({ strategy }, login)).toMatchObject({ roles: ['operator'] });
    expect(provider.count('/token')).toBe(before + 1);
  });
});

describe('the refresh tokens of ended sessions', () => {
  it('are not used after a sign-out everywhere', async () => {
    const user = await signedIn();
    const { login, clock } = user;
    await user.endSessions({ username: login });
    const before = provider.count('/token');
    clock.ahead = 400;
    expect(await find(user, login)).toMatchObject({ roles: ['operator'], unchecked: true });
    expect(provider.count('/token')).toBe(before);
    await user.signIn(login);
    clock.ahead = 800;
    const signedInAgain = provider.count('/token');
    expect(await find(user, login)).not.toHaveProperty('unchecked');
    expect(provider.count('/token')).toBe(signedInAgain + 1);
  });

  it('are not used for another user who gets the name', async () => {
    const user = await signedIn();
    const { login, clock, strategy } = user;
    const first = await find(user, login);
    await strategy.unpin(login);
    provider.accounts.set(`${login}-new`, { preferred_username: login, groups: ['sre'] });
    await user.signIn(`${login}-new`);
    const before = provider.count('/token');
    clock.ahead = 301;
    const second = await find(user, login);
    expect(second).toMatchObject({ roles: ['operator'] });
    expect(provider.count('/token')).toBe(before + 1);
    expect(second?.identity).not.toBe(first?.identity);
    expect(user.ended).toEqual([]);
  });

  it('are removed, and no more than five are used at once', async () => {
    const user = await signedIn();
    const { login, clock, strategy } = user;
    const ids = [user.sessionId];
    for (let n = 1; n < 8; n += 1) ids.push((await user.signIn(login)).sessionId);
    const asked = async (): Promise<number> => {
      const before = provider.count('/token');
      clock.ahead += 301;
      expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
      return provider.count('/token') - before;
    };
    expect(await asked()).toBe(5);
    for (const sessionId of ids.slice(2, 7)) await user.endSessions({ username: login, sessionId });
    expect(await asked()).toBe(3);
    await strategy.logoutUrl?.({ id: ids[7] ?? '', username: login, returnTo });
    expect(await asked()).toBe(2);
  });
});

describe('the refresh tokens of more than five sessions', () => {
  /** Signs in eight times. Returns the sessions and their refresh tokens, the oldest first. */
  async function eightSessions() {
    const user = await signedIn();
    const { login, clock } = user;
    const tokens: string[] = [];
    const ids: string[] = [];
    provider.change('/token', (answer) => {
      tokens.push(String(answer.refresh_token));
      return answer;
    });
    for (let n = 0; n < 8; n += 1) {
      clock.ahead += 1;
      ids.push((await user.signIn(login)).sessionId);
    }
    provider.reset();
    return { ...user, tokens, ids };
  }

  it.each([0, 3, 6])(
    'are used in turn, so that session %i ends when its own is refused',
    async (n) => {
      const user = await eightSessions();
      const { login, clock, tokens, ids } = user;
      provider.revoke(tokens[n] ?? '');
      for (const _ of [1, 2]) {
        clock.ahead += 301;
        expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
      }
      expect(user.ended).toEqual([{ username: login, sessionId: ids[n] }]);
    },
  );

  it('are used until one is accepted, so that only the other sessions end', async () => {
    const user = await eightSessions();
    const { login, clock, tokens, ids, sessionId } = user;
    await user.endSessions({ username: login, sessionId });
    for (const [n, token] of tokens.entries()) if (n !== 5) provider.revoke(token);
    user.ended.length = 0;
    clock.ahead += 301;
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
    const open = ids.filter((id) => !user.ended.some((each) => each.sessionId === id));
    expect(open).toEqual([ids[5]]);
  });

  it('are used in turn although the provider fails for some of them', async () => {
    const user = await eightSessions();
    const { login, clock, tokens, ids } = user;
    provider.refuse('/token', 503, 'temporarily_unavailable');
    clock.ahead += 301;
    await expect(find(user, login)).rejects.toThrow();
    provider.reset();
    provider.revoke(tokens[3] ?? '');
    clock.ahead += 301;
    expect(await find(user, login)).toMatchObject({ roles: ['operator'] });
    expect(user.ended).toEqual([{ username: login, sessionId: ids[3] }]);
  });
});

describe('the API token of a user', () => {
  it('is refused while the provider has ended all sessions, and valid after a login', async () => {
    const clock = turnableClock();
    const tokens = apiTokens();
    const user = attachOidc(provider, {}, { others: { tokens } });
    provider.accounts.set('owner', { preferred_username: 'owner', groups: ['sre'] });
    await user.signIn('owner');
    const owned = { name: 'ci', owner: 'okta:owner', roles: ['operator'] };
    const { token } = await tokens.create({ ...owned, expiresIn: 60 * 86_400 });
    watchSecret(token);
    const verdict = async (): Promise<unknown> => {
      const req = { socket: { remoteAddress: '127.0.0.1' }, headers: {} };
      const ctx = { get: () => `Bearer ${token}`, req, app: {}, state: {} };
      return tokens.authenticate_request(ctx as never, { signal, ip: '', requestId: 'r1' });
    };
    expect(await verdict()).toMatchObject({ ok: true });
    provider.refuseUser('owner', 400, 'invalid_grant');
    for (const _ of [1, 2, 3]) {
      // The cache reads the clock once a millisecond, and a token would end in the background.
      await new Promise((resolve) => setTimeout(resolve, 50));
      clock.pass(301);
      expect(await verdict()).toEqual({ ok: false, reason: 'unknown_user' });
    }
    expect(await tokens.list()).toHaveLength(1);
    provider.reset();
    await user.signIn('owner');
    clock.pass(61);
    expect(await verdict()).toMatchObject({ ok: true, roles: ['operator'] });
  });
});
