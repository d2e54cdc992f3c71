import { randomUUID } from 'node:crypto';
import { sameUser } from '../../sessions/revocations.js';
import { closedBy, type Refused, valuesOf } from './account.js';
import { type Connection, codeOf, messageOf } from './connection.js';
import { bindUser, elsewhere, type Found, findEntry, missingBase, type Search } from './entries.js';
import { fillFilter } from './names.js';
import type { LdapSettings, SearchSettings } from './options.js';

/*
 * Signs users in with a service account: it finds the entry of a user, and a bind with the DN of
 * the entry checks the password.
 */

/** The parts of the settings that a search uses. */
interface Settings extends Pick<LdapSettings, 'attributes'> {
  search: SearchSettings;
}

/** Binds as the service account. */
export async function bindService(
  connection: Connection,
  { bindDN, password }: SearchSettings,
): Promise<void> {
  const text = await password.get();
  try {
    await connection.bind(bindDN, text);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw new Error(`search.bindDN or search.password is wrong: ${messageOf(error)}`);
  }
}

/** Checks the password of a user. The connection is then bound as this user. */
export async function signInBySearch(
  connection: Connection,
  settings: Settings,
  { username, password }: { username: string; password: string },
): Promise<Found | Refused> {
  const { entry, isAmbiguous, isElsewhere } = await searchUser(connection, settings, username);
  if (!entry) {
    // An unknown name takes as long as a wrong password.
    const dn = `cn=${randomUUID()},${settings.search.base}`;
    await connection.bind(dn, password).catch((error: unknown) => {
      if (codeOf(error) === undefined) throw error;
    });
    if (isElsewhere) throw new Error(elsewhere);
    return { reason: isAmbiguous ? 'ambiguous' : undefined };
  }
  const refused = await bindUser(connection, { dn: entry.dn, password, entry });
  if (refused) return refused;
  // A lock that has expired may still be in the entry that was read before.
  const reason = closedBy(entry);
  if (reason) return { reason };
  const name = nameOf(entry, settings);
  return name === undefined ? { reason: 'several_names' } : { entry, username: name };
}

/** Finds a user whose sessions may go on. */
export async function findBySearch(
  connection: Connection,
  settings: Settings,
  username: string,
): Promise<Found | undefined> {
  await bindService(connection, settings.search);
  const { entry } = await findNamed(connection, settings, username);
  if (!entry || closedBy(entry) !== undefined) return undefined;
  const name = nameOf(entry, settings);
  const isSame = name !== undefined && sameUser(name) === sameUser(username);
  return isSame ? { entry, username: name } : undefined;
}

/**
 * Searches for the entry of a user with the service account. Of several entries, the one whose name
 * was typed counts, so that an entry with this name in another attribute does not shut the user
 * out.
 */
export async function searchUser(
  connection: Connection,
  settings: Settings,
  username: string,
): Promise<Search> {
  const { search, attributes } = settings;
  await bindService(connection, search);
  const filter = fillFilter(search.filter, { username });
  const found = await findEntry(connection, search.base, { filter, attributes }).catch(
    missingBase('search.base', search.base),
  );
  if (!found.isAmbiguous) return found;
  const named = await findNamed(connection, settings, username);
  return named.entry ? named : found;
}

/** Searches for the entry that the filter finds and whose attribute `username` has the name. */
function findNamed(
  connection: Connection,
  { search, attributes }: Settings,
  username: string,
): Promise<Search> {
  const inner = search.filter.startsWith('(') ? search.filter : `(${search.filter})`;
  const filter = fillFilter(`(&${inner}(${search.username}={username}))`, { username });
  return findEntry(connection, search.base, { filter, attributes }).catch(
    missingBase('search.base', search.base),
  );
}

/**
 * Returns the name of the session, or `undefined` if the attribute has several values: they have no
 * order in LDAP, and one of them may be the name of another user, which this user has added.
 */
export function nameOf(
  entry: Found['entry'],
  { search: { username } }: Pick<Settings, 'search'>,
): string | undefined {
  const [name, ...others] = valuesOf(entry, username);
  if (name === undefined)
    throw new Error(`the entry of the user has no ${username}; set another search.username`);
  return others.length === 0 ? name : undefined;
}
