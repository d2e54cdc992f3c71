import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import { startProcess } from '../../helpers/process.js';

const bindDN = 'uid={username},ou=people,dc=x';
const service = { bindDN: 'cn=tasks,dc=x', password: 'service-secret' };
const search = { base: 'ou=people,dc=x', filter: '(uid={username})', ...service };
const url = 'ldaps://ldap.example.com';
const map = { sre: 'operator' };

describe('the options of ldap', () => {
  it.each<[string, object]>([
    ['url', { bindDN }],
    ['url', { url: [], bindDN }],
    ['url', { url: 5, bindDN }],
    ['url', { url: 'ldap.example.com', bindDN }],
    ['url', { url: 'https://ldap.example.com', bindDN }],
    ['url', { url: 'ldaps://', bindDN }],
    ['must end after the host and the port', { url: `${url}/dc=x`, bindDN }],
    ['must end after the host and the port', { url: `${url}?x`, bindDN }],
    ['url has a user or a password', { url: 'ldaps://a:url-secret@x.example', bindDN }],
    ['which would send passwords unencrypted', { url: 'ldap://ldap.example.com', bindDN }],
    ['which would send passwords unencrypted', { url: [url, 'ldap://10.0.0.1:389'], bindDN }],
    ['which would send passwords unencrypted', { url: 'ldap://127.evil.example', bindDN }],
    ['startTLS has no effect', { url, bindDN, startTLS: true }],
    ['startTLS', { url, bindDN, startTLS: 'yes' }],
    ['insecure', { url, bindDN, insecure: 1 }],
    ['ca', { url, bindDN, ca: '/etc/ca.pem' }],
    ['ca', { url, bindDN, ca: [] }],
    ['ca', { url, bindDN, ca: 5 }],
    ['timeout', { url, bindDN, timeout: 0 }],
    ['either bindDN', { url }],
    ['either bindDN', { url, bindDN, search }],
    ['bindDN', { url, bindDN: '' }],
    ['bindDN', { url, bindDN: '{username}' }],
    ['bindDN', { url, bindDN: 'uid=ann,dc=x' }],
    ['bindDN', { url, bindDN: 'ou=x,uid={username}' }],
    ['bindDN', { url, bindDN: 'uid={username},' }],
    ['bindDN', { url, bindDN: 'uid={user},dc=x' }],
    ['search.base', { url, search: { ...search, base: '' } }],
    ['search.base', { url, search: { ...search, base: 'people' } }],
    ['search.filter', { url, search: { ...search, filter: '(uid=ann)' } }],
    ['search.filter', { url, search: { ...search, filter: 'uid={username}' } }],
    ['search.filter', { url, search: { ...search, filter: '(uid={username}' } }],
    ['search.filter', { url, search: { ...search, filter: '(uid={name})' } }],
    ['search.filter', { url, search: { ...search, filter: '(&(uid={username})(cn={dn}))' } }],
    ['search.filter', { url, search: { ...search, filter: '(&(uid={username})(o=\\c3\\a9))' } }],
    ['search.bindDN', { url, search: { ...search, bindDN: '' } }],
    ['search.bindDN', { url, search: { ...search, bindDN: 'EXTERNAL' } }],
    ['search.password is an empty string', { url, search: { ...search, password: '' } }],
    ['search.password', { url, search: { ...search, password: undefined } }],
    ['search.username', { url, search: { ...search, username: 'mail' } }],
    ['search.username is missing', { url, search: { ...search, filter: '(cn=*{username}*)' } }],
    [
      'search.username is missing',
      { url, search: { ...search, filter: '(|(a={username})(b={username}))' } },
    ],
    ['search has no option "filters"', { url, search: { ...search, filters: '' } }],
    ['groups has no effect', { url, search, groups: { base: 'dc=x' } }],
    ['groups.base', { url, search, roles: { map }, groups: {} }],
    ['groups.filter', { url, search, roles: { map }, groups: { base: 'dc=x', filter: '(a=b)' } }],
    [
      'groups.nested needs {dn}',
      {
        url,
        search,
        roles: { map },
        groups: { base: 'dc=x', filter: '(a={username})', nested: true },
      },
    ],
    ['roles', { url, search, roles: 'admin' }],
    ['roles.from', { url, search, roles: { from: 'title', map } }],
    ['roles.map', { url, search, roles: { map: { 'cn=a,': 'admin' } } }],
    ['two rows', { url, search, roles: { map: { 'cn=a,dc=x': 'admin', 'CN=A, dc=x': 'viewer' } } }],
    ['no option "filter"', { url, bindDN, filter: 'x' }],
  ])('are refused with a message about %s: %j', (said, options) => {
    const make = () => ldap(options as LdapOptions);
    expect(make).toThrow(said);
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
    expect(make).not.toThrow(/-secret/);
  });

  it.each<[string, LdapOptions]>([
    ['ldaps', { url, bindDN }],
    ['several servers and StartTLS', { url: [url, 'ldap://10.0.0.1'], bindDN, startTLS: true }],
    ['loopback', { url: ['ldap://127.0.0.1', 'ldap://[::1]:389', 'ldap://localhost/'], bindDN }],
    ['an unverified server', { url: 'ldap://10.0.0.1', bindDN, insecure: true }],
    ['names of Active Directory', { url, bindDN: '{username}@corp.example' }],
    ['names of a domain', { url, bindDN: 'CORP\\{username}' }],
    [
      'a filter over several attributes',
      {
        url,
        search: {
          ...search,
          filter: '(&(a=b)(|(uid={username})(mail={username})))',
          username: 'UID',
        },
      },
    ],
  ])('accept %s', (_, options) => {
    expect('authenticate_user' in ldap(options)).toBe(true);
  });

  it('never show the password of the service account', () => {
    const strategy = ldap({ url, search });
    expect(inspect(strategy, { depth: 9, showHidden: true })).not.toContain('service-secret');
    expect(JSON.stringify(strategy)).not.toContain('service-secret');
  });
});

