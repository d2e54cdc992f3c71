import { X509Certificate } from 'node:crypto';
import { createSecureContext, rootCertificates } from 'node:tls';
import {
  flag,
  type Named,
  type Option,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  seconds,
  text,
} from '../../../option-set.js';
import { outOfRange, typeError, wrongKind, wrongType } from '../../../options.js';
import { wrongSecretType } from '../../../secret-options.js';
import { type FollowedSecret, followSecret } from '../../secrets/followed-secret.js';
import type { Secret } from '../../secrets/secret.js';
import type { RolesRule } from '../roles.js';
import { accountAttributes, type LdapUser } from './account.js';
import type { Server } from './connection.js';
import { ldapts } from './ldapts.js';
import { attributesOfName, escapeForDn, fillFilter, isDn, keyOfName } from './names.js';
import { hostOf, isLoopback, readUrl } from './urls.js';

/** A certificate in PEM form. */
export type Pem = string | Buffer;

/** Makes a row of filters. Those that have a default may leave the name out. */
function filter<D extends string | undefined>(
  accepted: string,
  { placeholders, fallback }: { placeholders: readonly string[]; fallback: D },
): Option<string, string> {
  return (name, value = fallback) => {
    if (typeof value !== 'string') throw wrongType(name, value, accepted);
    const used = [...value.matchAll(/\{(.*?)\}/g)].map(([, placeholder = '']) => placeholder);
    const unknown = used.find((each) => !placeholders.includes(each));
    if (unknown !== undefined || used.length === 0) throw outOfRange(name, value, accepted);
    // ldapts takes each byte for a character.
    if (/\\[89a-f][\da-f]/i.test(value))
      throw outOfRange(name, value, 'written with letters instead of the bytes of UTF-8');
    try {
      if (!value.startsWith('(')) throw new Error('it must begin with a parenthesis');
      ldapts().FilterParser.parseString(fillFilter(value, { username: 'x', dn: 'cn=x' }));
    } catch (cause) {
      throw Object.assign(wrongType(name, value, `${accepted}, in the syntax of RFC 4515`), {
        cause,
      });
    }
    return value;
  };
}

/** Makes a row of DNs. */
function dn(example: string): Option<string, string> {
  return (name, value) => {
    if (typeof value !== 'string' || !isDn(value))
      throw wrongType(name, value, `a DN, such as '${example}'`);
    return value;
  };
}

const searchOptions = optionSet({
  /** The DN below which the users are. */
  base: dn('ou=people,dc=example,dc=com'),
  /**
   * The filter that finds a user, such as `(uid={username})`. Exactly one entry must match, or only
   * one of the entries must have the typed name in the attribute `username`. It must
   * compare `{username}` with the attribute `username`, because sessions are checked by that name.
   */
  filter: filter("a filter with {username}, such as '(uid={username})'", {
    placeholders: ['username'],
    fallback: undefined,
  }),
  /** The DN of the service account, or its name in Active Directory, such as `svc@corp.example`. */
  bindDN: (name: string, value: string | undefined): string => {
    const accepted = "the DN of a service account, such as 'cn=tasks,dc=example,dc=com'";
    const read = text({ accepted, maxLength: 1024 })(name, value, () => {});
    if (read === undefined || !/[=@\\]/.test(read)) throw wrongType(name, value, accepted);
    return read;
  },
  /**
   * The password of the service account: text, a {@link secretFile}, or a function that returns it,
   * whose changes are followed.
   */
  password: (name: string, value: Secret | undefined): FollowedSecret<string> =>
    followSecret(value, {
      option: name,
      read(text: unknown) {
        if (typeof text !== 'string' || text === '')
          throw wrongSecretType(
            name,
            text,
            'the password of search.bindDN: text that is not empty, a secretFile, or a function',
          );
        return text;
      },
    }),
  /**
   * The attribute with the name of the session. A user with several values of it cannot sign in,
   * and users must not be allowed to change it. Default: the attribute that `filter` compares with
   * `{username}`, if it is only one.
   */
  username: text({ pattern: /^[\w.-]+$/, accepted: "an attribute, such as 'uid'" }),
});

const groupOptions = optionSet({
  /** The DN below which the groups are. */
  base: dn('ou=groups,dc=example,dc=com'),
  /**
   * The filter that finds the groups of a user. `{dn}` is the DN of the user's entry, and
   * `{username}` the name of the session. Default
   * `(|(member={dn})(uniqueMember={dn})(memberUid={username}))`.
   */
  filter: filter("a filter with {dn} or {username}, such as '(member={dn})'", {
    placeholders: ['dn', 'username'],
    fallback: '(|(member={dn})(uniqueMember={dn})(memberUid={username}))',
  }),
  /**
   * Whether a member of a group is also a member of the groups that contain this group, up to ten
   * levels. Default `false`.
   */
  nested: flag(false),
});

