import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { decodeJwt } from 'jose';
import { keyOf } from '../../../../src/auth/strategies/oidc/keys.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { client, TestProvider } from '../../../helpers/oidc-provider.js';
import { type AttachedOidc, attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({
    redirectUri,
    clientMetadata: {
      backchannel_logout_uri: 'http://127.0.0.1:1/ended',
      backchannel_logout_session_required: true,
    },
  });
  for (const login of ['ann', 'bob'])
    provider.accounts.set(login, { preferred_username: login, groups: ['sre'] });
});
afterEach(() => {
  provider.reset();
  jest.restoreAllMocks();
});
afterAll(async () => provider.close());

const returnTo = 'http://127.0.0.1:1/tasks/auth/login';
const event = 'http://schemas.openid.net/event/backchannel-logout';
const seconds = (): number => Math.floor(Date.now() / 1000);
const context = { ip: '127.0.0.1', requestId: 'r1', signal: new AbortController().signal };

/** Returns the claims of a valid logout token. */
function validClaims(): Record<string, unknown> {
  return {
    ...{ iss: provider.issuer, aud: client.id, iat: seconds(), exp: seconds() + 120 },
    ...{ jti: randomUUID(), events: { [event]: {} }, sub: 'ann' },
  };
}

/** Sends a logout token. */
async function send(
  { strategy }: AttachedOidc,
  claims: Record<string, unknown>,
  header: { typ?: string } = { typ: 'logout+jwt' },
) {
  const token = await provider.sign(claims, header);
  return strategy.sessionsEnded?.({ logout_token: token }, context);
}

describe('the sign-out at the provider', () => {
  it('has the address of the provider, the app, a hint, and the way back', async () => {
    const { signIn, strategy } = attachOidc(provider);
    const { sessionId } = await signIn('ann');
    const session = { id: sessionId, username: 'ann', returnTo };
    const url = new URL(String(await strategy.logoutUrl?.(session)));
    expect(url.origin + url.pathname).toBe(`${provider.issuer}/session/end`);
    const { id_token_hint: hint, ...query } = Object.fromEntries(url.searchParams);
    expect(query).toEqual({ client_id: client.id, post_logout_redirect_uri: returnTo });
    expect(decodeJwt(String(hint))).toMatchObject({ sub: 'ann' });
    // The hint belonged to the session that has ended.
    const again = new URL(String(await strategy.logoutUrl?.(session)));
    expect(again.searchParams.has('id_token_hint')).toBe(false);
  });

  it('has no hint that is too long for an address', async () => {
    const groups = Array.from({ length: 300 }, (_, index) => `group-${index}`);
    provider.accounts.set('max', { preferred_username: 'max', groups: ['sre', ...groups] });
    const { signIn, strategy } = attachOidc(provider);
    const { sessionId } = await signIn('max');
    const url = String(await strategy.logoutUrl?.({ id: sessionId, username: 'max', returnTo }));
    expect(url).toContain('client_id');
    expect(url.length).toBeLessThan(400);
  });

  it('is left out if the option or the provider says so', async () => {
    const session = { id: 'any', username: 'ann', returnTo };
    const off = attachOidc(provider, { logout: false });
    expect(await off.strategy.logoutUrl?.(session)).toBeUndefined();
    provider.change(
      '/.well-known/openid-configuration',
      ({ end_session_endpoint: _, ...answer }) => answer,
    );
    expect(await attachOidc(provider).strategy.logoutUrl?.(session)).toBeUndefined();
  });

  it('is left out while the provider is down', async () => {
    const own = await TestProvider.start({ redirectUri });
    await own.close();
    const session = { id: 'any', username: 'ann', returnTo };
    expect(await attachOidc(own).strategy.logoutUrl?.(session)).toBeUndefined();
  });

  it('works for a user who was rejected', async () => {
    const { signIn, strategy } = attachOidc(provider, { roles: { map: {} } });
    const verdict = await signIn('ann');
    expect(verdict.ok).toBe(false);
    const session = { id: verdict.sessionId, username: 'ann', returnTo };
    expect(await strategy.logoutUrl?.(session)).toContain('id_token_hint');
  });
});

