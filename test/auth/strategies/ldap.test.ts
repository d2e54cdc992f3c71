import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Attribute, Change, Client } from 'ldapts';
import { closedBy } from '../../../src/auth/strategies/ldap/account.js';
import { type LdapOptions, type LdapUser, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { credentials, textOf } from '../../attacks/corpus.js';
import { type Answer, ask, logIn, postJson } from '../../helpers/client.js';
import { steadyClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { attempt, entries, searchAt, service } from '../../helpers/directory.js';
import { serveLogin } from '../../helpers/login-app.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';
import { waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();
afterEach(() => {
  jest.restoreAllMocks();
});
const describeLdap = hasSlapd ? describe : describe.skip;
const people = `ou=people,${suffix}`;
const groupsBase = `ou=groups,${suffix}`;
const sre = `cn=sre,${groupsBase}`;

let slapd: Slapd;
beforeAll(async () => {
  slapd = await Slapd.start({ entries });
});
afterAll(() => slapd?.remove());

const signIn = (options: Partial<LdapOptions>, name: string, password = `${name}-secret`) =>
  ldap(searchAt(slapd.url, options)).authenticate_user(name, password, attempt());
const search = (filter: string, more: object = {}) => ({
  search: { base: people, filter, ...service, ...more },
});
const find = (options: Partial<LdapOptions>, name: string) =>
  ldap(searchAt(slapd.url, options)).find_user?.(name, attempt());
const replace = (dn: string, type: string, ...values: string[]) =>
  slapd.modify(
    dn,
    new Change({ operation: 'replace', modification: new Attribute({ type, values }) }),
  );
const direct = (): LdapOptions => ({ url: slapd.url, bindDN: `uid={username},${people}` });

/** Returns the groups that a function gets as the groups of a user. */
async function groupsOf(name: string, groups?: LdapOptions['groups'], more = {}) {
  let user: LdapUser | undefined;
  const roles = (found: LdapUser) => {
    user = found;
    return ['viewer'];
  };
  await signIn({ roles, groups, ...more }, name);
  return user?.groups.toSorted();
}

describeLdap('a password', () => {
  it.each(['search', 'bindDN'])('is checked by a bind with %s', async (how) => {
    const strategy = ldap(how === 'search' ? searchAt(slapd.url) : direct());
    const verdictOf = (name: string, password: string) =>
      strategy.authenticate_user(name, password, attempt());
    expect(await verdictOf('ann', 'ann-secret')).toEqual({ ok: true, username: 'ann', roles: [] });
    expect(await verdictOf('ann', 'bob-secret')).toBe(false);
    expect(await verdictOf('ghost', 'ann-secret')).toBe(false);
  });

  it.each(['search', 'bindDN'])(
    'is rejected before any bind if it is empty, with %s',
    async (how) => {
      const client = new Client({ url: slapd.url });
      await client.bind(`uid=ann,${people}`, '');
      await client.unbind();
      const strategy = ldap(how === 'search' ? searchAt(slapd.url) : direct());
      expect(await strategy.authenticate_user('ann', '', attempt())).toBe(false);
      expect(await strategy.authenticate_user('', 'ann-secret', attempt())).toBe(false);
    },
  );

  it.each([
    ...credentials.usernames.map(textOf),
    ...['$1', '$&', '\\', ',', '+', '"', '<', '>', ';', '=', '#', '\0', ' ann', 'ann,ou=x'],
    ...['a*', 'ann)(uid=*', 'ann+sn=ann', 'ann\\2c', `ann,${people}`, '{username}', '{dn}'],
  ])('is rejected for a name that only looks like that of a user: %j', async (name) => {
    for (const strategy of [ldap(searchAt(slapd.url)), ldap(direct())]) {
      const verdict = await strategy.authenticate_user(name, 'ann-secret', attempt());
      const isAnn = name.trim().toLowerCase() === 'ann';
      expect(verdict).toEqual(isAnn ? { ok: true, username: 'ann', roles: [] } : false);
    }
  });

  it.each([
    ...['$1', '$&', '\\', ',', '+', '"', '<', '>', ';', '=', '#', 'ann,ou=x', '*', '(a)'],
    ...['\u00e9\u00df\u043f', '\ud83d\ude00', '#1', 'a b', '\\2c', '{username}', '__proto__'],
  ])('is accepted for a user whose name has special characters: %s', async (name) => {
    const bytes = [...Buffer.from(name)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`);
    const dn = `uid=${bytes.join('')},${people}`;
    await slapd.asRoot((client) =>
      client.add(dn, { objectClass: 'inetOrgPerson', cn: 'x', sn: 'x', userPassword: 'secret' }),
    );
    const accepted = { ok: true, username: name, roles: [] };
    expect(await signIn({}, name, 'secret')).toEqual(accepted);
    expect(await ldap(direct()).authenticate_user(name, 'secret', attempt())).toEqual(accepted);
    await slapd.asRoot((client) => client.del(dn));
  });

  it('is rejected if several entries match', async () => {
    const rejected = { ok: false, reason: 'ambiguous' };
    const mail = search('(|(uid={username})(mail={username}))', { username: 'uid' });
    expect(await signIn(mail, 'shared@corp.example', 'bob-secret')).toEqual(rejected);
    const small = { bindDN: `cn=small,${suffix}`, password: 'small-secret' };
    const limited = search('(|(uid={username})(mail={username}))', { username: 'uid', ...small });
    expect(await signIn(limited, 'shared@corp.example', 'bob-secret')).toEqual(rejected);
    expect(await signIn(limited, 'bob')).toMatchObject({ ok: true });
    expect(await find(limited, 'shared@corp.example')).toBeUndefined();
  });

  it('cannot be checked if the server knows only references, which are not followed', async () => {
    const elsewhere = search('(uid={username})', { base: `ou=elsewhere,${suffix}` });
    await expect(signIn(elsewhere, 'ann')).rejects.toThrow('use port 3268 or a narrower base');
    expect(await find(elsewhere, 'ann')).toBeUndefined();
    const all = search('(uid={username})', { base: suffix });
    expect(await signIn(all, 'ann')).toMatchObject({ ok: true });
    const missing = search('(uid={username})', {
      base: `ou=below,ou=other,ou=elsewhere,${suffix}`,
    });
    await expect(signIn(missing, 'ann')).rejects.toThrow('use port 3268 or a narrower base');
  });

  it('cannot be checked if `search.base` does not exist', async () => {
    const missing = search('(uid={username})', { base: `ou=missing,${suffix}` });
    await expect(signIn(missing, 'ann')).rejects.toThrow(
      `search.base is "ou=missing,${suffix}", which does not exist or may not be read`,
    );
  });

  it('cannot be checked if the service account is refused', async () => {
    const wrong = searchAt(slapd.url, search('(uid={username})', { password: 'not-the-password' }));
    const strategy = ldap(wrong);
    const failed = strategy.authenticate_user('ann', 'ann-secret', attempt());
    await expect(failed).rejects.toThrow(
      `${slapd.url}: search.bindDN or search.password is wrong: InvalidCredentialsError`,
    );
    await expect(failed).rejects.not.toThrow('not-the-password');
    await expect(strategy.check?.(attempt().signal)).rejects.toThrow('search.password is wrong');
    await expect(strategy.find_user?.('ann', attempt())).rejects.toThrow('search.password');
  });
});

describeLdap('the name of the session', () => {
  it('is the one of the directory, however the user typed it', async () => {
    const mail = search('(|(uid={username})(mail={username}))', { username: 'UID' });
    for (const typed of ['ann', 'ANN', 'Ann@Corp.example'])
      expect(await signIn(mail, typed, 'ann-secret')).toMatchObject({ username: 'ann' });
    const account = search('(samaccountname={username})');
    expect(await signIn(account, 'ann')).toMatchObject({ username: 'Ann' });
    expect(await ldap(direct()).authenticate_user('ANN', 'ann-secret', attempt())).toMatchObject({
      username: 'ann',
    });
  });

  it('must be in the entry', async () => {
    const mail = search('(|(uid={username})(mail={username}))', { username: 'mail' });
    await expect(signIn(mail, 'teddy')).rejects.toThrow(
      'the entry of the user has no mail; set another search.username',
    );
  });

  it('cannot be taken by a user who writes it into another attribute', async () => {
    const mail = search('(|(uid={username})(mail={username}))', { username: 'uid' });
    const strategies = new StrategyRegistry().register('ldap', ldap(searchAt(slapd.url, mail)));
    const app = keep(await serveLogin({ strategies, throttle: { floor: 0 } }));
    const before = await find(mail, 'ann');
    await replace('uid=bob,ou=people', 'mail', 'ann');
    expect(await find(mail, 'ann')).toEqual(before);
    const session = await logIn(app.base, 'ann', 'ann-secret');
    expect((await ask(app.url, { headers: session })).json).toEqual({ name: 'ann' });
    expect(await signIn(mail, 'ann', 'bob-secret')).toBe(false);
    await replace('uid=bob,ou=people', 'mail', 'gone');
    expect(await find(mail, 'gone')).toBeUndefined();
    expect(await signIn(mail, 'gone', 'bob-secret')).toMatchObject({ username: 'bob' });
    await replace('uid=bob,ou=people', 'mail', 'shared@corp.example');
  });

  it('cannot be one of several values, which a user may have added', async () => {
    const mail = search('(mail={username})');
    const strategies = new StrategyRegistry().register('ldap', ldap(searchAt(slapd.url, mail)));
    const app = keep(await serveLogin({ strategies, throttle: { floor: 0 } }));
    const typed = ['zoe@corp.example', 'amy@corp.example'];
    const dn = `uid=zoe,${people}`;
    const entry = { objectClass: 'inetOrgPerson', cn: 'x', sn: 'x', userPassword: 'zoe-secret' };
    await slapd.asRoot((client) => client.add(dn, { ...entry, mail: typed[0] ?? '' }));
    const session = await logIn(app.base, 'zoe@corp.example', 'zoe-secret');
    await replace('uid=zoe,ou=people', 'mail', ...typed);
    for (const username of typed) {
      const { status } = await postJson(app.login, { username, password: 'zoe-secret' });
      expect(status).toBe(401);
      expect(await signIn(mail, username, 'wrong')).toBe(false);
      expect(await find(mail, username)).toBeUndefined();
    }
    const reasons = (await app.log.logged('authn_login_fail', 2)).map(({ reason }) => reason);
    expect(reasons).toEqual(['several_names', 'several_names']);
    steadyClock().pass(31);
    await waitFor(async () => {
      const { json } = await ask(app.url, { headers: session });
      return isDeepStrictEqual(json, { name: null });
    });
    await slapd.asRoot((client) => client.del(dn));
  });

  it('is found only as it is written, apart from case and width', async () => {
    expect(await find({}, 'ANN')).toMatchObject({ roles: [] });
    const dn = `uid=a b,${people}`;
    const entry = { objectClass: 'inetOrgPerson', cn: 'x', sn: 'x' };
    await slapd.asRoot((client) => client.add(dn, entry));
    expect(await find({}, 'a b')).toMatchObject({ roles: [] });
    // The directory ignores repeated spaces, but other parts of the app see two names.
    expect(await find({}, 'a  b')).toBeUndefined();
    await slapd.asRoot((client) => client.del(dn));
  });

  it('counts as one user for the limits and the log', async () => {
    const strategies = new StrategyRegistry().register('ldap', ldap(searchAt(slapd.url)));
    const app = keep(await serveLogin({ strategies }));
    const post = (username: string, password: string) =>
      postJson(app.login, { username, password, strategy: 'ldap' });
    const right = await post('ANN', 'ann-secret');
    expect([right.status, right.json]).toMatchObject([200, { username: 'ann' }]);
    for (const name of ['ann', 'Ann', 'aNN', 'anN']) await post(name, 'wrong');
    const failures = await app.log.logged('authn_login_fail', 4);
    expect(failures.map(({ attempt: number }) => number)).toEqual([1, 2, 3, 4]);
  });
});

describeLdap('the roles', () => {
  it('are none by default, and those of a list for each user', async () => {
    expect(await signIn({}, 'ann')).toMatchObject({ roles: [] });
    expect(await signIn({ roles: ['operator'] }, 'ann')).toMatchObject({ roles: ['operator'] });
  });

  it.each([
    sre,
    'CN=SRE, OU=Groups , DC=Example,dc=com',
    'cn=\\73re,ou=groups,dc=example,dc=com',
    'sre',
    'SRE',
  ])('are those of the row for a group, written as %s', async (row) => {
    const map = { [row]: 'operator', other: 'admin' };
    expect(await signIn({ roles: { map } }, 'ann')).toMatchObject({ roles: ['operator'] });
    const groups = { base: groupsBase };
    expect(await signIn({ groups, roles: { map } }, 'ann')).toMatchObject({ roles: ['operator'] });
    expect(await signIn({ roles: { map } }, 'bob')).toEqual({ ok: false, reason: 'no_role' });
    expect(await signIn({ roles: { map } }, 'ann', 'wrong')).toBe(false);
  });

  it('come from a function of the user', async () => {
    const users: LdapUser[] = [];
    const roles = (user: LdapUser) => users.push(user) > 1 && ['viewer'];
    expect(await signIn({ roles }, 'ann')).toEqual({ ok: false, reason: 'no_role' });
    expect(await signIn({ roles }, 'ann')).toMatchObject({ roles: ['viewer'] });
    expect(users[0]).toEqual({ username: 'ann', dn: `uid=ann,${people}`, groups: [sre] });
  });

  it('are read with the rights of the user if there is no service account', async () => {
    const strategy = ldap({ ...direct(), roles: { map: { sre: 'operator' } } });
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toMatchObject({
      roles: ['operator'],
    });
  });
});

describeLdap('the groups', () => {
  const [staff, loop] = ['staff', 'loop'].map((name) => `cn=${name},${groupsBase}`);

  it('include those of a user whose DN has a comma and parentheses', async () => {
    const byName = search('(uid={username})');
    expect(await groupsOf('teddy', undefined, byName)).toEqual([sre]);
    expect(await groupsOf('teddy', { base: groupsBase }, byName)).toEqual([sre]);
  });

  it('include those that contain a group, if nested, and end at a loop', async () => {
    expect(await groupsOf('ann', { base: groupsBase })).toEqual([sre]);
    expect(await groupsOf('ann', { base: groupsBase, nested: true })).toEqual([loop, sre, staff]);
  });

  it('are searched with the rights of the service account, if there is one', async () => {
    const groups = { base: `ou=hidden,${suffix}` };
    expect(await groupsOf('eve', groups)).toEqual([`cn=auditors,ou=hidden,${suffix}`]);
    const strategy = ldap({ ...direct(), groups, roles: { map: { auditors: 'viewer' } } });
    await expect(strategy.authenticate_user('eve', 'eve-secret', attempt())).rejects.toThrow(
      'which does not exist or may not be read',
    );
  });

  it('are followed to ten levels', async () => {
    const dn = (level: number): string => `cn=level${level},${groupsBase}`;
    const objectClass = 'groupOfNames';
    await slapd.asRoot(async (client) => {
      await client.add(dn(1), { objectClass, member: `uid=eve,${people}` });
      for (let level = 2; level <= 12; level += 1)
        await client.add(dn(level), { objectClass, member: dn(level - 1) });
    });
    const found = await groupsOf('eve', { base: groupsBase, nested: true });
    expect(found).toEqual(Array.from({ length: 10 }, (_, n) => dn(n + 1)).sort());
  });

  it('may be found by the name of the user', async () => {
    const filter =
      '(&(objectClass=groupOfNames)(member=uid={username},ou=people,dc=example,dc=com))';
    expect(await groupsOf('ann', { base: groupsBase, filter })).toEqual([sre]);
  });
});

describeLdap('an account', () => {
  it.each([
    ['userAccountControl', '514', 'disabled'],
    ['nsAccountLock', 'TRUE', 'disabled'],
    ['pwdAccountLockedTime', '000001010000Z', 'locked'],
    ['accountExpires', '132000000000000000', 'expired'],
    ['pwdEndTime', '20200101000000Z', 'expired'],
    ['pwdEndTime', '2020010100Z', 'expired'],
    ['pwdEndTime', '202001010000.5+0100', 'expired'],
    ['pwdAccountLockedTime', '0000010100Z', 'locked'],
  ])('with %s is rejected with a reason for the log alone', async (attribute, value, reason) => {
    const strategies = new StrategyRegistry().register('ldap', ldap(searchAt(slapd.url)));
    const app = keep(await serveLogin({ strategies }));
    const body = { username: 'bob', password: 'bob-secret' };
    const wrong = await postJson(app.login, { ...body, password: 'wrong' });
    await replace('uid=bob,ou=people', attribute, value);
    expect(await signIn({}, 'bob')).toEqual({ ok: false, reason });
    expect(await find({}, 'bob')).toBeUndefined();
    const rejected = await postJson(app.login, body);
    const shown = ({ json }: Answer) => ({ ...(json as object), requestId: '' });
    expect([rejected.status, shown(rejected)]).toEqual([wrong.status, shown(wrong)]);
    expect((await app.log.logged('authn_login_fail', 2)).at(-1)).toMatchObject({ reason });
    await replace('uid=bob,ou=people', attribute);
    expect(await signIn({}, 'bob')).toMatchObject({ ok: true });
    expect(await find({}, 'bob')).toMatchObject({ roles: [] });
  });

  it.each([
    ['accountExpires', '0'],
    ['accountExpires', '9223372036854775807'],
    ['pwdEndTime', '20990101000000Z'],
  ])('with %s %s is not expired', async (attribute, value) => {
    await replace('uid=bob,ou=people', attribute, value);
    expect(await signIn({}, 'bob')).toMatchObject({ ok: true });
    expect(await find({}, 'bob')).toMatchObject({ roles: [] });
    await replace('uid=bob,ou=people', attribute);
  });

  it.each([
    ['2099010100Z', undefined],
    ['2099010100+01', undefined],
    ['20990101000000,5Z', undefined],
    ['20990101003060.5Z', undefined],
    ['209901010000-0800', undefined],
    ['200001010000+05', 'expired'],
    ['20271330000000Z', 'expired'],
    ['someday', 'expired'],
  ])('with the end %s is closed: %s', (pwdEndTime, reason) => {
    expect(closedBy({ dn: 'uid=a', pwdEndTime })).toBe(reason);
  });

  it('with an end in another zone ends at that time', () => {
    const hour = 3_600_000;
    const text = (at: number) => new Date(at).toISOString().replace(/[-T]/g, '').slice(0, 10);
    const closed = (at: number, zone: string) =>
      closedBy({ dn: 'uid=a', pwdEndTime: `${text(at)}${zone}` });
    expect(closed(Date.now() + 3 * hour, '+0500')).toBe('expired');
    expect(closed(Date.now() - 3 * hour, '-0500')).toBeUndefined();
  });

  it('that wrong passwords have locked keeps its sessions and has no logins', async () => {
    await replace('cn=policy', 'pwdMaxFailure', '3');
    const strategies = new StrategyRegistry().register('ldap', ldap(searchAt(slapd.url)));
    const app = keep(await serveLogin({ strategies, throttle: false }));
    const session = await logIn(app.base, 'eve', 'eve-secret');
    const before = await find({}, 'eve');
    for (const _ of [1, 2, 3, 4]) expect(await signIn({}, 'eve', 'wrong')).not.toBe(true);
    expect(await signIn({}, 'eve')).toEqual({ ok: false, reason: 'locked' });
    expect(await find({}, 'eve')).toEqual(before);
    expect((await ask(app.url, { headers: session })).json).toEqual({ name: 'eve' });
    await replace('uid=eve,ou=people', 'pwdAccountLockedTime', '000001010000Z');
    expect(await find({}, 'eve')).toBeUndefined();
    await replace('uid=eve,ou=people', 'pwdAccountLockedTime');
    await replace('cn=policy', 'pwdMaxFailure');
  });

  it('is found without a password only by a service account', async () => {
    expect('find_user' in ldap(direct())).toBe(false);
    expect(await find({}, 'ann')).toMatchObject({ roles: [] });
    expect(await find({}, 'ghost')).toBeUndefined();
    expect(await find({}, '')).toBeUndefined();
    expect(await find({ roles: { map: { other: 'admin' } } }, 'ann')).toBeUndefined();
  });

  it('has another version after a change of the password alone', async () => {
    const options = { roles: () => ['viewer'] };
    const versionOf = async () => (await find(options, 'ann'))?.version;
    const first = await versionOf();
    expect(await signIn(options, 'ann')).toMatchObject({ ok: true });
    expect(await versionOf()).toBe(first);
    await replace('uid=ann,ou=people', 'description', 'changed');
    expect(await versionOf()).toBe(first);
    await replace('uid=ann,ou=people', 'pwdLastSet', '133000000000000000');
    const second = await versionOf();
    expect(second).not.toBe(first);
    await replace('uid=ann,ou=people', 'userPassword', 'ann-secret');
    expect(await versionOf()).not.toBe(second);
  });

  it('whose groups change has other roles, and loses its sessions', async () => {
    const roles = { map: { sre: 'operator', staff: 'viewer' } };
    const strategies = new StrategyRegistry().register(
      'ldap',
      ldap(searchAt(slapd.url, { roles })),
    );
    const app = keep(await serveLogin({ strategies, throttle: false }));
    const session = await logIn(app.base, 'ann', 'ann-secret');
    const nameOf = async () => (await ask(app.url, { headers: session })).json;
    expect(await nameOf()).toEqual({ name: 'ann' });
    const members = entries['cn=staff,ou=groups'].member;
    await replace('cn=staff,ou=groups', 'member', ...members, `uid=ann,${people}`);
    steadyClock().pass(31);
    await waitFor(async () => isDeepStrictEqual(await nameOf(), { name: null }));
    expect((await find({ roles }, 'ann'))?.roles).toEqual(['operator', 'viewer']);
    await replace('cn=staff,ou=groups', 'member', ...members);
  });

  it('is another one if a new entry gets the name', async () => {
    const entry = { objectClass: 'inetOrgPerson', cn: 'x', sn: 'x' };
    const again = (): Promise<void> =>
      slapd.asRoot((client) => client.add(`uid=kim,${people}`, entry));
    await again();
    const first = await find({}, 'kim');
    await slapd.asRoot((client) => client.del(`uid=kim,${people}`));
    expect(await find({}, 'kim')).toBeUndefined();
    await again();
    const second = await find({}, 'kim');
    expect(second?.version).not.toBe(first?.version);
    expect([first?.identity, second?.identity]).toEqual(Array(2).fill(expect.any(String)));
    expect(second?.identity).not.toBe(first?.identity);
  });
});
