import { statSync } from 'node:fs';
import { messageOf, TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import { busy, sqliteCode } from '../tables/schema/database.js';

/**
 * Suffixes of the files of an open database: the file itself, its write-ahead log, and the index of
 * that log.
 */
const endings = ['', '-wal', '-shm'];
/** Minimum number of milliseconds between two checks of the files. */
const lookInterval = 100;

/** Checks of an open database. */
export type FileWatch = ReturnType<typeof watchFile>;

/**
 * Detects that an open database was deleted, replaced or emptied, or can no longer be read. SQLite
 * does not detect this. It keeps using the open files, and everything that it then writes is lost
 * when the process ends.
 *
 * @param path An open database in WAL mode.
 */
export function watchFile(path: string, logger: Logger) {
  const files = endings.map((ending) => path + ending);
  const identities = files.map((file) => identityOf(file) ?? '');
  let lookedAt = performance.now();
  /** Why the files are not the ones that were opened; `undefined` if they are. */
  let missing: string | undefined;
  /** Why the files cannot be read; `undefined` if they can. */
  let unreadable: string | undefined;

  const reason = (): string | undefined => missing ?? unreadable;

  const change = (set: () => void): void => {
    const before = reason();
    set();
    const after = reason();
    if ((after === undefined) === (before === undefined)) return;
    if (after === undefined) logger.info({ database: path }, 'the task database can be used again');
    else logger.error({ database: path, reason: after }, 'the task database cannot be used');
  };

  const look = (): string | undefined => {
    try {
      for (const [index, file] of files.entries()) {
        const identity = identityOf(file);
        if (identity === undefined)
          return `'${file}' was deleted while it was open; restore it, then restart this process`;
        if (identity !== identities[index])
          return `'${file}' was replaced while it was open; restart this process`;
      }
      return statSync(path).size === 0
        ? `'${path}' was emptied while it was open; restore it, then restart this process`
        : undefined;
    } catch (error) {
      return `its files cannot be checked: ${(error as Error).message}`;
    }
  };

  /**
   * Returns whether the files are the ones that were opened. Checks them unless the last check is
   * recent, and logs each change of state once.
   */
  const isPresent = (): boolean => {
    const now = performance.now();
    if (now - lookedAt >= lookInterval) {
      lookedAt = now;
      change(() => {
        missing = look();
      });
    }
    return missing === undefined;
  };

  return {
    isPresent,

    /**
     * Checks the files.
     *
     * @throws TaskflowError ENGINE_UNAVAILABLE if the database cannot be used.
     */
    check(): void {
      if (isPresent() && unreadable === undefined) return;
      throw new TaskflowError(
        'ENGINE_UNAVAILABLE',
        `the task database cannot be used: ${reason()}`,
        { reported: true },
      );
    },

    /**
     * Records that reading the database failed. A lock timeout does not count, because it says
     * nothing about the file.
     */
    readFailed(error: unknown): void {
      if (sqliteCode(error) === busy) return;
      change(() => {
        unreadable = `it cannot be read: ${messageOf(error)}`;
      });
    },

    /** Records that reading the database worked. */
    readWorked(): void {
      change(() => {
        unreadable = undefined;
      });
    },
  };
}

/**
 * Returns an identifier of a file that is unique on this host, or `undefined` if the file does not
 * exist.
 */
function identityOf(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}
