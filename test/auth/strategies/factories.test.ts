import { describe, expect, it } from '@jest/globals';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { secretFile } from '../../../src/auth/secrets/secret.js';
import { apiTokens } from '../../../src/auth/strategies/api-tokens/api-tokens.js';
import { cached } from '../../../src/auth/strategies/cached.js';
import { database } from '../../../src/auth/strategies/database.js';
import { htpasswdFile } from '../../../src/auth/strategies/htpasswd.js';
import { ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { oidc } from '../../../src/auth/strategies/oidc/oidc.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import { trustedHeader } from '../../../src/auth/strategies/trusted-header/trusted-header.js';
import { cheapHash } from '../../helpers/passwords.js';

/** A factory with right arguments. `change` replaces options of its last argument. */
type Make = (change: Record<string, unknown>) => unknown;

const secret = 'Canary-secret-of-a-factory';
const find = (): undefined => undefined;
const search = {
  base: 'dc=example,dc=com',
  filter: '(uid={username})',
  bindDN: 'cn=tasks,dc=example,dc=com',
  password: secret,
};

const factories: Record<string, Make> = {
  oidc: (change) =>
    oidc({
      ...{ issuer: 'https://id.example', clientId: 'tasks', clientSecret: secret, roles: [] },
      ...change,
    }),
  ldap: (change) => ldap({ url: 'ldaps://ldap.example', search, ...change }),
  database: (change) => database(find, change),
  htpasswdFile: (change) => htpasswdFile('/nonexistent/users', change),
  trustedHeader: (change) => trustedHeader({ proxies: ['127.0.0.1'], ...change }),
  apiTokens: (change) => apiTokens(change),
  cached: (change) => cached(database(find), { seconds: 60, ...change }),
  staticUser: (change) => staticUser('ann', secret, change),
  multiUser: (change) => multiUser([['ann', secret, change]]),
};

/** Factories whose option `roles` may be a table. */
const withRoles = ['oidc', 'ldap', 'database', 'htpasswdFile', 'trustedHeader'];

/** The factory, the wrong options, the option in the error, and what the error says about it. */
const slips: [factory: string, change: Record<string, unknown>, option: string, text: string][] = [
  ...Object.keys(factories).map((factory): (typeof slips)[number] => [
    factory,
    { issuerr: 1 },
    '',
    'has no option "issuerr"',
  ]),
  ...withRoles.flatMap((factory): typeof slips => [
    [factory, { roles: { sre: 'operator' } }, 'roles', 'without map; it must be a list of roles'],
    [factory, { roles: 'operator' }, 'roles', 'is "operator"; it must be a list of roles, a table'],
    [factory, { roles: [7] }, 'roles', 'it must be a list of at most 32 role names'],
    [factory, { roles: { map: [] } }, 'roles.map', 'it must be a table such as'],
    [factory, { roles: { map: { a: 7 } } }, "roles.map['a']", 'it must be a list of at most 32'],
    [factory, { roles: { map: {}, otherwise: 'viewer' } }, 'roles.otherwise', 'it must be a list'],
  ]),
  ['oidc', { issuer: undefined }, 'issuer', 'is undefined; it must be the https: URL'],
  ['oidc', { issuer: 'id.example' }, 'issuer', 'is "id.example"; it must be the https: URL'],
  ['oidc', { clientId: undefined }, 'clientId', 'is undefined; it must be the id of the app'],
  ['oidc', { clientSecret: undefined }, 'clientSecret', 'is not set; if it comes from the env'],
  ['oidc', { clientSecret: 7 }, 'clientSecret', 'is a number; it must be the secret of the app'],
  ['oidc', { roles: undefined }, 'roles', 'is undefined; it must be a list of roles, a table'],
  ['oidc', { refresh: 1 }, 'refresh', 'is 1; it must be a number of seconds from 10'],
  ['oidc', { staleFor: -1 }, 'staleFor', 'is -1; it must be a number of seconds from 0'],
  ['oidc', { scopes: ['a b'] }, 'scopes[0]', 'is "a b"; the option must be a list of scopes'],
  ['ldap', { url: 'http://ldap.example' }, 'url', 'must begin with ldaps:// or ldap://'],
  ['ldap', { search: undefined }, '', 'set either bindDN'],
  ['ldap', { search: { ...search, password: undefined } }, 'search.password', 'is undefined; it'],
  ['ldap', { search: { ...search, filter: '(uid=x)' } }, 'search.filter', 'it must be a filter'],
  ['ldap', { search: { ...search, bas: 'x' } }, 'search', 'has no option "bas"'],
  ['ldap', { staleFor: 'long' }, 'staleFor', 'is "long"; it must be a number of seconds'],
  ['database', { staleFor: -1 }, 'staleFor', 'is -1; it must be a number of seconds from 0'],
  ['htpasswdFile', {}, '', 'the file "/nonexistent/users" does not exist'],
  ['trustedHeader', { proxies: [] }, 'proxies', 'it must be a list of the addresses'],
  ['trustedHeader', { proxies: ['x'] }, 'proxies[0]', 'is "x"; the option must be a list of'],
  ['trustedHeader', { roles: { map: { a: 'b' } } }, 'roles.map', 'needs groups.header'],
  [
    'trustedHeader',
    { secret: { header: 'X-Secret', value: 'Canary' } },
    'secret.value',
    'must be at least 16 printable',
  ],
  ['apiTokens', { maxAge: 1 }, 'maxAge', 'is 1; it must be a number of seconds from 60'],
  ['cached', { seconds: undefined }, 'seconds', 'is not set'],
  ['cached', { seconds: 0 }, 'seconds', 'is 0; it must be a number of seconds above 0'],
  ['staticUser', { roles: 'x' }, "roles of 'ann'", 'is "x"; it must be a list of at most 32'],
  ['multiUser', { roles: 'x' }, "roles of 'ann'", 'is "x"; it must be a list of at most 32'],
];

const user = ['ann', cheapHash(secret)] as const;
const login = (strategies: AuthOptions['strategies']) => createAuth({ strategies, logger: false });

function errorOf(make: () => unknown): unknown {
  try {
    return make();
  } catch (error) {
    return error;
  }
}

describe('the error of a factory', () => {
  it.each(slips)('names the factory, the option and what is accepted: %s(%j)', (...slip) => {
    const [factory, change, option, text] = slip;
    const error = errorOf(() => factories[factory]?.(change)) as Error;
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    const { message } = error;
    expect(message).toMatch(new RegExp(`^${factory}(:| has)`));
    expect(message).toContain(option === '' ? text : `${factory}: ${option} `);
    expect(message).toContain(text);
    expect(message).not.toContain('Canary');
  });

  it.each<[string, () => unknown, string]>([
    ['cached', () => cached(undefined as never, { seconds: 1 }), 'cached: strategy is undefined'],
    ['database', () => database(undefined as never), 'database: find is undefined; it must be'],
    ['htpasswdFile', () => htpasswdFile(7 as never), 'htpasswdFile: path is 7; it must be'],
    ['secretFile', () => secretFile(undefined), 'path of secretFile is not set'],
    ['staticUser', () => staticUser(7 as never, secret), 'staticUser: username is 7; it must be'],
    ['staticUser', () => staticUser('ann', undefined), "staticUser: password of 'ann' is not set"],
    ['multiUser', () => multiUser([]), 'multiUser: users is an empty array; it must be a list'],
    ['multiUser', () => multiUser(['ann'] as never), 'multiUser: users[0] is a string; it must'],
    ['multiUser', () => multiUser([[7, secret]] as never), 'multiUser: users[0][0] is 7; it must'],
    ['multiUser', () => multiUser([['ann', undefined]]), "multiUser: password of 'ann' is not set"],
    ['multiUser', () => multiUser([user, user]), "multiUser: user 'ann' is given twice"],
    ['createAuth', () => login(['ann', undefined]), "strategies: password of 'ann' is not set"],
    ['createAuth', () => login(['', secret]), 'strategies[0] is ""; it must be a string of 1'],
    ['createAuth', () => login([['ann', undefined]]), "strategies: password of 'ann' is not set"],
    ['createAuth', () => login([user, user]), "strategies: user 'ann' is given twice"],
    ['createAuth', () => login([user, ['', secret]]), 'strategies[1][0] is ""; it must be'],
  ])('names a wrong argument of %s', (_name, make, message) => {
    const error = errorOf(make) as Error;
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
    expect(error.message.slice(0, message.length)).toBe(message);
    expect(error.message).not.toContain('Canary');
  });
});
