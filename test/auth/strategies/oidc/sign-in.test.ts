import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { decodeJwt } from 'jose';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { client, PlainBrowser, TestProvider } from '../../../helpers/oidc-provider.js';
import { type AttachedOidc, attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
  provider.accounts.set('ann', { preferred_username: 'ann@example.com', groups: ['sre', 'all'] });
});
afterEach(() => {
  provider.reset();
  jest.restoreAllMocks();
});
afterAll(async () => provider.close());

const seconds = (): number => Math.floor(Date.now() / 1000);

/** Signs in, with changed claims in the ID token. The signature is right. */
function changeIdToken(change: (claims: Record<string, unknown>) => object): void {
  provider.change('/token', async (answer) => {
    const claims = decodeJwt(String(answer.id_token));
    return { ...answer, id_token: await provider.sign({ ...claims, ...change(claims) }) };
  });
}

/** Begins an attempt as ann, and resolves to its callback. */
async function callbackOf({ begin }: AttachedOidc) {
  const { attempt, url } = await begin();
  const stop = redirectUri;
  return { attempt, callback: await new PlainBrowser().signIn(url, { login: 'ann', stop }) };
}

describe('a sign-in at a provider', () => {
  it('gives the name and the roles of the user', async () => {
    const { signIn, strategy } = attachOidc(provider);
    const user = { username: 'ann@example.com', roles: ['operator'] };
    expect(await signIn('ann')).toMatchObject({ ok: true, ...user });
    const signal = new AbortController().signal;
    expect(await strategy.find_user?.('ann@example.com', { signal })).toMatchObject({
      roles: ['operator'],
    });
    expect(await strategy.find_user?.('bob', { signal })).toBeUndefined();
  });

  it('uses PKCE with S256, a nonce, and only the scopes of the option', async () => {
    const { begin } = attachOidc(provider, { scopes: ['openid'], parameters: { hd: 'a.example' } });
    const { attempt, url } = await begin();
    const query = Object.fromEntries(new URL(url).searchParams);
    expect(query).toEqual({
      client_id: client.id,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid',
      state: attempt.state,
      nonce: attempt.data.nonce,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
      hd: 'a.example',
    });
    expect(JSON.stringify(attempt.data).length).toBeLessThan(512);
  });

  it('rejects a user whom the provider rejects', async () => {
    expect(await attachOidc(provider).signIn('unknown')).toMatchObject({
      ok: false,
      reason: 'provider',
    });
  });

  it('rejects a code that was used before', async () => {
    const attached = attachOidc(provider);
    const { attempt, callback } = await callbackOf(attached);
    expect(await attached.complete(attempt, callback)).toMatchObject({ ok: true });
    expect(await attached.complete(attempt, callback)).toMatchObject({
      ok: false,
      reason: 'provider',
    });
  });

  it.each([
    ['state', (callback: URL) => callback.searchParams.set('state', 'other')],
    ['issuer', (callback: URL) => callback.searchParams.set('iss', 'https://other.example')],
    ['missing issuer', (callback: URL) => callback.searchParams.delete('iss')],
    ['second code', (callback: URL) => callback.searchParams.append('code', 'other')],
    ['code of another attempt', (callback: URL) => callback.searchParams.set('code', 'other')],
    ['code with control characters', (callback: URL) => callback.searchParams.set('code', '\0')],
    ['JARM response', (callback: URL) => callback.searchParams.set('response', 'other')],
    ['ID token', (callback: URL) => callback.searchParams.set('id_token', 'other')],
    ['access token', (callback: URL) => callback.searchParams.set('token', 'other')],
  ])('refuses a callback with a wrong %s', async (_what, change) => {
    const attached = attachOidc(provider);
    const { attempt, callback } = await callbackOf(attached);
    change(callback);
    expect(await attached.complete(attempt, callback)).toEqual({ ok: false, reason: 'provider' });
  });

  it.each([
    ['error=server_error', 'the provider answered server_error'],
    ['error=temporarily_unavailable', 'the provider answered temporarily_unavailable'],
    ['error=x y', 'the provider answered an error'],
    ['error=invalid_scope&code=a', 'the provider answered invalid_scope'],
    ['code=a&code=b', 'a parameter is repeated'],
    ['foo=1', 'there is no valid code'],
    ['code=', 'there is no valid code'],
    ['code=wrong', 'the token endpoint of the provider answered invalid_grant'],
    ['iss=https://evil.example&code=a', /the issuer is "https:\/\/evil.example", but/],
  ])('does not blame the provider for the query %s of a stranger', async (query, reason) => {
    const attached = attachOidc(provider);
    const { attempt } = await attached.begin();
    const callback = new URL(`${redirectUri}?${query}&state=${attempt.state}`);
    if (!callback.searchParams.has('iss')) callback.searchParams.set('iss', provider.issuer);
    expect(await attached.complete(attempt, callback)).toEqual({ ok: false, reason: 'provider' });
    const [line] = attached.log.lines.filter(({ msg }) => String(msg).includes('was refused'));
    expect(line).toMatchObject({ strategy: 'okta', requestId: 'r1' });
    expect(line?.reason).toEqual(expect.stringMatching(reason));
  });

  it('fails if the token endpoint fails', async () => {
    const attached = attachOidc(provider);
    const { attempt, callback } = await callbackOf(attached);
    provider.change('/token', () => ({ error: 'server_error' }));
    await expect(attached.complete(attempt, callback)).rejects.toThrow();
  });

  it('refuses a code with the verifier of another attempt', async () => {
    const attached = attachOidc(provider);
    const { attempt, callback } = await callbackOf(attached);
    const other = await attached.begin();
    Object.assign(attempt.data, { verifier: other.attempt.data.verifier });
    expect(await attached.complete(attempt, callback)).toMatchObject({ ok: false });
  });

  it.each([
    ['issuer', { iss: 'https://other.example' }, /issuer is "https:\/\/other.example", but/],
    ['nonce', { nonce: 'other' }, /claim nonce/],
    ['audience', { aud: 'other' }, /claim aud/],
    ['second audience', { aud: [client.id, 'other'] }, /claim aud/],
    ['authorized party', { aud: [client.id, 'other'], azp: 'other' }, /claim azp/],
    ['end', { exp: seconds() - 400 }, /clock .* by 4\d\d s/],
    ['start', { nbf: seconds() + 400 }, /clock .* by (3|4)\d\d s/],
    ['time of issue', { iat: seconds() + 400 }, /clock .* by (3|4)\d\d s/],
  ])('refuses an ID token with a wrong %s', async (_what, claims, message) => {
    changeIdToken(() => claims);
    await expect(attachOidc(provider).signIn('ann')).rejects.toThrow(message);
  });

  it('accepts a clock that is 50 seconds off', async () => {
    changeIdToken(() => ({ exp: seconds() - 50, iat: seconds() + 50, nbf: seconds() + 50 }));
    expect(await attachOidc(provider).signIn('ann')).toMatchObject({ ok: true });
  });

  it('refuses an ID token with a changed signature', async () => {
    provider.change('/token', (answer) => {
      const [header, payload, signature = ''] = String(answer.id_token).split('.');
      const other = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
      return { ...answer, id_token: [header, payload, other].join('.') };
    });
    await expect(attachOidc(provider).signIn('ann')).rejects.toThrow('signature');
  });

  it('refuses an ID token without a signature', async () => {
    provider.change('/token', (answer) => {
      const [, payload] = String(answer.id_token).split('.');
      const header = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
      return { ...answer, id_token: `${header}.${payload}.` };
    });
    await expect(attachOidc(provider).signIn('ann')).rejects.toThrow('not valid');
  });

  it('keeps tokens and secrets out of the store, the log and the strategy', async () => {
    const secrets: string[] = [client.secret];
    provider.change('/token', (answer) => {
      secrets.push(...[answer.id_token, answer.refresh_token, answer.access_token].map(String));
      return answer;
    });
    const store = memoryStore();
    const { signIn, log, strategy } = attachOidc(provider, {}, { store });
    await signIn('ann');
    const entries = await store.list('auth:', undefined, 1000);
    const { inspect } = await import('node:util');
    const texts = [JSON.stringify(entries), log.text(), inspect(strategy, { depth: 9 })];
    expect(secrets).toHaveLength(4);
    for (const secret of secrets) for (const text of texts) expect(text).not.toContain(secret);
  });
});

describe('the keys of a provider', () => {
  it('are read again for an unknown key, once a minute', async () => {
    const { signIn } = attachOidc(provider);
    await signIn('ann');
    provider.rotateKeys({ keep: true });
    const before = provider.count('/jwks');
    for (let i = 0; i < 3; i += 1) await expect(signIn('ann')).rejects.toThrow('not valid');
    expect(provider.count('/jwks')).toBe(before);
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 61_000);
    expect(await signIn('ann')).toMatchObject({ ok: true });
    expect(provider.count('/jwks')).toBe(before + 1);
  });

  it('are refused within ten minutes of their removal', async () => {
    const { signIn } = attachOidc(provider);
    await signIn('ann');
    const signWithOld = provider.signer();
    provider.rotateKeys({ keep: false });
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 599_000);
    provider.change('/token', async (answer) => ({
      ...answer,
      id_token: await signWithOld(decodeJwt(String(answer.id_token))),
    }));
    await expect(signIn('ann')).rejects.toThrow('not valid');
  });
});
