import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { type Logger, typeError } from '../../options.js';

/*
 * A file is followed without a timer: each use of its value looks at the file if the last look was
 * a quarter of a second ago. A look is one `stat`, which takes microseconds and follows symbolic
 * links, so it also sees the swap of a Kubernetes volume. A watcher would miss that.
 *
 * Many programs overwrite a file in place. Then it is empty or incomplete for a moment. So a
 * changed file is read when it has not changed for a fifth of a second.
 */

/** Milliseconds between two looks. */
const lookEvery = 250;
/** Milliseconds for which a changed file must stay the same before it is read. */
const settling = 200;
/** Milliseconds after which a fault that persists is logged again. */
const logEvery = 60_000;
const maxBytes = 16 * 2 ** 20;

interface FollowOptions<T> {
  /** What the file is, for errors and log lines, such as `the htpasswd file`. */
  what: string;
  path: string;
  /**
   * Makes the value from the content of the file. Throws if the content cannot be used. The error
   * must not contain it.
   */
  parse(content: Buffer): T;
  /** Called after a changed file was read. */
  onRead(value: T): void;
}

/** The value of a file. If the file changes, so does the value. */
export class FollowedFile<T> {
  /** The absolute path. A later change of the working directory has no effect on it. */
  readonly path: string;
  /** Logs faults. Nothing is logged until it is set. */
  logger: Logger | undefined;
  readonly #what: string;
  readonly #parse: (content: Buffer) => T;
  readonly #onRead: (value: T) => void;
  #value: T;
  /** Identifies the content that was read last, even if it could not be used. */
  #read = '';
  /** Why the content that was read last cannot be used. */
  #fault: unknown;
  /** Identifies the content that the last look found. */
  #seen = '';
  #lookedAt = performance.now();
  #logged: { reason: string; at: number } | undefined;

  /** @throws TypeError if the file cannot be read, or its content cannot be used. */
  constructor({ what, path, parse, onRead }: FollowOptions<T>) {
    this.path = resolve(path);
    this.#what = what;
    this.#parse = parse;
    this.#onRead = onRead;
    try {
      const { mark, content } = readWhole(this.path);
      this.#value = parse(content);
      this.#read = mark;
    } catch (cause) {
      throw typeError(`${what} '${this.path}' cannot be used: ${reasonOf(cause)}`, { cause });
    }
  }

  /**
   * Returns the value of the file, as it was at most half a second ago. If the file is missing or
   * cannot be used, returns its last value.
   */
  current(): T {
    const now = performance.now();
    if (now - this.#lookedAt >= lookEvery) {
      this.#lookedAt = now;
      try {
        if (this.#look()) this.#report(this.#fault, now);
      } catch (error) {
        this.#report(error, now);
      }
    }
    return this.#value;
  }

  /** Reads the file if it changed. Returns `false` if it is still changing. */
  #look(): boolean {
    const stat = statSync(this.path, { bigint: true });
    const mark = markOf(stat);
    const isSettled = mark === this.#seen || Date.now() - Number(stat.ctimeMs) >= settling;
    this.#seen = mark;
    if (mark === this.#read || !isSettled) return mark === this.#read;
    const found = readWhole(this.path);
    this.#read = found.mark;
    try {
      this.#value = this.#parse(found.content);
      this.#fault = undefined;
    } catch (error) {
      this.#fault = error;
      return true;
    }
    this.#onRead(this.#value);
    return true;
  }

  /** Logs a new fault at once, a fault that persists each minute, and the end of a fault. */
  #report(fault: unknown, now: number): void {
    const fields = { file: this.path };
    if (fault === undefined) {
      if (this.#logged) this.logger?.info(fields, `${this.#what} can be used again`);
      this.#logged = undefined;
      return;
    }
    const reason = reasonOf(fault);
    if (this.#logged?.reason === reason && now - this.#logged.at < logEvery) return;
    this.#logged = { reason, at: now };
    this.logger?.error(
      { ...fields, reason },
      `${this.#what} cannot be used, so its last valid content still counts`,
    );
  }
}

/**
 * Reads a file and what identifies its content.
 *
 * @throws Error if it is no regular file, is too large, or changes while it is read.
 */
function readWhole(path: string): { mark: string; content: Buffer } {
  // Without O_NONBLOCK, a named pipe would block the process until a program writes to it.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file, { bigint: true });
    if (!stat.isFile()) throw new Error('it is not a regular file');
    if (stat.size > maxBytes) throw new Error('it is larger than 16 MiB');
    const content = readFileSync(file);
    const mark = markOf(stat);
    if (markOf(fstatSync(file, { bigint: true })) !== mark)
      throw new Error('it changed while it was read');
    return { mark, content };
  } finally {
    closeSync(file);
  }
}

/** Returns a text that differs if the file was replaced or written. */
function markOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

/** Returns why a file cannot be used: what the parser says, or the error of the system. */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === 'ENOENT' ? 'it does not exist' : String(message);
}