/** Attaches a strategy to a login whose time the test sets. Returns the log. */
function attach(options: LdapOptions) {
  const lines: object[] = [];
  const log = (fields: object, text: string) => lines.push({ ...fields, text });
  const parts = {
    ...{ name: 'ldap', path: '/tasks', store: memoryStore(), now: () => 0 },
    ...{ storeLasts: false, tokenExpiry: 60 },
    ...{ encrypt: String, decrypt: String, endSessions: () => Promise.resolve() },
    hasEnded: () => Promise.resolve(false),
    usersChanged: () => {},
    ownerOf: () => undefined,
    hasStrategy: () => false,
    countWrongToken: async () => {},
    record: async () => {},
    logger: { debug: log, info: log, warn: log, error: log } as never,
  };
  ldap(options).attach?.(parts);
  return lines;
}

describe('the log of ldap', () => {
  it('warns of servers that are not verified, except those of this host', () => {
    const urls = ['ldap://10.0.0.1:389', 'ldap://127.0.0.1'];
    expect(attach({ url: urls, bindDN, insecure: true })).toEqual([
      {
        servers: ['ldap://10.0.0.1:389'],
        text: 'insecure is true: passwords are sent to LDAP servers that are not verified',
      },
    ]);
    expect(attach({ url: 'ldap://127.0.0.1', bindDN, insecure: true })).toEqual([]);
    expect(attach({ url, bindDN })).toEqual([]);
  });
});

describe('ldap without the package ldapts', () => {
  it('says what to install when it is called, and can be imported', async () => {
    const program = `
      import Module from 'node:module';
      const load = Module._load;
      Module._load = (name, ...more) => {
        if (name === 'ldapts') throw new Error('not installed');
        return load(name, ...more);
      };
      const { ldap } = await import('koa-taskflow/strategies/ldap');
      try {
        ldap({ url: ${JSON.stringify(url)}, bindDN: ${JSON.stringify(bindDN)} });
      } catch ({ message }) {
        console.log(message);
      }
    `;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect([await child.ended, child.lines]).toEqual([
      0,
      [
        'ldap needs the package ldapts@^8.2.0 || ^9.0.0, which cannot be loaded: ' +
          'npm install "ldapts@^8.2.0 || ^9.0.0"',
      ],
    ]);
  });
});