describe('a logout token', () => {
  it('ends the sessions of its provider session, in another process too', async () => {
    const store = memoryStore();
    const [one, two] = [1, 2].map(() => attachOidc(provider, {}, { store }));
    if (!one || !two) throw new Error('two processes');
    const sids: unknown[] = [];
    provider.change('/token', (answer) => {
      sids.push(decodeJwt(String(answer.id_token)).sid);
      return answer;
    });
    const { sessionId } = await one.signIn('ann');
    await one.signIn('ann');
    expect(sids[0]).toEqual(expect.any(String));
    const { sub: _, ...claims } = validClaims();
    const session = { username: 'ann', sessionId };
    expect(await send(two, { ...claims, sid: sids[0] })).toEqual([session]);
    // An unknown session of the provider ends all sessions of the user.
    const unknown = { ...validClaims(), sid: 'unknown' };
    expect(await send(two, unknown)).toEqual([{ username: 'ann' }]);
    expect(await send(two, { ...validClaims(), sub: 'unknown' })).toEqual([]);
  });

  it.each([
    [999, true],
    [1001, false],
  ])('that is about %i sessions ends them one by one: %s', async (count, isOneByOne) => {
    const store = memoryStore();
    const attached = attachOidc(provider, {}, { store });
    const prefix = `auth:/tasks:strategy:okta:sid:${keyOf(provider.issuer, 'many')}:`;
    for (let n = 0; n < count; n += 1) await store.set(`${prefix}session-${n}`, 'ann', 60);
    const users = await send(attached, { ...validClaims(), sid: 'many' });
    expect(users).toHaveLength(isOneByOne ? count : 1);
    // Otherwise, all sessions of the user end.
    if (!isOneByOne) expect(users).toEqual([{ username: 'ann' }]);
    expect(attached.ended).toEqual(users);
  });

  it('ends no session of another user who has the name now', async () => {
    const attached = attachOidc(provider);
    for (const sub of ['early', 'late'])
      provider.accounts.set(sub, { preferred_username: 'kit', groups: ['sre'] });
    await attached.signIn('early');
    await attached.strategy.unpin('kit');
    await attached.signIn('late');
    expect(await send(attached, { ...validClaims(), sub: 'early' })).toEqual([]);
    expect(await send(attached, { ...validClaims(), sub: 'late' })).toEqual([{ username: 'kit' }]);
  });

  it.each([
    ['no type', {}],
    ['its type in other letters', { typ: 'Logout+JWT' }],
  ])('may have %s', async (_what, header) => {
    const attached = attachOidc(provider);
    await attached.signIn('bob');
    const claims = { ...validClaims(), sub: 'bob' };
    expect(await send(attached, claims, header)).toEqual([{ username: 'bob' }]);
  });

  it('is accepted once', async () => {
    const store = memoryStore();
    const claims = validClaims();
    expect(await send(attachOidc(provider, {}, { store }), claims)).toEqual([]);
    expect(await send(attachOidc(provider, {}, { store }), claims)).toBeUndefined();
  });

  it.each(['list', 'get', 'set'] as const)(
    'is accepted again if the store failed at %s, and ends the session',
    async (method) => {
      const store = memoryStore();
      const attached = attachOidc(provider, {}, { store });
      await attached.signIn('ann');
      const claims = { ...validClaims(), sid: 'unknown' };
      jest.spyOn(store, method).mockRejectedValue(new Error('no connection'));
      await expect(send(attached, claims)).rejects.toThrow('does not answer');
      jest.restoreAllMocks();
      expect(await send(attached, claims)).toEqual([{ username: 'ann' }]);
      expect(attached.ended).toContainEqual({ username: 'ann' });
      expect(await send(attached, claims)).toBeUndefined();
    },
  );

  it('is accepted again if the session could not be ended', async () => {
    const attached = attachOidc(provider);
    await attached.signIn('ann');
    const claims = validClaims();
    attached.ended.push = () => {
      throw new Error('no connection');
    };
    await expect(send(attached, claims)).rejects.toThrow('no connection');
    attached.ended.push = Array.prototype.push;
    expect(await send(attached, claims)).toEqual([{ username: 'ann' }]);
  });

  it.each<[string, Record<string, unknown>]>([
    ['another issuer', { iss: 'https://other.example' }],
    ['another audience', { aud: 'other' }],
    ['no time of issue', { iat: undefined }],
    ['an old time of issue', { iat: seconds() - 400 }],
    ['a time of issue in the future', { iat: seconds() + 400 }],
    ['an end in the past', { exp: seconds() - 400 }],
    ['no id', { jti: undefined }],
    ['an id that is no text', { jti: 7 }],
    ['a nonce', { nonce: 'x' }],
    ['no events', { events: undefined }],
    ['other events', { events: { other: {} } }],
    ['an event that is no object', { events: { [event]: true } }],
    ['neither a session nor a user', { sub: undefined }],
  ])('is refused with %s', async (_what, change) => {
    const attached = attachOidc(provider);
    expect(await send(attached, { ...validClaims(), ...change })).toBeUndefined();
    expect(attached.log.lines.map(({ msg }) => msg)).toContain('a logout token was refused');
  });

  it.each<[unknown]>([['JWT'], [7], [null], [{ toString: 'x' }], [['logout+jwt']]])(
    'is refused with the type %j',
    async (typ) => {
      const header = { typ } as { typ: string };
      expect(await send(attachOidc(provider), validClaims(), header)).toBeUndefined();
    },
  );

  it.each([
    ['no token', {}],
    ['text', { logout_token: 'text' }],
    ['three parts', { logout_token: 'a.b.c' }],
  ])('is refused if the form holds %s', async (_what, form) => {
    expect(await attachOidc(provider).strategy.sessionsEnded?.(form, context)).toBeUndefined();
  });

  it('that is refused has one line in the log a minute for each reason', async () => {
    const attached = attachOidc(provider);
    for (let n = 0; n < 5; n++)
      for (const change of [{ aud: 'other' }, { nonce: 'x' }])
        expect(await send(attached, { ...validClaims(), ...change })).toBeUndefined();
    const lines = attached.log.lines.filter(({ msg }) => msg === 'a logout token was refused');
    expect(lines.map(({ reason }) => reason)).toEqual([
      'ERR_JWT_CLAIM_VALIDATION_FAILED',
      'ERR_JWT_INVALID',
    ]);
  });

  it('is refused with a changed or a missing signature', async () => {
    const { strategy } = attachOidc(provider);
    const token = await provider.sign(validClaims(), { typ: 'logout+jwt' });
    const [header, payload = '', signature = ''] = token.split('.');
    const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    const other = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
    for (const changed of [`${header}.${payload}.${other}`, `${none}.${payload}.`])
      expect(await strategy.sessionsEnded?.({ logout_token: changed }, context)).toBeUndefined();
    expect(await strategy.sessionsEnded?.({ logout_token: token }, context)).toEqual([]);
  });

  it('cannot be judged while the keys of the provider are unreachable', async () => {
    const attached = attachOidc(provider);
    await attached.begin();
    provider.change('/jwks', () => 'broken');
    await expect(send(attached, validClaims())).rejects.toThrow();
  });
});
