/**
 * `koa-taskflow/strategies/ldap` signs in the users of an LDAP directory, such as OpenLDAP, 389
 * Directory Server or Active Directory.
 *
 * @packageDocumentation
 */
import { rolesRule } from '../roles.js';
import type { AuthStrategy, KnownUser, Verdict } from '../strategy.js';
import { identityOf, type LdapUser, type Refused, versionOf } from './account.js';
import { type Connection, codeOf } from './connection.js';
import { signInDirectly } from './direct-bind.js';
import { ldapFindings } from './doctor.js';
import { type Found, rootValues } from './entries.js';
import { explainUser } from './explain.js';
import { groupsOf, textsOfGroups } from './groups.js';
import { unusedRows } from './mapped-groups.js';
import { keyOfName } from './names.js';
import { type LdapOptions, type LdapSettings, readOptions } from './options.js';
import { askServers } from './servers.js';
import { bindService, findBySearch, signInBySearch } from './service-search.js';

export type { LdapUser } from './account.js';
export type { LdapGroupOptions, LdapOptions, LdapSearchOptions, Pem } from './options.js';

/** A user whose groups were read. */
interface Account extends LdapUser {
  version: string;
  identity: string | undefined;
}

/**
 * Makes a strategy for the users of an LDAP directory. Passwords are checked with a bind, over an
 * encrypted connection. With `search`, sessions end when an administrator deletes, disables or
 * locks the account, when it expires, and when its password or its groups change.
 *
 * @throws TypeError or RangeError if an option is wrong. Error if the package ldapts is missing.
 * @example
 * ```ts
 * const directory = ldap({
 *   url: 'ldaps://ldap.example.com',
 *   search: {
 *     base: 'ou=people,dc=example,dc=com',
 *     filter: '(uid={username})',
 *     bindDN: 'cn=tasks,ou=services,dc=example,dc=com',
 *     password: process.env.LDAP_PASSWORD,
 *   },
 *   roles: { map: { 'cn=sre,ou=groups,dc=example,dc=com': 'operator' } },
 * });
 * const strategies = new StrategyRegistry().register('ldap', directory);
 * ```
 */
export function ldap(options: LdapOptions): AuthStrategy {
  const settings = readOptions(options);
  const { search, unverified, roles: rule } = settings;
  const rolesOf = rolesRule('ldap: roles', rule, {
    ...{ from: 'groups', lists: ['groups'], normalize: keyOfName },
  });
  const ask = askServers(settings);
  let noteGroups = (_: readonly string[]): void => {};

  const rolesOfUser = ({ username, dn, groups }: LdapUser): ReturnType<typeof rolesOf> =>
    rolesOf({ user: { username, dn, groups }, listOf: () => textsOfGroups(groups) });

  return {
    staleFor: settings.staleFor,
    async authenticate_user(username, password, { signal }): Promise<Verdict> {
      // A bind with an empty password succeeds without checking anything (RFC 4513 section 5.1.2).
      if (username === '' || password === '') return false;
      const answer = await ask(signal, async (connection) => {
        const found = await signIn(connection, settings, { username, password });
        if ('reason' in found) return found;
        // The user may not be allowed to read groups.
        if (search && settings.usesGroups) await bindService(connection, search);
        return accountOf(connection, settings, found);
      });
      if ('reason' in answer)
        return answer.reason === undefined ? false : { ok: false, reason: answer.reason };
      noteGroups(textsOfGroups(answer.groups));
      const roles = await rolesOfUser(answer);
      if (roles === false) return { ok: false, reason: 'no_role' };
      return { ok: true, username: answer.username, roles };
    },
    doctor: (context) => ldapFindings(settings, context),
    explain: (user, { signal }) => explainUser({ settings, ask, rolesOf }, user, signal),
    check: (signal) => ask(signal, (connection) => checkServer(connection, settings)),
    attach(parts) {
      search?.password.logTo(parts.logger);
      if (unverified.length > 0)
        parts.logger.warn(
          { servers: unverified },
          'insecure is true: passwords are sent to LDAP servers that are not verified',
        );
      if (typeof rule === 'object' && 'map' in rule) noteGroups = unusedRows(rule.map, parts);
    },
    ...(search &&
      ({
        async find_user(username, { signal, only }): Promise<KnownUser | undefined> {
          if (username === '') return undefined;
          const wanted = only === 'version' ? { ...settings, usesGroups: false } : settings;
          const account = await ask(signal, async (connection) => {
            const found = await findBySearch(connection, { ...settings, search }, username);
            return found && accountOf(connection, wanted, found);
          });
          if (!account) return undefined;
          const { version, identity } = account;
          if (only === 'version') return { version, identity };
          const roles = await rolesOfUser(account);
          return roles ? { version, identity, roles } : undefined;
        },
      } satisfies Partial<AuthStrategy>)),
  };
}

function signIn(
  connection: Connection,
  { search, bindDN = '', attributes }: LdapSettings,
  credentials: { username: string; password: string },
): Promise<Found | Refused> {
  return search
    ? signInBySearch(connection, { search, attributes }, credentials)
    : signInDirectly(connection, { bindDN, attributes }, credentials);
}

async function accountOf(
  connection: Connection,
  settings: LdapSettings,
  found: Found,
): Promise<Account> {
  const groups = settings.usesGroups ? await groupsOf(connection, found, settings.groups) : [];
  const { entry, username } = found;
  return {
    ...{ username, dn: entry.dn, groups },
    ...{ version: versionOf(entry), identity: identityOf(entry) },
  };
}

/** Resolves if the server answers. Without a service account, any answer will do. */
async function checkServer(connection: Connection, { search }: LdapSettings): Promise<void> {
  if (search) return bindService(connection, search);
  try {
    await rootValues(connection, 'supportedLDAPVersion');
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
  }
}
