import * as crypto from 'node:crypto';
import { optionalPackage } from '../../optional-package.js';

/** The parameters for deriving a key from a password. */
export type Recipe =
  | { algorithm: 'scrypt'; N: number; r: number; p: number; salt: Buffer; length: number }
  | {
      algorithm: 'argon2id' | 'argon2i';
      memory: number;
      passes: number;
      parallelism: number;
      salt: Buffer;
      length: number;
    }
  | {
      algorithm: 'pbkdf2';
      digest: 'sha256' | 'sha512';
      iterations: number;
      salt: Buffer;
      length: number;
    };

/** Derives the key on the threads of libuv, so that the event loop is not blocked. */
export async function derive(password: string, recipe: Recipe): Promise<Buffer> {
  switch (recipe.algorithm) {
    case 'scrypt':
      return scrypt(password, recipe);
    case 'pbkdf2':
      return new Promise((resolve, reject) => {
        const { salt, iterations, length, digest } = recipe;
        crypto.pbkdf2(password, salt, iterations, length, digest, (error, key) =>
          error ? reject(error) : resolve(key),
        );
      });
    default:
      return argon2()(password, recipe);
  }
}

function scrypt(
  password: string,
  { N, r, p, salt, length }: Extract<Recipe, { algorithm: 'scrypt' }>,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // Without this limit, Node refuses to use more than 32 MiB.
    const maxmem = 128 * N * r + 128 * r * p + 2 ** 20;
    crypto.scrypt(password, salt, length, { N, r, p, maxmem }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

type Argon2Recipe = Extract<Recipe, { memory: number }>;
type Argon2 = (password: string, recipe: Argon2Recipe) => Promise<Buffer>;

/** The parts of Node's argon2 (24.7 and newer) that are used. The types of Node 20 lack it. */
interface NodeArgon2 {
  argon2?(
    algorithm: string,
    parameters: {
      message: string;
      nonce: Buffer;
      memory: number;
      passes: number;
      parallelism: number;
      tagLength: number;
    },
    done: (error: Error | null, key: Buffer) => void,
  ): void;
}

let foundArgon2: Argon2 | undefined;

/**
 * Returns Argon2 of Node if it exists, otherwise that of the optional package.
 *
 * @throws Error that says what to install, if neither exists.
 */
export function argon2(): Argon2 {
  foundArgon2 ??= nodeArgon2() ?? packageArgon2();
  return foundArgon2;
}

function nodeArgon2(): Argon2 | undefined {
  const { argon2: own } = crypto as NodeArgon2;
  if (!own) return undefined;
  return (message, { algorithm, salt: nonce, memory, passes, parallelism, length: tagLength }) =>
    new Promise((resolve, reject) => {
      const parameters = { message, nonce, memory, passes, parallelism, tagLength };
      own(algorithm, parameters, (error, key) =>
        error ? reject(error) : resolve(Buffer.from(key)),
      );
    });
}

function packageArgon2(): Argon2 {
  const { hashRaw } = optionalPackage<{
    hashRaw(password: string, options: object): Promise<Uint8Array>;
  }>('@node-rs/argon2', 'an argon2 hash needs Node 24.7 or newer, or it');
  return async (password, { algorithm, salt, memory, passes, parallelism, length }) =>
    Buffer.from(
      await hashRaw(password, {
        // The numbers are enums of the package: 1 is Argon2i, 2 is Argon2id; version 1 is 0x13.
        algorithm: algorithm === 'argon2id' ? 2 : 1,
        version: 1,
        memoryCost: memory,
        timeCost: passes,
        parallelism,
        outputLen: length,
        salt,
      }),
    );
}

/** Returns bcrypt of the optional package. It also runs on the threads of libuv. */
export function bcrypt(): { verify(password: string, hash: string): Promise<boolean> } {
  return optionalPackage('@node-rs/bcrypt', 'a bcrypt hash');
}
