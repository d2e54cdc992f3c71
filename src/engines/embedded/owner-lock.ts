import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, TaskflowError } from '../../errors.js';
import { busy, type Database, openDatabase, sqliteCode } from '../tables/schema/database.js';

/** Detects dead processes. */
export type Owners = ReturnType<typeof ownerLocks>;

/**
 * Detects dead processes by a file lock that the kernel releases when a process ends for any
 * reason. A heartbeat alone would treat a process with a blocked event loop as dead.
 */
export function ownerLocks(databasePath: string) {
  const folder = `${databasePath}-owners`;
  const file = (owner: string): string => join(folder, owner);
  let own: Database | undefined;
  let isReleased = false;

  /**
   * Takes the lock of this process, unless an earlier start that failed has already taken it.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the folder of locks cannot be used.
   */
  const take = async (owner: string): Promise<void> => {
    if (own) return;
    let taken: Database | undefined;
    try {
      mkdirSync(folder, { recursive: true });
      taken = await openDatabase(file(owner));
      taken.exec('BEGIN EXCLUSIVE');
      own = taken;
    } catch (cause) {
      taken?.close();
      const { code, message } = cause as NodeJS.ErrnoException;
      const why = code === 'EEXIST' ? 'it is a file; move it away' : message;
      throw unavailable(
        `'${folder}', the folder in which each process holds a lock, cannot be used: ${why}`,
        cause,
      );
    }
  };

  const letGo = (): void => {
    own?.close();
    own = undefined;
  };

  /** Removes the lock file of a dead process. */
  const forget = (owner: string): void => {
    try {
      for (const ending of ['', '-journal']) rmSync(file(owner) + ending, { force: true });
    } catch {
      // A lock file without a lock has no effect, so it may stay.
    }
  };

  /** Releases the lock of this process. */
  const release = (owner: string): void => {
    isReleased = true;
    if (!own) return;
    letGo();
    forget(owner);
  };

  const unchecked = (owner: string, cause: unknown): TaskflowError =>
    unavailable(
      `'${file(owner)}', the lock of another process, cannot be checked: ${messageOf(cause)}`,
      cause,
    );

  return {
    take,
    forget,
    release,

    /**
     * Returns whether a process is alive. A process without a lock file is dead.
     *
     * @throws TaskflowError ENGINE_UNAVAILABLE with the name of the file if the lock cannot be
     * checked.
     */
    async isAlive(owner: string): Promise<boolean> {
      let probe: Database | undefined;
      try {
        if (!readdirSync(folder).includes(owner)) return false;
        probe = await openDatabase(file(owner));
        probe.exec('BEGIN EXCLUSIVE; COMMIT');
        return false;
      } catch (error) {
        // The process holds its lock.
        if (sqliteCode(error) === busy) return true;
        throw unchecked(owner, error);
      } finally {
        probe?.close();
      }
    },

    /**
     * Records a heartbeat. If the lock file was removed, takes the lock again. Otherwise other
     * processes would treat this one as dead and run its tasks again.
     */
    async sign(owner: string): Promise<void> {
      const now = new Date();
      try {
        await utimes(file(owner), now, now);
      } catch (error) {
        // Any other error does not mean that the lock is lost.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !own) return;
        letGo();
        await take(owner);
        // The process stopped while the lock was taken again.
        if (isReleased) release(owner);
      }
    },

    /** Returns the seconds since the last heartbeat of a process. */
    lastSign(owner: string, now: number): number {
      try {
        const { mtimeMs = now } = statSync(file(owner), { throwIfNoEntry: false }) ?? {};
        return Math.max(0, Math.round(now - mtimeMs) / 1000);
      } catch (cause) {
        throw unchecked(owner, cause);
      }
    },
  };
}

function unavailable(message: string, cause: unknown): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', message, { cause });
}
