import type { Entry } from 'ldapts';
import { type Refused, refusedBy, valuesOf } from './account.js';
import { type Connection, codeOf } from './connection.js';

/** The entry of a user, and the name of the session. */
export interface Found {
  entry: Entry;
  username: string;
}

/** What a search for one entry found. */
export interface Search {
  /** The only entry. */
  entry: Entry | undefined;
  /** Whether there are several entries. */
  isAmbiguous: boolean;
  /** Whether the server found nothing but references to other servers. */
  isElsewhere: boolean;
}

/** What the log says if a search found nothing but references, which are never followed. */
export const elsewhere =
  'the server knows only references to other servers; use port 3268 or a narrower base';

/** Searches for one entry. */
export async function findEntry(
  connection: Connection,
  base: string,
  { filter, attributes }: { filter: string; attributes: string[] },
): Promise<Search> {
  try {
    const { searchEntries: entries, searchReferences: references } = await connection.search(base, {
      filter,
      attributes,
      sizeLimit: 2,
    });
    const [first] = entries;
    // If a search has a limit, ldapts does not say that a lower limit of the server was exceeded.
    const all =
      entries.length > 1
        ? entries
        : (await connection.search(base, { filter, attributes: ['1.1'] })).searchEntries;
    return {
      entry: all.length === 1 ? first : undefined,
      isAmbiguous: all.length > 1,
      isElsewhere: all.length === 0 && references.length > 0,
    };
  } catch (error) {
    const code = codeOf(error);
    if (code === 4) return { entry: undefined, isAmbiguous: true, isElsewhere: false };
    throw code === 10 ? new Error(elsewhere, { cause: error }) : error;
  }
}

/**
 * Makes the handler of a failed search. The server says only that the entry below which it was to
 * search does not exist, not which option names the entry.
 */
export function missingBase(option: string, base: string): (error: unknown) => never {
  return (error) => {
    if (codeOf(error) !== 32) throw error;
    const found = `${option} is "${base}", which does not exist or may not be read`;
    throw new Error(found, { cause: error });
  };
}

/** Binds as a user. Returns why the server refused, or `undefined` if it accepted the password. */
export async function bindUser(
  connection: Connection,
  { dn, password, entry }: { dn: string; password: string; entry?: Entry | undefined },
): Promise<Refused | undefined> {
  try {
    await connection.bind(dn, password);
    return undefined;
  } catch (error) {
    return refusedBy(error, entry);
  }
}

/** Returns an attribute of the root DSE, in which a server describes itself. */
export async function rootValues(connection: Connection, attribute: string): Promise<string[]> {
  const { searchEntries } = await connection.search('', {
    scope: 'base',
    attributes: [attribute],
  });
  return searchEntries.flatMap((root) => valuesOf(root, attribute));
}
