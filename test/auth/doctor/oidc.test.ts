import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Finding } from '../../../src/auth/strategies/command-port.js';
import { refreshFinding } from '../../../src/auth/strategies/oidc/doctor.js';
import { oidc } from '../../../src/auth/strategies/oidc/oidc.js';
import { type OidcOptions, readOptions } from '../../../src/auth/strategies/oidc/options.js';
import { makeCa } from '../../helpers/certificates.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { client, TestProvider } from '../../helpers/oidc-provider.js';

const discovery = '/.well-known/openid-configuration';
const base = 'https://jobs.example.com';
const redirectUri = `${base}/tasks/auth/callback/okta`;
const { signal } = new AbortController();

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(() => {
  provider.reset();
  jest.restoreAllMocks();
});
afterAll(async () => provider.close());

const optionsFor = (more: Partial<OidcOptions> = {}): OidcOptions => ({
  ...{ issuer: provider.issuer, clientId: client.id, clientSecret: client.secret },
  roles: ['viewer'],
  ...more,
});
const findings = async (
  more: Partial<OidcOptions> = {},
  urlOf: (route: string) => string | undefined = (route) => `${base}/tasks${route}`,
): Promise<ReadonlyMap<string, Finding>> => {
  const found = await oidc(optionsFor(more)).doctor?.({ signal, name: 'okta', urlOf });
  expect(JSON.stringify(found)).not.toContain(client.secret);
  return new Map(found?.map((each) => [each.what, each]));
};
const finding = async (what: string, ...args: Parameters<typeof findings>): Promise<unknown> =>
  (await findings(...args)).get(what);

describe('the findings about a provider', () => {
  it('name what to register, and what the provider supports', async () => {
    const scopes = ['openid', 'offline_access'];
    const found = [...(await findings({ scopes })).values()];
    const ok = (what: string, text: unknown) => ({ mark: 'ok', what, found: text });
    const methods = expect.stringMatching(/^client_secret_basic \(the default\); .*_post/);
    expect(found).toEqual([
      ok('issuer', `${provider.issuer}, as configured`),
      ok('client authentication', methods),
      ok('signing algorithms', expect.stringContaining('ES256')),
      ok('PKCE', 'S256'),
      ok('sign-out', 'also ends the session at the provider; back-channel logout is possible'),
      ok('keys', '1'),
      ok('clock', expect.stringMatching(/^differs by [01] s from the clock of the provider$/)),
      ok('client id and secret', 'accepted by the token endpoint'),
      ok('sign-in page', `${provider.issuer}/auth accepts the request`),
      ok('redirect URI', redirectUri),
      ok('back-channel logout', `${base}/tasks/auth/ended/okta`),
      ok('post-logout URI', `${base}/tasks/auth/signed-out`),
      ok('refresh token', 'can be expected; used every 300 s'),
    ]);
  });

  it('show both texts of a different issuer', async () => {
    expect(await finding('issuer', { issuer: `${provider.issuer}/` })).toMatchObject({
      ...{ mark: 'ok', found: expect.stringContaining(`configured as ${provider.issuer}/`) },
    });
    const other = `${provider.issuer}/tenant`;
    provider.change(discovery, (answer) => ({ ...answer, issuer: other }));
    const found = expect.stringContaining(`"${other}", but "${provider.issuer}" was expected`);
    expect(await finding('issuer')).toMatchObject({ mark: 'fault', found });
  });

  it('say that the provider refuses the client secret, and show no secret', async () => {
    const clientSecret = 'another-secret-of-the-app';
    const found = await findings({ clientSecret });
    expect(found.get('client id and secret')).toMatchObject({
      ...{ mark: 'fault', found: expect.stringContaining('invalid_client') },
      todo: 'copy the client id and secret from the page of the app at the provider',
    });
    expect(JSON.stringify([...found])).not.toContain(clientSecret);
  });

  it('check only the id of a public client', async () => {
    const { clientSecret: _, ...options } = optionsFor();
    const found = await oidc(options).doctor?.({ signal, name: 'okta', urlOf: () => undefined });
    const names = found?.map(({ what }) => what);
    expect(names).toContain('client id');
    expect(names).not.toContain('client id and secret');
  });

  it('say that the provider does not know the redirect URI or the client', async () => {
    const elsewhere = (route: string) => `https://other.example/tasks${route}`;
    expect(await finding('sign-in page', {}, elsewhere)).toMatchObject({
      ...{ mark: 'fault', found: `${provider.issuer}/auth refuses the request (status 400)` },
      todo: expect.stringContaining('register https://other.example/tasks/auth/callback/okta'),
    });
    const scopes = ['openid', 'nonsense'];
    expect(await finding('scopes', { scopes })).toMatchObject({ mark: 'warning' });
  });

  it('ask for publicUrl if the addresses are not known', async () => {
    const found = await findings({}, () => undefined);
    expect(found.get('redirect URI')).toMatchObject({
      ...{ mark: 'warning', todo: expect.stringContaining('set publicUrl') },
    });
    expect(found.has('sign-in page')).toBe(false);
  });

  it.each([
    ['client authentication', { clientAuth: 'post' }, { mark: 'fault' }],
    ['client authentication', {}, { mark: 'ok' }],
    ['signing algorithms', {}, { mark: 'fault', found: 'HS256' }],
    ['PKCE', {}, { mark: 'warning', found: 'S256, but the provider lists only plain' }],
    ['sign-out', {}, { mark: 'ok', found: expect.stringContaining('in the app only') }],
  ] as const)('judge %s by the metadata, with %j', async (what, more, expected) => {
    provider.change(discovery, ({ end_session_endpoint: _, ...answer }) => ({
      ...answer,
      token_endpoint_auth_methods_supported: ['client_secret_basic'],
      id_token_signing_alg_values_supported: ['HS256'],
      code_challenge_methods_supported: ['plain'],
      backchannel_logout_supported: false,
    }));
    expect(await finding(what, more)).toMatchObject(expected);
  });

  it.each([
    [{}, 'warning', /add offline_access to scopes/],
    [{ refresh: false }, 'ok', undefined],
    [{ issuer: 'https://accounts.google.com' }, 'warning', /access_type: 'offline'/],
    [
      { issuer: 'https://accounts.google.com', parameters: { access_type: 'offline' } },
      'ok',
      undefined,
    ],
  ] as const)('say whether a refresh token can be expected, with %j', (more, mark, todo) => {
    const found = refreshFinding(readOptions(optionsFor(more)));
    expect(found).toMatchObject({ mark, ...(todo && { todo: expect.stringMatching(todo) }) });
  });

  it.each([
    [20, 'warning', 'the clock of the provider is 20 s behind'],
    [-20, 'warning', 'the clock of the provider is 20 s ahead'],
    [600, 'fault', 'the clock of the provider is 600 s behind'],
  ])('compare the clocks, with a difference of %d s', async (seconds, mark, text) => {
    const { now } = Date;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + seconds * 1000);
    const found = (await finding('clock')) as Finding;
    const rounded = text.replace(/\d+/, `(${Math.abs(seconds)}|${Math.abs(seconds) + 1})`);
    expect(found).toMatchObject({ mark, found: expect.stringMatching(new RegExp(rounded)) });
  });
});

