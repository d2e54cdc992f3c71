import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Attribute, Change } from 'ldapts';
import { type Secret, secretFile } from '../../../src/auth/secrets/secret.js';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import type { AuthStrategy } from '../../../src/auth/strategies/strategy.js';
import { trustedHeader } from '../../../src/auth/strategies/trusted-header/trusted-header.js';
import { ask } from '../../helpers/client.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { attempt, entries, searchAt, service } from '../../helpers/directory.js';
import { serveLogin } from '../../helpers/login-app.js';
import { client, TestProvider } from '../../helpers/oidc-provider.js';
import { attachOidc, redirectUri } from '../../helpers/oidc-strategy.js';
import { type SecretFolder, secretFolder } from '../../helpers/secret-folder.js';
import { hasSlapd, Slapd } from '../../helpers/slapd.js';
import { promptly, waitFor } from '../../helpers/wait.js';

let folder: SecretFolder;
const keep = closeAfterEach();
beforeEach(() => {
  folder = secretFolder();
});
afterEach(() => folder.remove());

/** The forms of a secret that can change. `vault` holds what a function returns. */
const forms: [string, (vault: { secret: string }) => Secret][] = [
  ['a file', ({ secret }) => secretFile(folder.replace('secret', `${secret}\n`))],
  ['a function', (vault) => async () => vault.secret],
];

describe('the option clientSecret of oidc', () => {
  let provider: TestProvider;
  beforeAll(async () => {
    provider = await TestProvider.start({ redirectUri });
    provider.accounts.set('ann', { preferred_username: 'ann', groups: ['staff'] });
  });
  afterEach(() => provider.changeClient({ client_secret: client.secret }));
  afterAll(async () => provider.close());

  it.each(forms)('may be %s', async (_form, secretOf) => {
    const { signIn } = attachOidc(provider, { clientSecret: secretOf({ secret: client.secret }) });
    expect(await signIn('ann')).toMatchObject({ ok: true, username: 'ann' });
  });

  it('is followed while the provider rotates it', async () => {
    const path = folder.replace('secret', client.secret);
    const { signIn, log } = attachOidc(provider, { clientSecret: secretFile(path) });
    expect(await signIn('ann')).toMatchObject({ ok: true });
    const next = `next-${client.secret}`;
    provider.changeClient({ client_secret: next });
    await expect(signIn('ann')).rejects.toThrow('invalid_client');
    folder.replace('secret', next);
    await waitFor(() => log.lines.some(({ msg }) => msg === 'a secret has changed'), promptly);
    expect(await signIn('ann')).toMatchObject({ ok: true });
    expect(log.lines.find(({ msg }) => msg === 'a secret has changed')).toMatchObject({
      secret: 'oidc: clientSecret',
      strategy: 'okta',
    });
  });

  it('fails the login with the reason until a function has answered', async () => {
    const fail = (): never => {
      throw new Error(`no ${client.secret}`);
    };
    const { signIn, log } = attachOidc(provider, { clientSecret: fail });
    await expect(signIn('ann')).rejects.toThrow(
      'clientSecret cannot be read: the function that returns it failed: Error',
    );
    expect(log.text()).not.toContain(client.secret);
  });
});

(hasSlapd ? describe : describe.skip)('the option search.password of ldap', () => {
  let slapd: Slapd;
  beforeAll(async () => {
    slapd = await Slapd.start({ entries });
  });
  afterAll(() => slapd?.remove());

  const strategyWith = (password: Secret): AuthStrategy => {
    const { search, ...rest } = searchAt(slapd.url);
    return ldap({ ...rest, search: { ...search, password } } as LdapOptions);
  };

  it.each(forms)('may be %s', async (_form, secretOf) => {
    const strategy = strategyWith(secretOf({ secret: service.password }));
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toMatchObject({
      username: 'ann',
    });
  });

  it('is followed while the directory rotates it', async () => {
    const path = folder.replace('secret', service.password);
    const strategy = strategyWith(secretFile(path));
    const find = async () => strategy.find_user?.('ann', attempt());
    expect(await find()).toBeDefined();
    const values = ['next-secret'];
    await slapd.modify(
      'cn=tasks',
      new Change({
        operation: 'replace',
        modification: new Attribute({ type: 'userPassword', values }),
      }),
    );
    await expect(find()).rejects.toThrow('search.password is wrong');
    folder.replace('secret', 'next-secret');
    await waitFor(() => find().catch(() => undefined), promptly);
  });
});

describe('the option secret.value of trustedHeader', () => {
  const [first, second] = ['first-proxy-secret-1', 'second-proxy-secret-2'];
  const start = async (value: Secret) => {
    const secret = { header: 'X-Proxy-Secret', value };
    const strategies = trustedHeader({ proxies: ['127.0.0.1'], secret });
    const app = keep(await serveLogin({ strategies }));
    return async (sent: string): Promise<unknown> => {
      const headers = { 'Remote-User': 'ann', 'X-Proxy-Secret': sent };
      return ((await ask(app.url, { headers })).json as { name: unknown }).name;
    };
  };

  it.each(forms)('may be %s', async (_form, secretOf) => {
    const nameWith = await start(secretOf({ secret: first }));
    expect([await nameWith(first), await nameWith(second)]).toEqual(['ann', null]);
  });

  it('may be several lines of a file, which is followed', async () => {
    const path = folder.replace('secret', first);
    const nameWith = await start(secretFile(path));
    folder.replace('secret', `${first}\n${second}\n`);
    await waitFor(async () => (await nameWith(second)) === 'ann', promptly);
    expect(await nameWith(first)).toBe('ann');
    folder.replace('secret', second);
    await waitFor(async () => (await nameWith(first)) === null, promptly);
    expect(await nameWith(second)).toBe('ann');
  });
});
