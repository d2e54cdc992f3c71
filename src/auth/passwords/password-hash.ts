import { timingSafeEqual } from 'node:crypto';
import { wrongSecret } from '../../secret-options.js';
import type { AuthContext } from '../strategies/strategy.js';
import { argon2, bcrypt, derive, type Recipe } from './algorithms.js';
import { queueHash } from './hash-queue.js';

/** Options of one check. */
export interface CheckOptions {
  /** The login attempt, or `background` for work that no login waits for. */
  context?: AuthContext | 'background' | undefined;
  /** Called with the milliseconds of each derivation, without the time in the queue. */
  onTime?: ((ms: number) => void) | undefined;
}

/** A stored hash, with the cost of checking a password against it. */
export interface PasswordHash {
  /** The same text for hashes whose checks take the same work. */
  readonly format: string;
  /** Bytes that one check uses. */
  readonly memory: number;
  /**
   * Approximate milliseconds of a check on a machine of 2026 with two cores. Only for comparing
   * formats with each other.
   */
  readonly cost: number;
  /** Why the hash is weaker than OWASP's minimum; absent if it is not. */
  readonly weakness?: string | undefined;
  /** Whether the password matches. Right and wrong passwords take the same work. */
  verify(password: string, options?: CheckOptions): Promise<boolean>;
}

/** Runs work through the hash queue, and reports how long the work itself took. */
async function queued<T>(
  memory: number,
  work: () => Promise<T>,
  { context, onTime }: CheckOptions,
): Promise<T> {
  const timed = async (): Promise<T> => {
    const started = performance.now();
    try {
      return await work();
    } finally {
      onTime?.(performance.now() - started);
    }
  };
  return queueHash(memory, timed, context).result;
}

const accepted =
  "plain text that does not begin with '$', or a hash: $argon2id$, $argon2i$, $scrypt$, $2b$ " +
  '(bcrypt), $pbkdf2-sha256$ or $pbkdf2-sha512$';
const base64 = '[A-Za-z0-9+/]';

/**
 * Parses a hash in the PHC string format or in that of bcrypt.
 *
 * @throws TypeError if the text is not a hash. RangeError if its cost is too high for a server. The
 * error never contains the text.
 */
export function parseHash(option: string, text: string): PasswordHash {
  const hash = parseScrypt(text) ?? parseArgon2(text) ?? parsePbkdf2(text) ?? parseBcrypt(text);
  if (hash === undefined) throw wrongSecret(option, accepted, TypeError);
  if (typeof hash === 'string') throw wrongSecret(option, hash, RangeError);
  return hash;
}

/**
 * The result of a parser: the hash, the rule that its cost breaks, or `undefined` for another
 * format.
 */
type Parsed = PasswordHash | string | undefined;

/** The end of the scrypt and Argon2 patterns. */
const saltAndKey = `\\$(${base64}{11,86})\\$(${base64}{22,86})$`;

/** `$scrypt$ln=15,r=8,p=3$salt$hash` */
function parseScrypt(text: string): Parsed {
  const pattern = new RegExp(`^\\$scrypt\\$ln=(\\d{1,2}),r=(\\d{1,2}),p=(\\d{1,2})${saltAndKey}`);
  const [, ln, r, p, salt = '', key = ''] = pattern.exec(text) ?? [];
  if (ln === undefined) return undefined;
  const recipe = {
    algorithm: 'scrypt',
    N: 2 ** Number(ln),
    r: Number(r),
    p: Number(p),
    ...saltOf(salt, key),
  } as const;
  if (
    Number(ln) < 1 ||
    Number(ln) > 20 ||
    recipe.r < 1 ||
    recipe.p < 1 ||
    128 * recipe.N * recipe.r > 2 ** 30
  )
    return 'a scrypt hash with ln from 1 to 20, r and p from 1, and at most 1 GiB of memory';
  return derived(recipe, key);
}

/** `$argon2id$v=19$m=47104,t=1,p=1$salt$hash` */
function parseArgon2(text: string): Parsed {
  const pattern = new RegExp(
    `^\\$(argon2id?)\\$v=19\\$m=(\\d{1,8}),t=(\\d{1,4}),p=(\\d{1,3})${saltAndKey}`,
  );
  const [, algorithm, m, t, p, salt = '', key = ''] = pattern.exec(text) ?? [];
  if (algorithm === undefined) return undefined;
  const recipe = {
    algorithm: algorithm === 'argon2id' ? 'argon2id' : 'argon2i',
    memory: Number(m),
    passes: Number(t),
    parallelism: Number(p),
    ...saltOf(salt, key),
  } as const;
  if (
    recipe.passes < 1 ||
    recipe.passes > 20 ||
    recipe.parallelism < 1 ||
    recipe.memory < 8 * recipe.parallelism ||
    recipe.memory > 2 ** 20
  )
    return 'an argon2 hash with t from 1 to 20, p from 1, and m from 8 p to 1048576 (1 GiB)';
  argon2();
  return derived(recipe, key);
}

