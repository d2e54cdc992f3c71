import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Finding } from '../../../src/auth/strategies/command-port.js';
import { meaningOf } from '../../../src/auth/strategies/ldap/diagnostics.js';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { makeCa } from '../../helpers/certificates.js';
import { attempt, entries, searchAt, service } from '../../helpers/directory.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { freePort } from '../../helpers/free-port.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';

const describeLdap = hasSlapd ? describe : describe.skip;
const folder = temporaryFolder();
const ca = makeCa(folder.path, 'ca');
const people = `ou=people,${suffix}`;
const { signal } = attempt();

let slapd: Slapd;
beforeAll(async () => {
  slapd = await Slapd.start({ entries, tls: ca.issue('address', 'IP:127.0.0.1', 90) });
});
afterAll(async () => {
  await slapd?.remove();
  folder.remove();
});

const context = { signal, name: 'ldap', urlOf: () => undefined };
const findings = async (options: LdapOptions): Promise<readonly Finding[]> =>
  (await ldap(options).doctor?.(context)) ?? [];
const search = (more: object) => ({
  search: { base: people, filter: '(uid={username})', ...service, ...more },
});

describeLdap('the findings about a directory', () => {
  it.each([
    ['ldaps', () => slapd.tlsUrl, {}],
    ['StartTLS', () => slapd.url, { startTLS: true }],
  ])('name the certificate, the service account and the base, with %s', async (_, url, how) => {
    const groups = { base: `ou=groups,${suffix}` };
    const roles = { map: { sre: 'operator' } };
    expect(await findings(searchAt(url(), { ...how, ca: ca.pem, groups, roles }))).toEqual([
      {
        ...{ mark: 'ok', what: url() },
        found: expect.stringMatching(
          /^address, for IP Address:127.0.0.1, until [\d-]{10}, TLSv1.3, (89|90) days left$/,
        ),
      },
      { mark: 'ok', what: 'service account', found: `${service.bindDN} can bind at ${url()}` },
      { mark: 'ok', what: 'search.base', found: `${people} is readable` },
      { mark: 'ok', what: 'groups.base', found: `ou=groups,${suffix} is readable` },
    ]);
  });

  it.each([
    ['for another name', 'DNS:ldap.example.com', 9, true, 'is for another name', 'option url'],
    ['that has expired', 'IP:127.0.0.1', -1, true, 'has expired', 'renew it'],
    ['of an unknown CA', 'IP:127.0.0.1', 9, false, 'is not signed by a trusted CA', 'option ca'],
    ['that ends soon', 'IP:127.0.0.1', 9, true, '8 days left', 'renew the certificate'],
  ])('show a certificate %s', async (name, names, days, isKnown, found, todo) => {
    const tls = ca.issue('wrong', names, days);
    const other = await Slapd.start({ tls });
    try {
      const mark = name === 'that ends soon' ? 'warning' : 'fault';
      for (const how of [{ url: other.url, startTLS: true }, { url: other.tlsUrl }]) {
        const trusted = isKnown ? { ca: ca.pem } : {};
        const [first, ...rest] = await findings({ ...searchAt(how.url), ...how, ...trusted });
        expect(first).toEqual({
          ...{ mark, what: how.url },
          found: expect.stringContaining(found),
          todo: expect.stringContaining(todo),
        });
        expect(first?.found).toContain('wrong, for ');
        expect(rest.filter(({ what }) => what === how.url)).toEqual([]);
        // No password is sent to a server whose certificate is wrong.
        expect(rest.some(({ what }) => what === 'service account')).toBe(mark === 'warning');
      }
    } finally {
      await other.remove();
    }
  });

  it.each([
    ['password', search({ password: 'wrong-secret' }), 'the name or the password is wrong'],
    ['bindDN', search({ bindDN: 'tasks@corp.example' }), 'the name is not a valid DN'],
    ['bindDN', search({ bindDN: `cn=ghost,${suffix}` }), 'the name or the password is wrong'],
  ])('say why the service account cannot bind, with another %s', async (_, options, why) => {
    const found = await findings(searchAt(slapd.url, options as Partial<LdapOptions>));
    expect(found).toContainEqual({
      ...{ mark: 'fault', what: 'service account' },
      found: expect.stringContaining(`cannot bind at ${slapd.url}: ${why} (`),
      todo: 'correct search.bindDN and search.password, or the account in the directory',
    });
    expect(JSON.stringify(found)).not.toContain('-secret');
  });

  it('say that a base does not exist', async () => {
    const options = search({ base: `ou=nowhere,${suffix}` });
    expect(await findings(searchAt(slapd.url, options))).toContainEqual({
      ...{ mark: 'fault', what: 'search.base' },
      found: `ou=nowhere,${suffix} does not exist, or the service account may not read it`,
      todo: 'correct search.base, or let the service account read it',
    });
  });

  it('warn of entries with several names', async () => {
    const options = searchAt(slapd.url, search({ filter: '(mail={username})' }));
    expect((await findings(options)).map(({ what }) => what)).not.toContain('search.username');
    const dn = `uid=two,${people}`;
    const entry = { objectClass: 'inetOrgPerson', cn: 'x', sn: 'x', mail: ['a@x', 'b@x'] };
    await slapd.asRoot((client) => client.add(dn, entry));
    expect(await findings(options)).toContainEqual({
      ...{ mark: 'warning', what: 'search.username' },
      found:
        'users with several values of mail cannot sign in; of 4 entries, 1 have several, such as ' +
        dn,
      todo: 'set search.username to an attribute with one value, or remove the other values',
    });
    const dryRun = ldap(options).explain?.({ username: 'a@x' }, { signal });
    expect(await dryRun).toEqual({ roles: false, reason: 'several_names' });
    await slapd.asRoot((client) => client.del(dn));
  });

  it('say which of several servers does not answer, and which is not verified', async () => {
    const gone = `ldap://127.0.0.1:${await freePort()}`;
    const found = await findings({ ...searchAt(slapd.url), url: [gone, slapd.url] });
    expect(found.slice(0, 2)).toEqual([
      expect.objectContaining({ mark: 'fault', what: gone }),
      { mark: 'ok', what: slapd.url, found: 'answers; the connection is not encrypted' },
    ]);
    const unchecked = await findings({ ...searchAt(slapd.tlsUrl), insecure: true });
    expect(unchecked[0]).toMatchObject({
      ...{ mark: 'warning', what: slapd.tlsUrl },
      found: expect.stringContaining('the certificate is not checked: its certificate is not'),
    });
  });

  it('warn that nothing checks accounts without a service account', async () => {
    const bindDN = `uid={username},${people}`;
    expect(await findings({ url: slapd.url, bindDN })).toContainEqual(
      expect.objectContaining({ mark: 'warning', what: 'accounts' }),
    );
  });
});

