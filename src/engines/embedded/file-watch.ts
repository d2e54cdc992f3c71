import { statSync } from 'node:fs';
import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import { sqliteCode } from '../tables/schema/database.js';

/**
 * Suffixes of the files of an open database: the file itself, its write-ahead log, and the index of
 * that log.
 */
const endings = ['', '-wal', '-shm'];
/** Minimum number of milliseconds between two checks of the files. */
const lookInterval = 100;

/**
 * Detects that an open database was deleted, replaced or emptied, or can no longer be read. SQLite
 * does not detect this. It keeps using the open files, and everything that it then writes is lost
 * when the process ends.
 */
export class FileWatch {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #identities: readonly string[];
  #lookedAt = performance.now();
  /** Why the files are not the ones that were opened; `undefined` if they are. */
  #missing: string | undefined;
  /** Why the files cannot be read; `undefined` if they can. */
  #unreadable: string | undefined;

  /** @param path An open database in WAL mode. */
  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    this.#identities = endings.map((ending) => identityOf(path + ending) ?? '');
  }

  /**
   * Returns whether the files are the ones that were opened. Checks them unless the last check is
   * recent, and logs each change of state once.
   */
  isPresent(): boolean {
    const now = performance.now();
    if (now - this.#lookedAt >= lookInterval) {
      this.#lookedAt = now;
      this.#change(() => {
        this.#missing = this.#look();
      });
    }
    return this.#missing === undefined;
  }

  /**
   * Checks the files.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the database cannot be used.
   */
  check(): void {
    if (this.isPresent() && this.#unreadable === undefined) return;
    throw new TaskflowError(
      'ENGINE_UNAVAILABLE',
      `the task database cannot be used: ${this.#why}`,
      { reported: true },
    );
  }

  /**
   * Records that reading the database failed. A lock timeout does not count, because it says
   * nothing about the file.
   */
  readFailed(error: unknown): void {
    // 5: SQLITE_BUSY, a lock timeout.
    if (sqliteCode(error) === 5) return;
    this.#change(() => {
      const why = error instanceof Error ? error.message : String(error);
      this.#unreadable = `it cannot be read: ${why}`;
    });
  }

  /** Records that reading the database worked. */
  readWorked(): void {
    this.#change(() => {
      this.#unreadable = undefined;
    });
  }

  get #why(): string | undefined {
    return this.#missing ?? this.#unreadable;
  }

  #change(set: () => void): void {
    const before = this.#why;
    set();
    const after = this.#why;
    if ((after === undefined) === (before === undefined)) return;
    if (after === undefined)
      this.#logger.info({ database: this.#path }, 'the task database can be used again');
    else
      this.#logger.error(
        { database: this.#path, reason: after },
        'the task database cannot be used',
      );
  }

  #look(): string | undefined {
    try {
      for (const [index, ending] of endings.entries()) {
        const file = this.#path + ending;
        const identity = identityOf(file);
        if (identity === undefined)
          return `'${file}' was deleted while it was open; restore it, then restart this process`;
        if (identity !== this.#identities[index])
          return `'${file}' was replaced while it was open; restart this process`;
      }
      if (statSync(this.#path).size === 0)
        return (
          `'${this.#path}' was emptied while it was open; ` +
          'restore it, then restart this process'
        );
      return undefined;
    } catch (error) {
      return `its files cannot be checked: ${(error as Error).message}`;
    }
  }
}

/**
 * Returns an identifier of a file that is unique on this host, or `undefined` if the file does not
 * exist.
 */
function identityOf(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}