const rows = optionSet({
  /**
   * The URL of the directory, such as `ldaps://ldap.example.com`, or a list of URLs, which are
   * tried in this order.
   */
  url(name: string, value: string | readonly string[] | undefined): readonly URL[] {
    const urls = typeof value === 'string' ? [value] : value;
    if (!Array.isArray(urls) || urls.length === 0)
      throw wrongKind(
        name,
        value,
        "an ldaps:// or ldap:// URL, such as 'ldaps://ldap.example.com'",
      );
    return urls.map((url: unknown) => readUrl(name, url));
  },
  /** Whether a connection to an `ldap://` URL is encrypted with StartTLS. Default `false`. */
  startTLS: flag(false),
  /** Certificates in PEM form of CAs that are trusted in addition to those of Node. */
  ca(name: string, value: Pem | readonly Pem[] | undefined): readonly Pem[] | undefined {
    if (value === undefined) return undefined;
    const certificates = [value].flat() as readonly Pem[];
    const accepted = 'the content of a certificate file in PEM form (not its path), or a list';
    try {
      for (const certificate of certificates) new X509Certificate(certificate);
    } catch (cause) {
      throw typeError(`${name} cannot be read as a certificate; it must be ${accepted}`, { cause });
    }
    if (certificates.length === 0) throw wrongKind(name, value, accepted);
    return certificates;
  },
  /**
   * Whether passwords may be sent to a server that is not verified: the certificate is not checked,
   * and `ldap://` is accepted without StartTLS. Default `false`. Anyone on the network can then
   * read the passwords.
   */
  insecure: flag(false),
  /** Seconds that all servers together may take to answer. Default 5. */
  timeout: seconds({ default: 5 }),
  /**
   * Seconds for which the last answer about a signed-in user holds while no server can answer, at
   * most `tokenExpiry`. Then requests of the user get 503. Default 900.
   */
  staleFor: seconds({ default: 900, zero: true }),
  /**
   * The roles of a user: a list, a table by groups, or a function of {@link LdapUser}. A row of the
   * table is the DN of a group, or the name of a group, which is the value of its first RDN.
   * Default `[]`, with which users may only read.
   */
  roles: (_: string, value: RolesRule<LdapUser> | undefined) => value,
  /**
   * Where the groups of a user are searched. Default: they are the values of `memberOf` in the
   * user's entry.
   */
  groups: (name: string, value: OptionsOf<typeof groupOptions> | undefined, warn) =>
    value === undefined ? undefined : groupOptions.nested(name, value, warn),
  /**
   * The DN or the name with which users bind, such as `uid={username},ou=people,dc=example,dc=com`
   * or `{username}@corp.example`. No service account is needed, but sessions do not notice changes
   * in the directory. Either `bindDN` or `search` is required.
   */
  bindDN(name: string, value: string | undefined): string | undefined {
    const accepted =
      "a DN such as 'uid={username},ou=people,dc=example,dc=com', or '{username}@corp.example'";
    const template = text({ accepted, maxLength: 1024 })(name, value, () => {});
    if (template === undefined) return undefined;
    const isRight = template.includes('=')
      ? /^[\w.-]+=\{username\}(,[^{}]*)?$/.test(template) && isDn(bindName(template, 'x'))
      : /^(\{username\}@[^{}]+|[^{}\\]+\\\{username\})$/.test(template);
    if (!isRight) throw outOfRange(name, value, accepted);
    return template;
  },
  /** How a service account finds the entry of a user. Either `bindDN` or `search` is required. */
  search: (name: string, value: OptionsOf<typeof searchOptions> | undefined, warn) =>
    value === undefined ? undefined : searchOptions.nested(name, value, warn),
});

/** Returns the name with which a user binds. A DN is recognized by its `=`. */
export function bindName(template: string, username: string): string {
  const value = template.includes('=') ? escapeForDn(username) : username;
  return template.replace('{username}', () => value);
}

/** Options of {@link LdapOptions.search}. */
export interface LdapSearchOptions extends OptionsOf<typeof searchOptions>, Named {
  base: string;
  filter: string;
  bindDN: string;
  password: Secret;
}

