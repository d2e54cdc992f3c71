import type { LdapOptions } from '../../src/auth/strategies/ldap/ldap.js';
import type { AuthContext } from '../../src/auth/strategies/strategy.js';
import { suffix } from './slapd.js';

/** The service account of the directory below. */
export const service = { bindDN: `cn=tasks,${suffix}`, password: 'service-secret' };

const account = (name: string, password: string, more: object = {}) => ({
  objectClass: ['inetOrgPerson', 'foreignAccount'],
  ...{ uid: name, cn: name, sn: name, userPassword: password },
  ...more,
});
const group = (...members: string[]) => ({
  objectClass: 'groupOfNames',
  member: members.map((member) => `${member},${suffix}`),
});

/** A small directory. The password of each user is the name with `-secret`. */
export const entries = {
  'cn=tasks': {
    objectClass: ['organizationalRole', 'simpleSecurityObject'],
    userPassword: 'service-secret',
  },
  'cn=small': {
    objectClass: ['organizationalRole', 'simpleSecurityObject'],
    userPassword: 'small-secret',
  },
  'ou=people': { objectClass: 'organizationalUnit' },
  'ou=groups': { objectClass: 'organizationalUnit' },
  'ou=elsewhere': { objectClass: 'organizationalUnit' },
  'ou=other,ou=elsewhere': {
    objectClass: ['referral', 'extensibleObject'],
    ref: 'ldap://192.0.2.1/dc=other',
  },
  'uid=ann,ou=people': account('ann', 'ann-secret', {
    mail: 'ann@corp.example',
    sAMAccountName: 'Ann',
  }),
  'uid=bob,ou=people': account('bob', 'bob-secret', { mail: 'shared@corp.example' }),
  'uid=eve,ou=people': account('eve', 'eve-secret', { mail: 'shared@corp.example' }),
  'cn=Roosevelt\\, Teddy (TR),ou=people': account('teddy', 'teddy-secret', {
    cn: 'Roosevelt, Teddy (TR)',
  }),
  'cn=sre,ou=groups': group('uid=ann,ou=people', 'cn=Roosevelt\\, Teddy (TR),ou=people'),
  'cn=staff,ou=groups': group('cn=sre,ou=groups', 'cn=loop,ou=groups'),
  'ou=hidden': { objectClass: 'organizationalUnit' },
  'cn=auditors,ou=hidden': group('uid=eve,ou=people'),
  'cn=loop,ou=groups': group('cn=staff,ou=groups'),
};

/** Options of a strategy for the directory. */
export function searchAt(url: string, more: Partial<LdapOptions> = {}): LdapOptions {
  const search = { base: `ou=people,${suffix}`, filter: '(uid={username})', ...service };
  return { url, search, ...more };
}

/** What a strategy gets with an attempt. */
export function attempt(signal: AbortSignal = new AbortController().signal): AuthContext {
  return { signal, ip: '127.0.0.1', requestId: 'test' };
}
