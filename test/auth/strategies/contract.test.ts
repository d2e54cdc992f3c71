import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import { describeStrategy } from '../../../src/testing/index.js';
import { entries, searchAt } from '../../helpers/directory.js';
import { cheapHash } from '../../helpers/passwords.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';

const runner = { describe, it };
const user = { username: 'zo\u00eb', password: 'p\u00e4ssw\u00f6rd-of-Zo\u00eb' };

describeStrategy(
  'staticUser',
  () => ({
    strategy: staticUser(user.username, cheapHash(user.password)),
    user: { ...user, roles: ['admin'] },
  }),
  runner,
);

describeStrategy(
  'multiUser',
  () => ({
    strategy: multiUser([
      ['alice', cheapHash('alice-secret')],
      [user.username, cheapHash(user.password), { roles: ['viewer', 'operator'] }],
    ]),
    user: { ...user, roles: ['operator', 'viewer'] },
  }),
  runner,
);

const describeLdap = hasSlapd ? describe : describe.skip;
describeLdap('with a directory', () => {
  let slapd: Slapd;
  beforeAll(async () => {
    slapd = await Slapd.start({ entries });
  });
  afterAll(() => slapd?.remove());

  const dn = `uid=${user.username},ou=people,${suffix}`;
  const methods: Record<string, () => LdapOptions> = {
    search: () => searchAt(slapd.url),
    bindDN: () => ({ url: slapd.url, bindDN: `uid={username},ou=people,${suffix}` }),
  };
  for (const [method, options] of Object.entries(methods))
    describeStrategy(
      `ldap (${method})`,
      async () => {
        let stopped = false;
        await slapd.asRoot((client) =>
          client.add(dn, {
            objectClass: 'inetOrgPerson',
            ...{ uid: user.username, cn: 'Zoe', sn: 'Zoe', userPassword: user.password },
          }),
        );
        return {
          strategy: ldap(options()),
          user: { ...user, roles: [] },
          removeUser: () => slapd.asRoot((client) => client.del(dn)),
          fail: async () => {
            await slapd.stop();
            stopped = true;
          },
          cleanUp: async () => {
            if (stopped) await slapd.start();
            await slapd.asRoot((client) => client.del(dn).catch(() => {}));
          },
        };
      },
      runner,
    );
});
