import { runInEmptyContext } from '../../empty-context.js';
import { type Logger, typeError } from '../../options.js';
import { wrongSecretType } from '../../secret-options.js';
import { functionKind } from '../../show-value.js';
import { type Secret, SecretFile } from './secret.js';
import {
  digestOf,
  type FileRules,
  fileSource,
  functionSource,
  type SecretSource,
} from './secret-source.js';

/*
 * A secret from a file or a function is read at start and then again and again, by a timer that
 * does not keep the process alive. Requests use the last good value and wait only for the first
 * answer of a function. Each change of the state is logged once: the secret cannot be read, can be
 * read again, or has changed. Other files are followed in the same way.
 */

/** What a secret is read into. The value of a secret that was given as text never changes. */
export interface FollowedSecret<T> {
  /** Whether the value may change. */
  readonly isFollowed: boolean;
  /**
   * Milliseconds that may pass until all processes have noticed a change that this process has
   * noticed.
   */
  readonly spread: number;
  /** The last good value; `undefined` until a function has first answered. */
  readonly value: T | undefined;
  /**
   * Returns the value. Before the first answer of a function, returns a promise of it. The promise
   * rejects if the function failed.
   */
  get(): T | Promise<T>;
  /** Calls the listener after each change of the value. */
  onChange(listener: (value: T) => void): void;
  /**
   * Logs the states of the secret from now on, and its present state if it is a failure. Each line
   * has the fields.
   */
  logTo(logger: Logger, fields?: object): void;
}

interface SecretUse<T> {
  /** What the secret is, for messages, such as `password of 'admin'`. */
  option: string;
  /**
   * Makes the value from the text. Throws an error without the text if it is not valid. If the
   * secret was given as text, `isFollowed` is `false`.
   */
  read(text: string, isFollowed: boolean): T;
  /** Resolves when a value that replaces another one can be used. */
  prepare?(value: T): unknown;
  /** The log lines. Default: those of a secret. */
  lines?: StateLines<T>;
}

/** The log lines about the states of what is followed. */
interface StateLines<T> {
  /** Fields of each line. */
  fields: object;
  changed: string;
  failed: string;
  works: string;
  /** Returns more fields of the line about a change. */
  describe?(value: T): object;
}

/** A file that is followed. It has a value from the start. */
export interface FollowedFile<T> extends FollowedSecret<T> {
  readonly value: T;
}

/** Whether a value is a secret that can change. */
export function isFollowable(secret: unknown): secret is Exclude<Secret, string> {
  return secret instanceof SecretFile || typeof secret === 'function';
}

/**
 * Reads a secret and follows its changes. A value that is neither a file nor a function is passed
 * to `read`, which refuses everything but text.
 *
 * @throws TypeError if a file cannot be read. The errors of `read` for the text or the file. A
 * function that fails is called again, and the failure is logged.
 */
export function followSecret<T>(secret: unknown, use: SecretUse<T>): FollowedSecret<T> {
  if (!isFollowable(secret)) return fixedSecret(use.read(secret as string, false));
  if (secret instanceof SecretFile) return new Follower(fileSource(secret), use);
  const kind = functionKind(secret);
  if (kind !== 'a function' && kind !== 'an async function')
    throw wrongSecretType(use.option, secret, 'a function that returns a string');
  return new Follower(functionSource(secret), use);
}

/**
 * Reads a file that is no secret and follows its changes.
 *
 * @throws TypeError if the file cannot be read. The errors of `read`.
 */
export function followFile<T>(
  path: string,
  { rules, ...use }: SecretUse<T> & { rules: FileRules },
): FollowedFile<T> {
  // A file is read before the constructor returns, so there is a value.
  return new Follower(fileSource({ path }, rules), use) as FollowedFile<T>;
}

/** Returns a value that never changes. */
export function fixedSecret<T>(value: T): FollowedSecret<T> {
  return {
    isFollowed: false,
    spread: 0,
    value,
    get: () => value,
    onChange: () => {},
    logTo: () => {},
  };
}

