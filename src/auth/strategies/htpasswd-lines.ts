import { type StoredPassword, storeHash } from '../passwords/stored-password.js';
import { isUserName } from './user-fields.js';

/** A user of an htpasswd file. */
interface HtpasswdUser {
  readonly password: StoredPassword;
  /** The text of the hash. */
  readonly hash: string;
}

/** The content of an htpasswd file. */
export interface HtpasswdContent {
  readonly users: ReadonlyMap<string, HtpasswdUser>;
  /** The numbers of the lines that have each problem. */
  readonly problems: ReadonlyMap<Problem, readonly number[]>;
}

/** A problem of a line that does not concern other lines. */
export type Problem = 'format' | 'damaged' | 'costly' | 'name' | 'repeated' | 'weak';

/**
 * Reads the lines of an htpasswd file as Apache does: the name ends at the first colon and the hash
 * at the second, and the first line of a name counts. A hash that is not supported refuses only its
 * own user.
 *
 * @throws Error with the number of the line if the file is empty, damaged or incomplete. The error
 * never contains text of the file.
 */
export function parseHtpasswd(content: Buffer): HtpasswdContent {
  const text = content.toString('utf8').replace(/^\ufeff/, '');
  const lines = text.split(/\r\n|\n|\r/);
  const users = new Map<string, HtpasswdUser>();
  const problems = new Map<Problem, number[]>();
  const names = new Set<string>();
  for (const [index, line] of lines.entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const report = (problem: Problem): void => {
      const numbers = problems.get(problem) ?? [];
      numbers.push(index + 1);
      problems.set(problem, numbers);
    };
    const [name = '', hash] = line.split(':', 2).map((part, at) => (at === 0 ? part : part.trim()));
    if (name === '' || hash === undefined)
      throw new Error(`line ${index + 1} does not have the form name:hash`);
    const isNew = !names.has(name);
    names.add(name);
    const read = readHash(hash);
    // The last line has no end if the file was cut off.
    if (read === 'damaged' && index === lines.length - 1)
      throw new Error(`line ${index + 1}, the last one, is incomplete`);
    if (!isNew) report('repeated');
    else if (!isUserName(name) || name.includes('\ufffd')) report('name');
    else if (typeof read === 'string') report(read);
    else {
      users.set(name, { password: read, hash });
      if (read.weakness !== undefined) report('weak');
    }
  }
  if (names.size === 0) throw new Error('it has no users');
  return { users, problems };
}

/**
 * Reads a hash, or returns why it cannot be used.
 *
 * @throws Error that says what to install, if the package for this kind of hash is missing.
 */
function readHash(hash: string): StoredPassword | 'format' | 'damaged' | 'costly' {
  if (!/^\$(2[aby]|argon2id)\$/.test(hash)) return isCut(hash) ? 'damaged' : 'format';
  try {
    return storeHash('hash', hash);
  } catch (error) {
    if (error instanceof RangeError) return 'costly';
    if (error instanceof TypeError) return 'damaged';
    throw error;
  }
}

/** Whether a text is no hash, but the beginning of one: it ends before its kind is known. */
function isCut(hash: string): boolean {
  return /^(\$[\w-]*)?$/.test(hash);
}
