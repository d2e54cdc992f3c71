import { resolve } from 'node:path';
import { fileOption, typeError } from '../../options.js';

/**
 * Returns a secret, for example from a secrets manager. The signal aborts after 10 seconds. The
 * process calls it at start and then every 25 seconds.
 */
export type SecretFunction = (signal: AbortSignal) => string | PromiseLike<string>;

/** A secret: its text, a file that contains it, or a function that returns it. */
export type Secret = string | SecretFile | SecretFunction;

/** A file that contains a secret, as {@link secretFile} returns it. Holds the path alone. */
export class SecretFile {
  readonly #path: string;

  /** @param path Absolute path of the file. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Absolute path of the file. */
  get path(): string {
    return this.#path;
  }
}

/**
 * Names a file that contains a secret. The login reads the file when it is created, and again
 * within 2 seconds after a change, whether the file was replaced, rewritten, or is a symbolic link
 * that now leads elsewhere. The line break at the end of the file is not part of the
 * secret. If the file is missing or unreadable later, the last secret stays in use and the log says
 * so.
 *
 * @throws TypeError if the path is `undefined` or not a path. The function that takes the result
 * throws a TypeError if the file is missing, empty, unreadable, larger than 64 KiB, not UTF-8 text,
 * or a folder.
 * @example
 * ```ts
 * const auth = createAuth({
 *   strategies: ['admin', secretFile('/run/secrets/admin-password')],
 *   secretKey: secretFile('/run/secrets/signing-keys'),
 * });
 * ```
 */
export function secretFile(path: string | undefined): SecretFile {
  const checked = fileOption('path of secretFile', path, undefined, '/run/secrets/password');
  if (checked === undefined)
    throw typeError(
      'path of secretFile is not set; if it comes from the environment, set that variable',
    );
  return new SecretFile(resolve(checked));
}
