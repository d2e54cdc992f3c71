import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { cached } from '../../../src/auth/strategies/cached.js';
import { database } from '../../../src/auth/strategies/database.js';
import { htpasswdFile } from '../../../src/auth/strategies/htpasswd.js';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type { AuthStrategy } from '../../../src/auth/strategies/strategy.js';
import { describeStrategy } from '../../../src/testing/index.js';
import { entries, searchAt } from '../../helpers/directory.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { bcryptLine, hasHtpasswd } from '../../helpers/htpasswd.js';
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

describeStrategy(
  'database',
  () => {
    const users = new Map([[user.username, cheapHash(user.password)]]);
    let fails = false;
    return {
      strategy: database(async (name) => {
        if (fails) throw new Error('the database is down');
        return users.get(name);
      }),
      user: { ...user, roles: [] },
      removeUser: () => void users.delete(user.username),
      fail() {
        fails = true;
      },
    };
  },
  runner,
);

describeStrategy(
  'cached',
  () => {
    let exists = true;
    const source = staticUser(user.username, cheapHash(user.password), { roles: ['viewer'] });
    const inner: AuthStrategy = {
      authenticate_user: (...args) => exists && source.authenticate_user(...args),
      find_user: (...args) => (exists ? source.find_user?.(...args) : undefined),
    };
    return {
      strategy: cached(inner, { seconds: 600 }),
      user: { ...user, roles: ['viewer'] },
      removeUser() {
        exists = false;
      },
    };
  },
  runner,
);

(hasHtpasswd ? describe : describe.skip)('with a file', () => {
  describeStrategy(
    'htpasswdFile',
    () => {
      const folder = temporaryFolder();
      const file = folder.file('users');
      const alice = bcryptLine('alice', 'alice-secret');
      writeFileSync(file, `${alice}\n${bcryptLine(user.username, user.password)}\n`);
      return {
        strategy: htpasswdFile(file),
        user: { ...user, roles: [] },
        removeUser: () => writeFileSync(file, `${alice}\n`),
        cleanUp: () => folder.remove(),
      };
    },
    runner,
  );
});

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
