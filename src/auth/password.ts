import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { wrongSecret } from '../options.js';

/** Cost of a hash we make: 32 MiB and about 230 ms, the OWASP equal of N=2^17, p=1 with the smallest memory. */
const cost = { logN: 15, r: 8, p: 3 };
/** More hashes at once would hold up every file read of the process: libuv has four threads for both. */
const slots = 2;

interface ScryptHash {
  logN: number;
  r: number;
  p: number;
  salt: Buffer;
  key: Buffer;
}

/** A stored password. Nothing of it can be enumerated, inspected or serialised. */
export interface StoredPassword {
  /** Whether the password is the stored one. Takes the same work for right and wrong. */
  matches(password: string): Promise<boolean>;
}

/** Stores a configured password: plain text is hashed in the background at once, a PHC string `$scrypt$…` taken as it is. */
export function storePassword(option: string, password: unknown): StoredPassword {
  if (password === undefined) throw new TypeError(`${option} is not set`);
  if (typeof password !== 'string' || password === '') throw wrongSecret(option, 'a string that is not empty', TypeError);
  if (Buffer.byteLength(password) > 1024) throw wrongSecret(option, 'at most 1024 bytes long', RangeError);
  if (password.startsWith('$')) {
    const parsed = parsePhc(option, password);
    return storedAs(Promise.resolve(parsed), (typed) => [typed, typed.normalize('NFC')]);
  }
  return storedAs(hash(password.normalize('NFKC')), (typed) => [typed.normalize('NFKC')]);
}

/** What unknown users are checked against, so that they cost what known ones do. */
export function decoyPassword(): StoredPassword {
  return storePassword('decoy', randomBytes(16).toString('hex'));
}

function storedAs(stored: Promise<ScryptHash>, spellings: (typed: string) => readonly string[]): StoredPassword {
  // A hash that fails must not end the process before anyone asks for it; the first check rejects instead.
  stored.catch(() => {});
  return {
    async matches(password) {
      const expected = await stored;
      for (const spelling of new Set(spellings(password))) {
        const key = await derive(spelling, expected);
        if (timingSafeEqual(key, expected.key)) return true;
      }
      return false;
    },
  };
}

async function hash(password: string): Promise<ScryptHash> {
  const shape = { ...cost, salt: randomBytes(16), key: Buffer.alloc(32) };
  return { ...shape, key: await derive(password, shape) };
}

let running = 0;
const waiting: (() => void)[] = [];

async function derive(password: string, { logN, r, p, salt, key }: ScryptHash): Promise<Buffer> {
  if (running >= slots) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const N = 2 ** logN;
      const maxmem = 128 * N * r + 128 * r * p + 2 ** 20;
      scrypt(password, salt, key.length, { N, r, p, maxmem }, (error, derived) => (error ? reject(error) : resolve(derived)));
    });
  } finally {
    const next = waiting.shift();
    // The slot goes straight to the next one, so the count stays.
    if (next) next();
    else running -= 1;
  }
}

/** Reads `$scrypt$ln=15,r=8,p=3$salt$hash`, the PHC string format, with base64 without padding. */
function parsePhc(option: string, text: string): ScryptHash {
  const match = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/.exec(text);
  if (!match) throw wrongSecret(option, "plain text that does not begin with '$', or a hash $scrypt$ln=…,r=…,p=…$salt$hash", TypeError);
  const [logN = 0, r = 0, p = 0] = match.slice(1, 4).map(Number);
  if (logN < 1 || logN > 20 || r < 1 || p < 1 || 128 * 2 ** logN * r > 2 ** 30) {
    throw wrongSecret(option, 'a scrypt hash with ln from 1 to 20, r and p from 1, and at most 1 GiB of memory', RangeError);
  }
  return { logN, r, p, salt: Buffer.from(match[4] ?? '', 'base64'), key: Buffer.from(match[5] ?? '', 'base64') };
}
