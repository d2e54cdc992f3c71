import { createHash, randomBytes } from 'node:crypto';
import { typeError } from '../../options.js';
import { wrongSecret, wrongSecretType } from '../../secret-options.js';
import { derive, type Recipe } from './algorithms.js';
import { doubtfulHashOf, foreignHashOf } from './foreign-hash.js';
import { queueHash } from './hash-queue.js';
import { type CheckOptions, derivedHash, memoryOf, parseHash } from './password-hash.js';

/** A configured password. Its content cannot be enumerated, inspected or serialized. */
export interface StoredPassword {
  /** Whether the password matches. Right and wrong passwords take the same work. */
  matches(password: string, options?: CheckOptions): Promise<boolean>;
  /**
   * Returns a text that changes with the password and is the same after a restart. Returns a
   * promise while a plain password is being hashed. If `isUrgent` is `true`, that hash is moved
   * before other waiting hashes.
   */
  version(isUrgent?: boolean): string | Promise<string>;
  /** Approximate milliseconds of a check. */
  readonly cost: number;
  /** The same text for passwords whose checks take the same work. */
  readonly format: string;
  /** A weakness of the password or hash that does not prevent its use. */
  readonly weakness?: string | undefined;
}

/**
 * Parameters of a hash made here: 32 MiB and about 230 ms. OWASP lists them as equal to N=2^17,
 * p=1, which needs 128 MiB.
 */
const made = { algorithm: 'scrypt', N: 2 ** 15, r: 8, p: 3, length: 32 } as const;
const maxBytes = 1024;
const digest = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest();

/**
 * Stores the password of a configured user. A hash is kept as it is. Plain text is hashed in the
 * background. If a login needs it before, it moves to the front of the queue.
 *
 * @throws TypeError if it is `undefined`, not a string, or a hash of another system. RangeError if
 * it is longer than 1024 bytes. The error never contains the password.
 */
export function storePassword(
  username: string,
  password: unknown,
  option = `password of '${username}'`,
): StoredPassword {
  if (password === undefined)
    throw typeError(`${option} is not set; if it comes from the environment, set that variable`);
  if (typeof password !== 'string' || password === '')
    throw wrongSecretType(option, password, 'a string that is not empty');
  if (Buffer.byteLength(password) > maxBytes)
    throw wrongSecret(option, 'at most 1024 bytes long', RangeError);
  const system = foreignHashOf(password);
  if (system !== undefined)
    throw wrongSecret(
      option,
      `plain text or a hash that is supported, not a hash of ${system}; ` +
        'make one: npx koa-taskflow hash',
      TypeError,
    );
  return password.startsWith('$') ? storeHash(option, password) : hashedHere(username, password);
}

/**
 * Returns the spellings to check. Keyboards compose accents in different ways, so a hash may have
 * been made from another spelling.
 */
function spellingsOf(password: string): ReadonlySet<string> {
  return new Set([password, password.normalize('NFC')]);
}

/**
 * Stores a hash. Never takes its text for a plain password.
 *
 * @throws TypeError if the text is not a hash. RangeError if its cost is too high for a server. The
 * error never contains the text.
 */
export function storeHash(option: string, text: string): StoredPassword {
  const hash = parseHash(option, text);
  const version = digest(text).toString('base64url');
  return {
    cost: hash.cost,
    format: hash.format,
    weakness: hash.weakness,
    version: () => version,
    async matches(password, options) {
      for (const spelling of spellingsOf(password))
        if (await hash.verify(spelling, options)) return true;
      return false;
    },
  };
}

/**
 * Stores a plain password as a hash in memory. The salt is derived from the user's name. The
 * session version depends on the hash and must be the same after a restart. Otherwise, each restart
 * would end every session.
 */
function hashedHere(username: string, password: string): StoredPassword {
  const recipe = { ...made, salt: digest(`koa-taskflow user ${username}`).subarray(0, 16) };
  const queued = queueHash(
    memoryOf(recipe),
    deriveOnce(password.normalize('NFKC'), recipe),
    'background',
  );
  const { cost, format } = derivedHash(recipe, Buffer.alloc(made.length));
  const shape = doubtfulHashOf(password);
  let version: string | undefined;
  const stored = queued.result.then((key) => {
    version = digest(key).toString('base64url');
    return derivedHash(recipe, key);
  });
  // A failure must not end the process as an unhandled rejection. The first check rejects instead.
  stored.catch(() => {});
  return {
    cost,
    format,
    weakness: shape && `it has the shape of ${shape}, and is taken for the password itself`,
    version(isUrgent = false) {
      if (isUrgent) queued.prioritize();
      return version ?? stored.then(() => version ?? '');
    },
    async matches(typed, options) {
      if (options?.context !== 'background') queued.prioritize();
      const hash = await stored;
      const password = typed.normalize('NFKC');
      // Takes as many checks as for a configured hash, so that the time of a failure does not
      // reveal which users have one.
      for (let left = spellingsOf(typed).size; left > 0; left--)
        if (await hash.verify(password, options)) return true;
      return false;
    },
  };
}

/**
 * Makes the function that derives the key once and then drops the plain text. A closure would
 * otherwise keep it as long as the strategy exists.
 */
function deriveOnce(password: string, recipe: Recipe): () => Promise<Buffer> {
  let plain = password;
  return () => {
    const key = derive(plain, recipe);
    plain = '';
    return key;
  };
}

/**
 * Hashes a password. The result has the format that the configuration accepts:
 * `$scrypt$ln=15,r=8,p=3$salt$hash`.
 */
export async function hashPassword(password: string): Promise<string> {
  const recipe = { ...made, salt: randomBytes(16) };
  const key = await derive(password.normalize('NFC'), recipe);
  const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  const cost = `ln=${Math.log2(made.N)},r=${made.r},p=${made.p}`;
  return `$scrypt$${cost}$${encode(recipe.salt)}$${encode(key)}`;
}