describeLdap('the dry run of a directory', () => {
  const roles = { map: { sre: 'operator', [`cn=Auditors,ou=hidden,${suffix}`]: 'viewer' } };
  const explain = (username: string, more: Partial<LdapOptions> = {}) =>
    ldap(searchAt(slapd.url, { roles, ...more })).explain?.({ username }, { signal });

  it('shows the groups, the matching rows and the roles', async () => {
    expect(await explain('ANN')).toEqual({
      username: 'ann',
      list: { name: 'groups', texts: [`cn=sre,ou=groups,${suffix}`] },
      rows: [{ row: 'sre', roles: ['operator'] }],
      roles: ['operator'],
    });
  });

  it('shows the groups of a user whom no row lets in', async () => {
    expect(await explain('bob')).toMatchObject({ username: 'bob', rows: [], roles: false });
    const rejected = { roles: false, reason: 'ambiguous' };
    const mail = search({ filter: '(|(uid={username})(mail={username}))', username: 'uid' });
    expect(await explain('shared@corp.example', mail as Partial<LdapOptions>)).toEqual(rejected);
    expect(await explain('ghost')).toEqual({ roles: false, reason: 'unknown_user' });
  });

  it('needs a name and a service account', async () => {
    const direct = ldap({ url: slapd.url, bindDN: `uid={username},${people}` });
    expect(() => direct.explain?.({ username: 'ann' }, { signal })).toThrow('needs a service');
    expect(() => explain('')).toThrow('--user NAME');
  });
});

describe('the codes of Active Directory', () => {
  it.each([
    ['525', 'there is no such account'],
    ['52e', 'the password is wrong'],
    ['532', 'the password has expired'],
    ['533', 'the account is disabled'],
    ['701', 'the account has expired'],
    ['773', 'the password must be changed first'],
    ['775', 'the account is locked'],
  ])('are explained: %s', (data, meaning) => {
    const message = `80090308: AcceptSecurityContext error, data ${data}`;
    const error = Object.assign(new Error(`${message}, v4563 Code: 0x31`), { code: 49 });
    expect(meaningOf(error)).toContain(`${meaning} (`);
  });
});
