import { createHash } from 'node:crypto';
import type { Entry } from 'ldapts';
import { codeOf } from './connection.js';
import { keyOfName } from './names.js';

/** What the directory knows about a user. */
export interface LdapUser {
  /** The name of the session, as the directory writes it. */
  readonly username: string;
  /** The DN of the entry of the user. */
  readonly dn: string;
  /** The DNs of the groups of the user, as the directory writes them. */
  readonly groups: readonly string[];
}

/** Why the directory refuses an account whatever its password is. */
type AccountReason = 'disabled' | 'locked' | 'expired';

/** The attributes that {@link stateOf} and {@link versionOf} read. */
export const accountAttributes = [
  ...['userAccountControl', 'accountExpires', 'nsAccountLock'],
  ...['pwdAccountLockedTime', 'pwdEndTime'],
  ...['pwdLastSet', 'pwdChangedTime'],
  ...['entryUUID', 'nsUniqueId', 'objectGUID'],
];

/** Returns the values of an attribute as texts. The case of its name has no meaning. */
export function valuesOf(entry: Entry, attribute: string): string[] {
  const name = attribute.toLowerCase();
  const [, values = []] = Object.entries(entry).find(([key]) => key.toLowerCase() === name) ?? [];
  return [values]
    .flat()
    .map((value) => (typeof value === 'string' ? value : value.toString('hex')));
}

/** Returns the reason for which an entry is not allowed to sign in, if it has one. */
export function stateOf(entry: Entry): AccountReason | undefined {
  const [flags = '0'] = valuesOf(entry, 'userAccountControl');
  const [isLocked = ''] = valuesOf(entry, 'nsAccountLock');
  // ACCOUNTDISABLE of Active Directory.
  if ((Number(flags) & 2) !== 0 || isLocked.toLowerCase() === 'true') return 'disabled';
  if (endOf(entry) <= Date.now()) return 'expired';
  return valuesOf(entry, 'pwdAccountLockedTime').length > 0 ? 'locked' : undefined;
}

/**
 * Returns the reason for which an administrator has closed an account, if it is closed. A lock
 * after wrong passwords does not count: any stranger can cause it, and must not end sessions.
 */
export function closedBy(entry: Entry): AccountReason | undefined {
  const state = stateOf(entry);
  const [lockedAt = ''] = valuesOf(entry, 'pwdAccountLockedTime');
  // A time in the year 0 stands for a lock that only an administrator sets and removes
  // (draft-behera-ldap-password-policy-10, section 5.3.3).
  return state === 'locked' && !lockedAt.startsWith('0000') ? undefined : state;
}

/** Returns when an account expires, in Unix milliseconds. */
function endOf(entry: Entry): number {
  // Active Directory counts steps of 100 nanoseconds since 1601. 0 is never.
  const steps = Number(valuesOf(entry, 'accountExpires')[0] ?? 0);
  const [end] = valuesOf(entry, 'pwdEndTime');
  return Math.min(
    steps > 0 ? steps / 10_000 - 11_644_473_600_000 : Number.POSITIVE_INFINITY,
    end === undefined ? Number.POSITIVE_INFINITY : timeOf(end),
  );
}

const generalizedTime =
  /^(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)?)?(?:[.,]\d+)?(?:Z|([+-]\d\d)(\d\d)?)$/;

/**
 * Returns a GeneralizedTime (RFC 4517 section 3.3.13) in Unix milliseconds, without fractions. A
 * time that cannot be read has passed, so that it keeps no account open.
 */
function timeOf(text: string): number {
  const [, year, month, day, hour, minute = '00', second = '00', offset = '+00', minutes = '00'] =
    generalizedTime.exec(text) ?? [];
  // Only LDAP has leap seconds.
  const seconds = second === '60' ? '59' : second;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${seconds}${offset}:${minutes}`);
  return Number.isNaN(at) ? Number.NEGATIVE_INFINITY : at;
}

/**
 * Returns what identifies the account of an entry, even if another entry gets its name later.
 * Returns `undefined` if the server shows no such attribute.
 */
export function identityOf(entry: Entry): string | undefined {
  const ids = ['entryUUID', 'nsUniqueId', 'objectGUID'].flatMap((name) => valuesOf(entry, name));
  return ids.length > 0 ? hashOf(ids) : undefined;
}

/**
 * Returns a text that changes when the entry is another account, and when its password changes.
 * Binds change `modifyTimestamp` on some servers, so that does not count.
 */
export function versionOf(entry: Entry): string {
  const changes = ['pwdLastSet', 'pwdChangedTime'].map((name) => valuesOf(entry, name));
  const account = identityOf(entry) ?? keyOfName(entry.dn);
  return hashOf([account, changes]);
}

function hashOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

/** The codes with which Active Directory says why it refused a bind. */
const activeDirectoryReasons: Readonly<Record<string, AccountReason>> = {
  '532': 'expired',
  '533': 'disabled',
  '701': 'expired',
  '773': 'expired',
  '775': 'locked',
};

/** A login that is rejected. Without a reason, the name or the password is wrong. */
export interface Refused {
  reason: AccountReason | 'ambiguous' | 'several_names' | undefined;
}

/**
 * Returns why a bind of a user was refused.
 *
 * @throws the error itself if the server did not refuse the password or the account.
 */
export function refusedBy(error: unknown, entry: Entry | undefined): Refused {
  const { message } = error as { message: string };
  const state = entry && stateOf(entry);
  switch (codeOf(error)) {
    case 49: {
      const [, code = ''] = /\bdata ([0-9a-f]+)\b/.exec(message) ?? [];
      return { reason: activeDirectoryReasons[code] ?? state };
    }
    // No such entry, or an entry without a password.
    case 32:
    case 48:
      return { reason: state };
    // 389 Directory Server answers so for an inactive account and for too many wrong passwords.
    case 53:
      if (state === undefined && !/inactivated/i.test(message)) throw error;
      return { reason: state ?? 'disabled' };
    case 19:
      return { reason: 'locked' };
    default:
      throw error;
  }
}
