import type { Entry } from 'ldapts';
import { closedBy, type Refused, valuesOf } from './account.js';
import type { Connection } from './connection.js';
import { bindUser, type Found, findEntry, rootValues } from './entries.js';
import { fillFilter, firstValueOf } from './names.js';
import { bindName, type LdapSettings } from './options.js';

/*
 * Signs users in without a service account: a user binds with a DN or a name that is made of the
 * typed name, and then reads the own entry.
 */

/** The parts of the settings that a direct bind uses. */
interface Settings extends Pick<LdapSettings, 'attributes'> {
  bindDN: string;
}

/** Checks the password of a user. The connection is then bound as this user. */
export async function signInDirectly(
  connection: Connection,
  settings: Settings,
  { username, password }: { username: string; password: string },
): Promise<Found | Refused> {
  const dn = bindName(settings.bindDN, username);
  const refused = await bindUser(connection, { dn, password });
  if (refused) return refused;
  const found = await ownEntry(connection, settings, dn);
  const reason = closedBy(found.entry);
  return reason ? { reason } : found;
}

async function ownEntry(connection: Connection, settings: Settings, bound: string): Promise<Found> {
  if (settings.bindDN.includes('=')) return entryAt(connection, settings, bound);
  const identity = await connection.whoAmI();
  if (identity.startsWith('dn:')) return entryAt(connection, settings, identity.slice(3));
  // Active Directory answers with the domain and the account, such as u:CORP\ann.
  const account = /^u:(?:.*\\)?(.+)$/.exec(identity)?.[1];
  if (account === undefined)
    throw new Error('the server does not say who signed in; use search instead of bindDN');
  const [base = ''] = await rootValues(connection, 'defaultNamingContext');
  const { entry } = await findEntry(connection, base, {
    filter: fillFilter('(sAMAccountName={username})', { username: account }),
    attributes: settings.attributes,
  });
  return found(entry, entry && valuesOf(entry, 'sAMAccountName')[0]);
}

async function entryAt(
  connection: Connection,
  { attributes }: Settings,
  dn: string,
): Promise<Found> {
  const { searchEntries } = await connection.search(dn, { scope: 'base', attributes });
  const [entry] = searchEntries;
  return found(entry, entry && firstValueOf(entry.dn));
}

function found(entry: Entry | undefined, username: string | undefined): Found {
  if (!entry || username === undefined)
    throw new Error('users cannot read their own entries; use search instead of bindDN');
  return { entry, username };
}
