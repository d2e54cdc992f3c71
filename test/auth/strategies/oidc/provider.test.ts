import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { rootCertificates } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createAuth } from '../../../../src/auth/create-auth.js';
import { oidc } from '../../../../src/auth/strategies/oidc/oidc.js';
import type { OidcOptions } from '../../../../src/auth/strategies/oidc/options.js';
import { providerFetch } from '../../../../src/auth/strategies/oidc/provider-fetch.js';
import { temporaryFolder } from '../../../helpers/folder.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { client, PlainBrowser, TestProvider } from '../../../helpers/oidc-provider.js';
import { attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';
import { secretKey } from '../../../helpers/passwords.js';
import { startProcess } from '../../../helpers/process.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
  provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
});
afterEach(() => provider.reset());
afterAll(async () => provider.close());

const discovery = '/.well-known/openid-configuration';
const { signal } = new AbortController();

describe('the metadata of a provider', () => {
  it('are read at the first need and then for an hour', async () => {
    let time = Date.now();
    const before = provider.count(discovery);
    const { begin } = attachOidc(provider, {}, { now: () => time });
    expect(provider.count(discovery)).toBe(before);
    await Promise.all([begin(), begin()]);
    time += 3_599_000;
    await begin();
    expect(provider.count(discovery)).toBe(before + 1);
    time += 2000;
    await begin();
    expect(provider.count(discovery)).toBe(before + 2);
  });

  it('are read again after the provider was down, at most every five seconds', async () => {
    let time = Date.now();
    const own = await TestProvider.start({ redirectUri });
    await own.close();
    const { begin, strategy } = attachOidc(own, {}, { now: () => time });
    await expect(begin()).rejects.toThrow(/cannot be reached \(ECONNREFUSED\)/);
    await own.resume();
    await expect(begin()).rejects.toThrow('cannot be reached');
    expect(own.requests).toEqual([]);
    time += 5001;
    await strategy.check?.(signal);
    expect((await begin()).url).toContain(own.issuer);
    await own.close();
    time += 5001;
    await expect(strategy.check?.(signal)).rejects.toThrow('cannot be reached');
  });

  it('must have the configured issuer, which may differ by the slash of a root', async () => {
    const beginAt = async (issuer: string) => (await attachOidc(provider, { issuer }).begin()).url;
    expect(await beginAt(`${provider.issuer}/`)).toContain('code_challenge');
    provider.change(discovery, (answer) => ({ ...answer, issuer: `${provider.issuer}/` }));
    expect(await beginAt(provider.issuer)).toContain('code_challenge');
    const other = `${provider.issuer}/tenant`;
    provider.change(discovery, (answer) => ({ ...answer, issuer: other }));
    await expect(beginAt(provider.issuer)).rejects.toThrow(
      `the issuer is "${other}", but "${provider.issuer}" was expected`,
    );
    const [lower, upper] = ['localhost', 'LOCALHOST'].map(
      (host) => `http://${host}:${provider.port}`,
    );
    provider.change(discovery, (answer) => ({ ...answer, issuer: upper }));
    await expect(beginAt(String(lower))).rejects.toThrow(`the issuer is "${upper}"`);
    const tenants = `${provider.issuer}/{tenantid}/v2.0`;
    provider.change(discovery, (answer) => ({ ...answer, issuer: tenants }));
    await expect(beginAt(provider.issuer)).rejects.toThrow(tenants);
  });

  it('name the issuer of the callback exactly', async () => {
    provider.change(discovery, (answer) => ({ ...answer, issuer: `${provider.issuer}/` }));
    const { signIn, log } = attachOidc(provider);
    expect(await signIn('ann')).toMatchObject({ ok: false, reason: 'provider' });
    const [line] = log.lines.filter(({ msg }) => String(msg).includes('was refused'));
    expect(line?.reason).toContain(
      `the issuer is "${provider.issuer}", but "${provider.issuer}/" was expected`,
    );
  });

  it('must not lead to an address without HTTPS', async () => {
    provider.change(discovery, (answer) => ({
      ...answer,
      token_endpoint: 'http://provider.example/token',
    }));
    await expect(attachOidc(provider).signIn('ann')).rejects.toThrow(
      'the provider names the address http://provider.example, which is not an https: address',
    );
  });

  it.each([
    ['an error', (_answer: object) => 'not an object'],
    ['no endpoints', (answer: object) => ({ issuer: (answer as { issuer: string }).issuer })],
  ])('lead to an error if they hold %s', async (_what, change) => {
    provider.change(discovery, change);
    await expect(attachOidc(provider).begin()).rejects.toThrow();
  });
});