/** What the timer of a secret uses. */
interface Polled {
  readonly interval: number;
  poll(): Promise<void>;
}

class Follower<T> implements FollowedSecret<T>, Polled {
  readonly isFollowed = true;
  readonly spread: number;
  readonly #source: SecretSource;
  readonly #use: SecretUse<T>;
  readonly #lines: StateLines<T>;
  readonly #listeners: ((value: T) => void)[] = [];
  #logger: Logger | undefined;
  #fields: object = {};
  #value: T | undefined;
  #digest = '';
  #fault: string | undefined;
  #polling: Promise<void> | undefined;

  constructor(source: SecretSource, use: SecretUse<T>) {
    this.#source = source;
    this.#use = use;
    this.#lines = use.lines ?? { ...secretLines, fields: { secret: use.option } };
    this.spread = Math.max(source.interval, leastSpread);
    if (source.readNow) this.#readNow(source.readNow);
    const follower = new WeakRef<Polled>(this);
    // The timer must not keep the context of a request that creates a login.
    runInEmptyContext(() => {
      const first = source.readNow ? Promise.resolve() : this.poll();
      void first.then(() => pollLater(follower, source.interval));
    });
  }

  get value(): T | undefined {
    return this.#value;
  }

  get interval(): number {
    return this.#source.interval;
  }

  get(): T | Promise<T> {
    return this.#value ?? this.#firstValue();
  }

  onChange(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  logTo(logger: Logger, fields: object = {}): void {
    this.#logger = logger;
    this.#fields = { ...fields, ...this.#lines.fields };
    if (this.#fault !== undefined) this.#logFault();
  }

  /** Reads the secret again. Never rejects. Calls at the same time share one read. */
  poll(): Promise<void> {
    this.#polling ??= this.#poll().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  #readNow(readNow: () => string): void {
    let text: string;
    try {
      text = readNow();
    } catch (error) {
      throw typeError(`${this.#use.option} cannot be read: ${messageOf(error)}`);
    }
    this.#value = this.#use.read(text, true);
    this.#digest = digestOf(text);
  }

  async #firstValue(): Promise<T> {
    await this.#polling;
    if (this.#value === undefined)
      throw new Error(`${this.#use.option} cannot be read: ${this.#fault}`);
    return this.#value;
  }

  async #poll(): Promise<void> {
    try {
      const text = await this.#source.poll();
      if (text === undefined) return;
      const digest = digestOf(text);
      if (digest !== this.#digest) await this.#change(text, digest);
    } catch (error) {
      const fault = messageOf(error);
      if (fault === this.#fault) return;
      this.#fault = fault;
      this.#logFault();
      return;
    }
    if (this.#fault === undefined) return;
    this.#fault = undefined;
    this.#logger?.info(this.#fields, this.#lines.works);
  }

  async #change(text: string, digest: string): Promise<void> {
    const value = this.#use.read(text, true);
    await this.#use.prepare?.(value);
    const isFirst = this.#value === undefined;
    this.#value = value;
    this.#digest = digest;
    if (!isFirst)
      this.#logger?.info(
        { ...this.#fields, ...this.#lines.describe?.(value) },
        this.#lines.changed,
      );
    for (const listener of this.#listeners) listener(value);
  }

  #logFault(): void {
    const inUse = this.#value === undefined ? 'none' : 'the last value';
    this.#logger?.error({ ...this.#fields, reason: this.#fault, inUse }, this.#lines.failed);
  }
}

const secretLines = {
  changed: 'a secret has changed',
  failed: 'a secret cannot be read',
  works: 'a secret can be read again',
};

/** Milliseconds that are enough for other processes of the host to notice a changed file. */
const leastSpread = 750;

/** Polls as long as the follower is in use. The app may have dropped the login. */
function pollLater(follower: WeakRef<Polled>, milliseconds: number): void {
  setTimeout(() => {
    const found = follower.deref();
    void found?.poll().then(() => pollLater(follower, found.interval));
  }, milliseconds).unref();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : typeof error;
}