/**
 * `$pbkdf2-sha256$i=600000$salt$hash`. Also accepts the form of passlib: no `i=`, and `.` for `+`.
 */
function parsePbkdf2(text: string): Parsed {
  const pattern = new RegExp(
    `^\\$pbkdf2-(sha256|sha512)\\$(?:i=)?(\\d{1,9})` +
      '\\$([A-Za-z0-9+/.]{11,86})\\$([A-Za-z0-9+/.]{22,86})$',
  );
  const [, digest, iterations, salt = '', key = ''] = pattern.exec(text) ?? [];
  if (digest === undefined) return undefined;
  const plain = (encoded: string): string => encoded.replaceAll('.', '+');
  const recipe = {
    algorithm: 'pbkdf2',
    digest: digest === 'sha256' ? 'sha256' : 'sha512',
    iterations: Number(iterations),
    ...saltOf(plain(salt), plain(key)),
  } as const;
  if (recipe.iterations < 1 || recipe.iterations > 10_000_000)
    return 'a pbkdf2 hash with 1 to 10000000 iterations';
  return derived(recipe, plain(key));
}

/** `$2b$12$` and 53 characters. */
function parseBcrypt(text: string): Parsed {
  const [, rounds] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(text) ?? [];
  if (rounds === undefined) return undefined;
  const cost = Number(rounds);
  if (cost < 4 || cost > 16) return 'a bcrypt hash with a cost from 4 to 16';
  const { verify } = bcrypt();
  const memory = 4096;
  return {
    memory,
    cost: 2 ** cost * 0.06,
    weakness: cost < 10 ? 'bcrypt with a cost below 10' : undefined,
    format: `bcrypt ${cost}`,
    async verify(password, options = {}) {
      // bcrypt reads only the first 72 bytes. A longer password is rejected after the same work.
      // Otherwise, its first 72 bytes would be enough.
      const fits = Buffer.byteLength(password) <= 72;
      return (await queued(memory, () => verify(fits ? password : 'x', text), options)) && fits;
    },
  };
}

function saltOf(salt: string, key: string): { salt: Buffer; length: number } {
  return { salt: Buffer.from(salt, 'base64'), length: Buffer.from(key, 'base64').length };
}

function derived(recipe: Recipe, key: string): PasswordHash {
  return derivedHash(recipe, Buffer.from(key, 'base64'));
}

/** Makes a hash whose check derives the key again and compares the two. */
export function derivedHash(recipe: Recipe, expected: Buffer): PasswordHash {
  const memory = memoryOf(recipe);
  return {
    memory,
    ...strengthOf(recipe),
    format: JSON.stringify({ ...recipe, salt: undefined }),
    async verify(password, options = {}) {
      const key = await queued(memory, () => derive(password, recipe), options);
      return timingSafeEqual(key, expected);
    },
  };
}

/** Returns the bytes that one derivation uses. */
export function memoryOf(recipe: Recipe): number {
  if (recipe.algorithm === 'scrypt') return 128 * recipe.N * recipe.r;
  return recipe.algorithm === 'pbkdf2' ? 4096 : recipe.memory * 1024;
}

/**
 * Returns the cost, which was measured, and the weakness according to the OWASP password storage
 * cheat sheet.
 */
function strengthOf(recipe: Recipe): Pick<PasswordHash, 'cost' | 'weakness'> {
  if (recipe.algorithm === 'scrypt') {
    const work = recipe.N * recipe.r * recipe.p;
    return {
      cost: work / 3400,
      weakness: work < 2 ** 15 * 8 * 3 ? 'scrypt with less work than ln=15, r=8, p=3' : undefined,
    };
  }
  if (recipe.algorithm === 'pbkdf2') {
    const least = recipe.digest === 'sha256' ? 600_000 : 210_000;
    const weakness =
      recipe.iterations < least
        ? `pbkdf2-${recipe.digest} with fewer than ${least} iterations`
        : undefined;
    return { cost: recipe.iterations / 2000, weakness };
  }
  const work = recipe.memory * recipe.passes;
  const weak = recipe.memory < 19_456 || work < 38_912;
  return {
    cost: work / 3400,
    weakness: weak ? `${recipe.algorithm} with less work than m=19456, t=2` : undefined,
  };
}
