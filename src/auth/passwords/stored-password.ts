import { createHash, randomBytes } from 'node:crypto';
import { typeError, wrongSecret, wrongSecretType } from '../../options.js';
import { derive, type Recipe } from './algorithms.js';
import { doubtfulHashOf, foreignHashOf } from './foreign-hash.js';
import { queueHash } from './hash-queue.js';
import { type CheckOptions, derivedHash, memoryOf, type PasswordHash, parseHash } from './password-hash.js';

/** A configured password. Nothing of it can be enumerated, inspected or serialised. */
export interface StoredPassword {
  /** Whether the password is the stored one. Takes the same work for right and wrong. */
  matches(password: string, options?: CheckOptions): Promise<boolean>;
  /** Changes when the password does, and is the same after a restart; a promise while a plain password is still being hashed. */
  version(): string | Promise<string>;
  /** About how many milliseconds one check takes. */
  readonly cost: number;
  /** The same for passwords whose checks take the same work. */
  readonly format: string;
  /** What is wrong with the password or hash, although it is accepted. */
  readonly weakness?: string | undefined;
}

/** Cost of a hash made here: 32 MiB and about 230 ms, the OWASP equal of N=2^17, p=1 with the smallest memory. */
const made = { algorithm: 'scrypt', N: 2 ** 15, r: 8, p: 3, length: 32 } as const;
const maxBytes = 1024;
const digest = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest();

/**
 * Stores the password of a configured user: a hash as it is; plain text is hashed in the background at once, or before
 * whatever else waits when it is needed.
 *
 * @throws TypeError when it is `undefined`, no string, or a hash of another system, RangeError when it is longer than 1024 bytes; never with its value.
 */
export function storePassword(username: string, password: unknown): StoredPassword {
  const option = `password of '${username}'`;
  if (password === undefined) throw typeError(`${option} is not set; if it comes from the environment, set that variable`);
  if (typeof password !== 'string' || password === '') throw wrongSecretType(option, password, 'a string that is not empty');
  if (Buffer.byteLength(password) > maxBytes) throw wrongSecret(option, 'at most 1024 bytes long', RangeError);
  const system = foreignHashOf(password);
  if (system !== undefined)
    throw wrongSecret(
      option,
      `plain text or a hash that is supported, not a hash of ${system}; make one: npx koa-taskflow hash`,
      TypeError,
    );
  return password.startsWith('$') ? givenHash(parseHash(option, password), password) : hashedHere(username, password);
}

/** The keyboard that made a hash may have composed accents in another way than the present one. */
function spellingsOf(password: string): ReadonlySet<string> {
  return new Set([password, password.normalize('NFC')]);
}

function givenHash(hash: PasswordHash, text: string): StoredPassword {
  const version = digest(text).toString('base64url');
  return {
    cost: hash.cost,
    format: hash.format,
    weakness: hash.weakness,
    version: () => version,
    async matches(password, options) {
      for (const spelling of spellingsOf(password)) if (await hash.verify(spelling, options)) return true;
      return false;
    },
  };
}

/**
 * The salt is made of the user's name: the hash stays in memory, and the session version made of it must be the same after a
 * restart, or each restart would end every session.
 */
function hashedHere(username: string, password: string): StoredPassword {
  const recipe = { ...made, salt: digest(`koa-taskflow user ${username}`).subarray(0, 16) };
  const queued = queueHash(memoryOf(recipe), deriveOnce(password.normalize('NFKC'), recipe), 'background');
  const { cost, format } = derivedHash(recipe, Buffer.alloc(made.length));
  const shape = doubtfulHashOf(password);
  let version: string | undefined;
  const stored = queued.result.then((key) => {
    version = digest(key).toString('base64url');
    return derivedHash(recipe, key);
  });
  // A hash that fails must not end the process before anyone asks for it; the first check rejects instead.
  stored.catch(() => {});
  return {
    cost,
    format,
    weakness: shape && `it has the shape of ${shape}, and is taken for the password itself`,
    version: () => version ?? stored.then(() => version ?? ''),
    async matches(typed, options) {
      if (options?.context !== 'background') queued.hurry();
      const hash = await stored;
      const password = typed.normalize('NFKC');
      // As often as a configured hash is checked, so that the time of a failure does not tell which users have one.
      for (let left = spellingsOf(typed).size; left > 0; left--) if (await hash.verify(password, options)) return true;
      return false;
    },
  };
}

/** Lets go of the plain text once it is hashed; a closure that kept it would keep it as long as the strategy lives. */
function deriveOnce(password: string, recipe: Recipe): () => Promise<Buffer> {
  let plain = password;
  return () => {
    const key = derive(plain, recipe);
    plain = '';
    return key;
  };
}

/** Makes a hash of a password, as the configuration takes it: `$scrypt$ln=15,r=8,p=3$salt$hash`. */
export async function hashPassword(password: string): Promise<string> {
  const recipe = { ...made, salt: randomBytes(16) };
  const key = await derive(password.normalize('NFC'), recipe);
  const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=${Math.log2(made.N)},r=${made.r},p=${made.p}$${encode(recipe.salt)}$${encode(key)}`;
}