/** Options of {@link LdapOptions.groups}. */
export interface LdapGroupOptions extends OptionsOf<typeof groupOptions>, Named {
  base: string;
}

/** Options of `ldap`. */
export interface LdapOptions extends OptionsOf<typeof rows>, Named {
  url: string | readonly string[];
  groups?: LdapGroupOptions | undefined;
  search?: LdapSearchOptions | undefined;
}

/** The checked options of the service account. */
export interface SearchSettings extends SettingsOf<typeof searchOptions> {
  username: string;
}

/** The checked options of `ldap`. Exactly one of `bindDN` and `search` is set. */
export interface LdapSettings
  extends Pick<SettingsOf<typeof rows>, 'timeout' | 'staleFor' | 'groups' | 'bindDN' | 'roles'> {
  servers: readonly Server[];
  /** The URLs of the servers to which passwords are sent although they are not verified. */
  unverified: readonly string[];
  search: SearchSettings | undefined;
  /** Whether the roles depend on the groups. */
  usesGroups: boolean;
  /** The attributes of a user's entry that are read. */
  attributes: string[];
}

/**
 * Checks the options of `ldap`.
 *
 * @throws TypeError or RangeError if an option is wrong. Error if ldapts is missing.
 */
export function readOptions(options: LdapOptions): LdapSettings {
  ldapts();
  const {
    url: urls,
    startTLS,
    ca,
    insecure,
    search: account,
    ...rest
  } = rows.read(options, {
    ...{ where: 'ldap', prefix: 'ldap: ' },
  });
  const { bindDN, groups, roles } = rest;
  if ((bindDN === undefined) === (account === undefined))
    throw typeError(
      'ldap: set either bindDN, with which users bind, or search, with which a service ' +
        'account finds them',
    );
  const isPlain = (url: URL): boolean => url.protocol === 'ldap:';
  if (startTLS && !urls.some(isPlain))
    throw typeError('ldap: startTLS has no effect, because every url begins with ldaps://');
  const open = urls.find((url) => isPlain(url) && !startTLS && !insecure && !isLoopback(url));
  if (open)
    throw typeError(
      `ldap: url is "${open}", which would send passwords unencrypted; use ldaps://, or set ` +
        'startTLS: true. insecure: true accepts it',
    );
  const usesGroups = roles !== undefined && !Array.isArray(roles);
  if (groups && !usesGroups)
    throw typeError('ldap: groups has no effect, because roles is neither a table nor a function');
  if (groups?.nested && !groups.filter.includes('{dn}'))
    throw typeError(
      'ldap: groups.nested needs {dn} in groups.filter, to find the groups of a group',
    );
  checkRows(roles);
  // Reading more than a hundred certificates for each connection would take milliseconds.
  const secureContext = ca && createSecureContext({ ca: [...rootCertificates, ...ca] });
  const search = account && { ...account, username: nameAttribute(account) };
  return {
    ...rest,
    search,
    usesGroups,
    attributes: [
      ...accountAttributes,
      search?.username ?? 'sAMAccountName',
      ...(usesGroups && !groups ? ['memberOf'] : []),
    ],
    unverified: insecure ? urls.filter((url) => !isLoopback(url)).map(String) : [],
    servers: urls.map((url) => ({
      url: String(url),
      host: hostOf(url),
      startTLS: startTLS && isPlain(url),
      tls: { rejectUnauthorized: !insecure, ...(secureContext && { secureContext }) },
    })),
  };
}

/** Returns the attribute with the name of the session. */
function nameAttribute({ filter, username }: SettingsOf<typeof searchOptions>): string {
  const names = new Set(attributesOfName(filter));
  const [only = ''] = names;
  if (username === undefined && names.size === 1) return only;
  if (username !== undefined && names.has(username.toLowerCase())) return username;
  throw typeError(
    username === undefined
      ? 'ldap: search.username is missing: name the attribute of search.filter that holds the ' +
          'name of the session'
      : `ldap: search.username is "${username}", but search.filter has no ` +
          `(${username}={username}), by which sessions are checked`,
  );
}

/** Checks that each row of `roles.map` with `=` is a DN. Otherwise, it would never match. */
function checkRows(roles: LdapOptions['roles']): void {
  const { map } = (roles ?? {}) as { map?: object };
  for (const name of Object.keys(map ?? {}))
    if (keyOfName(name).startsWith('text:'))
      throw outOfRange(
        'ldap: a row of roles.map',
        name,
        'the DN of a group, or its name without =',
      );
}
