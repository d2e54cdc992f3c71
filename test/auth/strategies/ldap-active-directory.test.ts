import { describe, expect, it } from '@jest/globals';
import { ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { attempt } from '../../helpers/directory.js';
import { fakeLdap, type LdapAnswer, type LdapRequest } from '../../helpers/fake-ldap.js';

const keep = closeAfterEach();
const base = 'dc=corp,dc=example';
const dn = `CN=Ann,CN=Users,${base}`;
const ann = { dn, sAMAccountName: 'ann', userAccountControl: '512' };
const service = { bindDN: 'svc@corp.example', password: 'service-secret' };
const search = {
  ...{ base, username: 'sAMAccountName', ...service },
  filter: '(|(userPrincipalName={username})(sAMAccountName={username}))',
};
const isBind = ({ tag }: LdapRequest): boolean => tag === 0x60;
const isSearch = ({ tag }: LdapRequest): boolean => tag === 0x63;

/** Starts a server that knows ann, with other answers to some requests. */
const serve = async (other: (request: LdapRequest) => LdapAnswer | undefined = () => undefined) =>
  keep(
    await fakeLdap((request) => {
      const answer = other(request);
      if (answer) return answer;
      return isSearch(request) && request.name !== '' ? { entries: [ann] } : undefined;
    }),
  );

describe('ldap with Active Directory', () => {
  it.each([
    ['52e', undefined],
    ['525', undefined],
    ['532', 'expired'],
    ['533', 'disabled'],
    ['701', 'expired'],
    ['773', 'expired'],
    ['775', 'locked'],
  ])('gives the reason of a bind that was refused with data %s', async (code, reason) => {
    const message = `80090308: LdapErr: DSID-0C090446, comment, data ${code}, v4563`;
    const { url } = await serve((request) =>
      isBind(request) && request.name === dn ? { code: 49, message } : undefined,
    );
    const verdict = await ldap({ url, search }).authenticate_user('ann', 'x', attempt());
    expect(verdict).toEqual(reason === undefined ? false : { ok: false, reason });
  });

  it.each([
    [53, 'Account inactivated. Contact system administrator.', 'disabled'],
    [19, 'Exceed password retry limit. Please try later.', 'locked'],
  ])('gives the reason of 389 Directory Server for code %i', async (code, message, reason) => {
    const { url } = await serve((request) =>
      isBind(request) && request.name === dn ? { code, message } : undefined,
    );
    const verdict = await ldap({ url, search }).authenticate_user('ann', 'x', attempt());
    expect(verdict).toEqual({ ok: false, reason });
  });

  it.each([
    [51, 'BusyError (LDAP result code 51)'],
    [53, 'UnwillingToPerformError (LDAP result code 53): later'],
  ])('cannot tell if a bind fails with code %i', async (code, said) => {
    const { url } = await serve((request) =>
      isBind(request) && request.name === dn ? { code, message: 'later' } : undefined,
    );
    const verdict = ldap({ url, search }).authenticate_user('ann', 'x', attempt());
    await expect(verdict).rejects.toThrow(said);
  });

  it.each(['{username}@corp.example', 'CORP\\{username}'])(
    'signs in with the name %s, and asks who that is',
    async (bindDN) => {
      const { url, requests } = await serve((request) => {
        if (request.tag === 0x77) return { value: 'u:CORP\\ann' };
        if (isSearch(request) && request.name === '')
          return { entries: [{ dn: '', defaultNamingContext: base }] };
        return undefined;
      });
      const strategy = ldap({ url, bindDN });
      expect(await strategy.authenticate_user('Ann', 'x', attempt())).toMatchObject({
        username: 'ann',
      });
      expect(requests.find(isBind)?.name).toBe(bindDN.replace('{username}', 'Ann'));
      expect(requests.some(({ name }) => name === base)).toBe(true);
    },
  );

  it('cannot tell who signed in if the server does not say it', async () => {
    const { url } = await serve();
    const strategy = ldap({ url, bindDN: '{username}@corp.example' });
    await expect(strategy.authenticate_user('ann', 'x', attempt())).rejects.toThrow(
      'the server does not say who signed in; use search instead of bindDN',
    );
  });

  it('lets the server follow nested groups', async () => {
    const staff = `CN=Staff,CN=Users,${base}`;
    const { url, requests } = await serve((request) => {
      if (!isSearch(request)) return undefined;
      if (request.name === '')
        return { entries: [{ dn: '', supportedCapabilities: ['1.2.840.113556.1.4.800'] }] };
      return request.name === `CN=Users,${base}` ? { entries: [{ dn: staff }] } : undefined;
    });
    const groups = { base: `CN=Users,${base}`, nested: true };
    const strategy = ldap({ url, search, groups, roles: { map: { [staff]: 'operator' } } });
    expect(await strategy.authenticate_user('ann', 'x', attempt())).toMatchObject({
      roles: ['operator'],
    });
    const searched = requests.filter(({ name }) => name === groups.base);
    expect(searched.map(({ text }) => text)).toEqual([
      expect.stringContaining('1.2.840.113556.1.4.1941'),
    ]);
  });

  it('follows no group twice if the server cannot follow them', async () => {
    const groups = { base: `OU=Groups,${base}`, nested: true };
    const { url, requests } = await serve((request) =>
      request.name === groups.base ? { entries: [{ dn: `CN=Loop,${groups.base}` }] } : undefined,
    );
    const strategy = ldap({ url, search, groups, roles: { map: { loop: 'operator' } } });
    expect(await strategy.authenticate_user('ann', 'x', attempt())).toMatchObject({
      roles: ['operator'],
    });
    expect(requests.filter(({ name }) => name === groups.base)).toHaveLength(2);
  });

  it('asks for two entries at most and never for pages', async () => {
    const { url, requests } = await serve();
    await ldap({ url, search }).authenticate_user('ann', 'x', attempt());
    const [first] = requests.filter(isSearch);
    // The base is followed by the scope, the aliases, and the limit of the size.
    expect(first?.text).toContain(`${base}\n\x01\x02\n\x01\x00\x02\x01\x02`);
    for (const { text } of requests) expect(text).not.toContain('1.2.840.113556.1.4.319');
  });

  it('rejects a user whom a server could not tell from others', async () => {
    const { url } = await serve((request) =>
      isSearch(request) ? { code: 4, entries: [ann] } : undefined,
    );
    const strategy = ldap({ url, search });
    expect(await strategy.authenticate_user('ann', 'x', attempt())).toEqual({
      ok: false,
      reason: 'ambiguous',
    });
    expect(await strategy.find_user?.('ann', attempt())).toBeUndefined();
  });

  it('rejects a disabled account even if the server accepts its password', async () => {
    const { url } = await serve((request) =>
      isSearch(request) ? { entries: [{ ...ann, userAccountControl: '514' }] } : undefined,
    );
    expect(await ldap({ url, search }).authenticate_user('ann', 'x', attempt())).toEqual({
      ok: false,
      reason: 'disabled',
    });
  });
});