describe('a provider with a private certificate authority', () => {
  let secure: TestProvider;
  let [key, cert] = ['', ''];
  beforeAll(async () => {
    const folder = temporaryFolder();
    const [keyFile, certFile] = [folder.file('key.pem'), folder.file('cert.pem')];
    const made = spawnSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '2', '-subj', '/CN=provider', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', keyFile, '-out', certFile],
    ]);
    expect([made.error, made.status]).toEqual([undefined, 0]);
    key = readFileSync(keyFile, 'utf8');
    cert = readFileSync(certFile, 'utf8');
    folder.remove();
    secure = await TestProvider.start({ redirectUri, tls: { key, cert } });
    secure.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
  });
  afterAll(async () => secure.close());

  it('is trusted with the option ca', async () => {
    const browser = new PlainBrowser(providerFetch([cert]));
    const verdict = await attachOidc(secure, { ca: cert }).signIn('ann', browser);
    expect(verdict).toMatchObject({ ok: true, username: 'ann' });
  });

  it('is refused without it, and the error names it', async () => {
    await expect(attachOidc(secure).begin()).rejects.toThrow(
      /cannot be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\); the option ca adds/,
    );
  });

  it('does not make other certificates trusted', async () => {
    const elsewhere = await attachOidc(secure, { ca: rootCertificates[0] ?? '' })
      .begin()
      .catch(String);
    expect(elsewhere).toContain('the option ca adds');
  });

  it('must answer in time', async () => {
    const silent = createServer({ key, cert }, () => {});
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const { port } = silent.address() as AddressInfo;
    const options = { issuer: `https://127.0.0.1:${port}`, timeout: 0.2, ca: cert };
    await expect(attachOidc(secure, options).begin()).rejects.toThrow('did not answer in time');
    silent.closeAllConnections();
    silent.close();
  });
});

describe('the client authentication', () => {
  it.each([
    ['the provider lists it', ['client_secret_basic', 'client_secret_post'], 'basic'],
    ['the provider lists nothing', undefined, 'basic'],
    ['the provider does not list basic', ['client_secret_post'], 'post'],
  ])('is used once, as the metadata say: %s', async (_what, methods, used) => {
    provider.change(discovery, ({ token_endpoint_auth_methods_supported: _, ...answer }) => ({
      ...answer,
      ...(methods && { token_endpoint_auth_methods_supported: methods }),
    }));
    expect(await attachOidc(provider).signIn('ann')).toMatchObject({ ok: true });
    expect(provider.clientAuth[0]).toBe(used);
  });

  it('can be configured', async () => {
    await attachOidc(provider, { clientAuth: 'post' }).signIn('ann');
    expect(provider.clientAuth[0]).toBe('post');
  });

  it.each([
    ['basic', 'post'],
    ['post', 'basic'],
  ] as const)('names the other method if the provider refuses %s', async (clientAuth, other) => {
    const options = { clientAuth, clientSecret: 'wrong-secret' };
    await expect(attachOidc(provider, options).signIn('ann')).rejects.toThrow(
      'the token endpoint of the provider answered invalid_client: check clientId and ' +
        `clientSecret, or try clientAuth: '${other}' instead of '${clientAuth}'`,
    );
  });
});