describe('the findings about the certificate of a provider', () => {
  const folder = temporaryFolder();
  const ca = makeCa(folder.path, 'ca');
  afterAll(() => folder.remove());

  it.each([
    ['that is right', 'IP:127.0.0.1', 90, true, 'ok', / days left$/],
    ['of an unknown CA', 'IP:127.0.0.1', 90, false, 'fault', /not signed by a trusted CA/],
    ['for another name', 'DNS:id.example', 90, true, 'fault', /is for another name/],
    ['that has expired', 'IP:127.0.0.1', -1, true, 'fault', /has expired/],
    ['that ends soon', 'IP:127.0.0.1', 5, true, 'warning', / 4 days left$/],
  ])('judge a certificate %s', async (_, names, days, isKnown, mark, text) => {
    const { file, key } = ca.issue('id', names, days);
    const tls = { cert: readFileSync(file, 'utf8'), key: readFileSync(key, 'utf8') };
    const secure = await TestProvider.start({ redirectUri, tls });
    try {
      const trusted = isKnown ? { ca: ca.pem } : {};
      const found = await findings({ issuer: secure.issuer, ...trusted });
      const certificate = found.get('certificate');
      expect(certificate).toMatchObject({ mark, found: expect.stringMatching(text) });
      expect(certificate?.found).toContain('id, for ');
      expect(found.get('issuer')?.mark).toBe(mark === 'fault' ? 'fault' : 'ok');
    } finally {
      await secure.close();
    }
  });
});

describe('the dry run of a provider', () => {
  const roles = { map: { sre: 'operator', staff: ['viewer'] } };
  const explain = (claims: object, more: Partial<OidcOptions> = {}) =>
    oidc(optionsFor({ roles, ...more })).explain?.(
      { claims: claims as Record<string, unknown> },
      { signal },
    );

  it('shows the list, the matching rows and the roles', async () => {
    expect(await explain({ sub: '1', preferred_username: 'ann', groups: ['x', 'sre'] })).toEqual({
      username: 'ann',
      list: { name: 'groups', texts: ['x', 'sre'] },
      rows: [{ row: 'sre', roles: ['operator'] }],
      roles: ['operator'],
    });
    const byFunction = { roles: () => ['viewer'] };
    expect(await explain({ sub: '1' }, byFunction)).toEqual({ username: '1', roles: ['viewer'] });
  });

  it.each([
    [
      { sub: '1', groups: ['x'] },
      { username: '1', rows: [], roles: false },
    ],
    [{ name: 'Ann' }, { roles: false, reason: 'no_name' }],
    [
      { sub: '1', hasgroups: true },
      { username: '1', roles: false, reason: 'too_many_groups' },
    ],
  ])('shows why claims are rejected: %j', async (claims, expected) => {
    expect(await explain(claims)).toMatchObject(expected);
  });

  it('needs claims', () => {
    expect(() => oidc(optionsFor()).explain?.({ username: 'ann' }, { signal })).toThrow('--claims');
  });
});
