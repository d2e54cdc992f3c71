import { valuesOf } from './account.js';
import type { Connection } from './connection.js';
import { type Found, missingBase, rootValues } from './entries.js';
import { fillFilter, firstValueOf, keyOfName } from './names.js';
import type { LdapSettings } from './options.js';

/** How deep groups may be nested. */
const maxDepth = 10;

/** The rule by which Active Directory follows nested groups itself. */
const inChain = '1.2.840.113556.1.4.1941';

/** Returns the DNs of the groups of a user. */
export async function groupsOf(
  connection: Connection,
  { entry, username }: Found,
  groups: LdapSettings['groups'],
): Promise<string[]> {
  if (!groups) return valuesOf(entry, 'memberOf');
  const { base, filter, nested } = groups;
  const search = async (filters: readonly string[]): Promise<string[]> => {
    const found = await connection
      .search(base, { filter: `(|${filters.join('')})`, attributes: ['1.1'] })
      .catch(missingBase('groups.base', base));
    return found.searchEntries.map(({ dn }) => dn);
  };
  if (nested && (await isActiveDirectory(connection))) {
    const chain = filter.replaceAll(/\(\s*member=/gi, `(member:${inChain}:=`);
    return search([fillFilter(chain, { dn: entry.dn, username })]);
  }
  const found = new Map<string, string>();
  let level = [entry.dn];
  for (let depth = 0; depth < (nested ? maxDepth : 1) && level.length > 0; depth += 1) {
    const dns = await search(level.map((dn) => fillFilter(filter, { dn, username })));
    // A group that was found before is not followed again, so that a loop ends.
    level = dns.filter((dn) => !found.has(keyOfName(dn)));
    for (const dn of level) found.set(keyOfName(dn), dn);
  }
  return [...found.values()];
}

async function isActiveDirectory(connection: Connection): Promise<boolean> {
  const capabilities = await rootValues(connection, 'supportedCapabilities');
  return capabilities.includes('1.2.840.113556.1.4.800');
}

/**
 * Returns the texts that rows of a table may have for groups: the DN of each, and its name. A name
 * with `=` could look like the DN of another group, so it is left out.
 */
export function textsOfGroups(groups: readonly string[]): string[] {
  return groups.flatMap((dn) => {
    const name = firstValueOf(dn);
    return name === undefined || name.includes('=') ? [dn] : [dn, name];
  });
}