describe('the options of oidc', () => {
  const valid: OidcOptions = {
    issuer: 'https://id.example',
    clientId: 'tasks',
    clientSecret: client.secret,
    roles: ['viewer'],
  };

  it('are accepted', () => {
    expect(oidc({ ...valid, label: 'Okta' })).toMatchObject({ label: 'Okta' });
    expect(oidc({ ...valid, issuer: 'http://localhost:8080/realms/a' })).toBeDefined();
    const tenant = 'https://login.microsoftonline.com/9b1c0a3e-0000-4000-8000-000000000000/v2.0';
    expect(oidc({ ...valid, issuer: tenant })).toBeDefined();
    expect(oidc({ ...valid, issuer: 'https://id.example/common/v2.0' })).toBeDefined();
    expect(oidc({ ...valid, refresh: false, logout: false, timeout: 2 })).toBeDefined();
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['no issuer', { issuer: undefined }, /oidc: issuer is undefined; it must be the https: URL/],
    ['no client', { clientId: undefined }, /oidc: clientId is undefined/],
    ['no roles', { roles: undefined }, /oidc: roles is undefined/],
    ['wrong roles', { roles: { map: 7 } }, /roles.map is 7/],
    ['a pattern of roles', { roles: /a/ }, /roles/],
    ['plain HTTP', { issuer: 'http://id.example' }, /http: is accepted for loopback only/],
    ['no URL', { issuer: 'id.example' }, /issuer is "id.example"/],
    [
      'a discovery URL',
      { issuer: 'https://a.example/.well-known/openid-configuration' },
      /without/,
    ],
    ['a query', { issuer: 'https://a.example?tenant=1' }, /issuer is/],
    ['an empty secret', { clientSecret: ' ' }, /clientSecret is empty; it must be/],
    ['a number as secret', { clientSecret: 7 }, /clientSecret is a number/],
    ['scopes without openid', { scopes: ['email'] }, /does not contain 'openid'/],
    ['scopes in one text', { scopes: 'openid email' }, /scopes is "openid email"/],
    ['a parameter of its own', { parameters: { state: 'x' } }, /oidc sets this parameter itself/],
    ['a parameter that is no text', { parameters: { a: 1 } }, /parameters.a is 1/],
    ['a method', { clientAuth: 'jwt' }, /'basic' or 'post'/],
    [
      'a secret from a variable that is not set',
      { clientSecret: undefined },
      /clientSecret is not set; if it comes .*, set that variable. For a public client, leave the/,
    ],
    ...['common/v2.0', 'organizations/v2.0', 'consumers/v2.0', 'Common'].map(
      (path): [string, Record<string, unknown>, RegExp] => [
        `the issuer ${path} of all tenants of Entra ID`,
        { issuer: `https://login.microsoftonline.com/${path}` },
        /id of your tenant, 'https:\/\/login.microsoftonline.com\/TENANT-ID\/v2.0'/,
      ],
    ),
    ['a short refresh', { refresh: 1 }, /or false/],
    ['a long timeout', { timeout: 60 }, /timeout is 60/],
    ['a wrong certificate', { ca: 'x' }, /cannot be read as a certificate/],
    ['no certificate', { ca: [] }, /a list of them/],
    ['an unknown option', { strong: true }, /has no option "strong"/],
  ])('are refused: %s', (_what, change, message) => {
    let error: unknown;
    try {
      oidc({ ...valid, ...change });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain(client.secret);
  });

  it('may leave out the secret, but not with a method that needs it', () => {
    const { clientSecret: _, ...publicClient } = valid;
    expect(oidc(publicClient)).toBeDefined();
    expect(() => oidc({ ...publicClient, clientAuth: 'post' })).toThrow(/needs the option client/);
  });

  it('never show the password in an issuer', () => {
    const issuer = 'https://user:Canary-Pa55word-of-the-tests@id.example';
    expect(() => oidc({ ...valid, issuer })).toThrow(/without a user name/);
    expect(() => oidc({ ...valid, issuer })).not.toThrow(/Canary/);
  });

  it('must belong to one login', async () => {
    const strategy = oidc(valid);
    expect(() => strategy.unpin('ann')).toThrow('not part of a login');
    createAuth({ strategies: strategy, secretKey, logger: false });
    expect(() => createAuth({ strategies: strategy, secretKey, logger: false })).toThrow(
      'already used by another login',
    );
  });

  it('warn if the names of users are pinned in memory only', () => {
    const { logger, lines } = recordingLogger();
    createAuth({ strategies: oidc(valid), secretKey, logger });
    expect(lines.map(({ msg }) => msg)).toContain(
      'createAuth has no store, so pinned names of users are lost when this process ends',
    );
  });
});

describe('the packages of the strategy', () => {
  it.each(['openid-client', 'jose'])('are named if %s is missing', async (missing) => {
    const program = `
      import Module from 'node:module';
      const resolve = Module._resolveFilename;
      Module._resolveFilename = function (name, ...rest) {
        if (name === '${missing}') throw new Error('missing');
        return resolve.call(this, name, ...rest);
      };
      const { oidc } = await import('koa-taskflow/strategies/oidc');
      try {
        oidc({ issuer: 'https://id.example', clientId: 'tasks', roles: [] });
      } catch (error) {
        console.log(error.message);
      }`;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect([await child.ended, child.lines]).toEqual([
      0,
      [
        expect.stringMatching(
          `^oidc needs the package ${missing}@\\^6.*, which cannot be loaded: ` +
            `npm install "${missing}@`,
        ),
      ],
    ]);
  });
});
