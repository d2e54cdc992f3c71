import { createHash } from 'node:crypto';
import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { grouped, kindOf, quote } from '../../show-value.js';
import { withTimeLimit } from '../time-limit.js';
import type { SecretFile, SecretFunction } from './secret.js';

/** Why a secret cannot be read. The message never contains any part of the secret. */
class SecretFault extends Error {}

/** The place from which a secret is read again and again. */
export interface SecretSource {
  /** Milliseconds from the end of one `poll` to the next one. */
  readonly interval: number;
  /** Returns the text at once. Absent if that is not possible. Throws a SecretFault. */
  readonly readNow?: () => string;
  /**
   * Resolves to the text, or to `undefined` if there is nothing new. Rejects with a SecretFault.
   */
  poll(): Promise<string | undefined>;
}

/** Returns a text that is the same for the same secret and does not reveal it. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** What a file may contain. */
export interface FileRules {
  maxBytes: number;
  /** Returns the text of the file. `what` names it. Throws a SecretFault. */
  textOf(what: string, content: Buffer): string;
}

const secretRules: FileRules = { maxBytes: 65_536, textOf };
/** Milliseconds between two looks at a file. A change counts after two looks that agree. */
const fileInterval = 250;
/**
 * Number of times that a changed file is read again. Two changes may be so close together that the
 * file has the same times after both. Later changes always change the times.
 */
const rereads = 8;

/**
 * Reads a file. A writer may be in the middle of writing it, or of replacing it in two steps, so a
 * new state of the file counts only if two reads in a row find it.
 */
export function fileSource(
  { path }: Pick<SecretFile, 'path'>,
  rules: FileRules = secretRules,
): SecretSource {
  let lastState = '';
  let lastFound = '';
  let readsLeft = 0;

  const read = async (): Promise<string | undefined> => {
    const stats = await stat(path, { bigint: true });
    const { dev, ino, size, mtimeNs, ctimeNs } = stats;
    const state = [dev, ino, size, mtimeNs, ctimeNs].join();
    if (state !== lastState) [lastState, readsLeft] = [state, rereads];
    if (readsLeft === 0) return undefined;
    readsLeft -= 1;
    checkStats(path, stats, rules);
    return rules.textOf(`the file ${quote(path)}`, await readFile(path));
  };
  /** Whether the previous read found the same. */
  const isSettled = (found: string): boolean => {
    const isSame = found === lastFound;
    lastFound = found;
    return isSame;
  };

  return {
    interval: fileInterval,
    readNow() {
      try {
        checkStats(path, statSync(path, { bigint: true }), rules);
        return rules.textOf(`the file ${quote(path)}`, readFileSync(path));
      } catch (error) {
        throw faultOf(path, error);
      }
    },
    async poll() {
      try {
        const text = await read();
        return text !== undefined && isSettled(digestOf(text)) ? text : undefined;
      } catch (error) {
        // The file is read again until it is readable, although nothing about it changes.
        lastState = '';
        const fault = faultOf(path, error);
        if (isSettled(fault.message)) throw fault;
        return undefined;
      }
    },
  };
}

function checkStats(path: string, stats: BigIntStats, { maxBytes }: FileRules): void {
  if (stats.isDirectory()) throw new SecretFault(`${quote(path)} is a folder, not a file`);
  if (!stats.isFile()) throw new SecretFault(`${quote(path)} is not a regular file`);
  if (stats.size > maxBytes)
    throw new SecretFault(`the file ${quote(path)} is larger than ${grouped(maxBytes / 1024)} KiB`);
}

/** Returns the text without the line break at its end. */
function textOf(what: string, content: Buffer | string): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(content));
  } catch {
    throw new SecretFault(`${what} is not UTF-8 text`);
  }
  const trimmed = text.replace(/\r?\n$/, '');
  if (trimmed === '') throw new SecretFault(`${what} is empty`);
  return trimmed;
}

function faultOf(path: string, error: unknown): SecretFault {
  if (error instanceof SecretFault) return error;
  const { code = 'unknown' } = error as NodeJS.ErrnoException;
  const file = `the file ${quote(path)}`;
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: `${file} does not exist`,
    EACCES: `this process may not read ${file}`,
    EPERM: `this process may not read ${file}`,
  };
  return new SecretFault(reasons[code] ?? `${file} cannot be read (${code})`);
}

/** Seconds that the function may take. */
const timeLimit = 10;
/**
 * Milliseconds between two calls of the function. Two processes differ by at most this time, and a
 * new key signs that much later, so that it is in use within a minute.
 */
const functionInterval = 25_000;

/** Asks a function of the app. It is asked sooner after a failure: after 1 second, then 2, 4, 8. */
export function functionSource(ask: SecretFunction): SecretSource {
  let failures = 0;
  return {
    get interval() {
      return failures === 0
        ? functionInterval
        : Math.min(functionInterval, 1000 * 2 ** (failures - 1));
    },
    async poll() {
      failures += 1;
      const text = await withTimeLimit<unknown>(timeLimit, async (signal) => ask(signal)).catch(
        (error: unknown) => {
          throw new SecretFault(`the function that returns it failed: ${nameOf(error)}`);
        },
      );
      if (typeof text !== 'string') {
        const kind = typeof text === 'number' ? 'a number' : kindOf(text);
        throw new SecretFault(`the function returned ${kind} instead of a string`);
      }
      const checked = textOf('the string that the function returned', text);
      failures = 0;
      return checked;
    },
  };
}

/**
 * Returns the name and the code of an error. Its message may contain the secret: that of
 * `JSON.parse` contains a part of the text.
 */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  const words = [error.name === 'Error' ? error.constructor.name : error.name, code];
  return words.filter((word) => typeof word === 'string' && /^\w{1,40}$/.test(word)).join(' ');
}
