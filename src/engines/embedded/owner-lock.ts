import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { TaskflowError } from '../../errors.js';
import { type Database, openDatabase, sqliteCode } from '../tables/schema/database.js';
import type { Owners } from './storage-backend.js';

/**
 * Detects dead processes by a file lock that the kernel releases when a process ends for any
 * reason. A heartbeat alone would treat a process with a blocked event loop as dead.
 */
export class OwnerLocks implements Owners {
  readonly #folder: string;
  #own: Database | undefined;
  #released = false;

  constructor(databasePath: string) {
    this.#folder = `${databasePath}-owners`;
  }

  /**
   * Takes the lock of this process, unless an earlier start that failed has already taken it.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the folder of locks cannot be used.
   */
  async take(owner: string): Promise<void> {
    if (this.#own) return;
    let own: Database | undefined;
    try {
      mkdirSync(this.#folder, { recursive: true });
      own = await openDatabase(this.#file(owner));
      own.exec('BEGIN EXCLUSIVE');
      this.#own = own;
    } catch (cause) {
      own?.close();
      const why =
        (cause as { code?: unknown }).code === 'EEXIST'
          ? 'it is a file; move it away'
          : (cause as Error).message;
      const text =
        `'${this.#folder}', the folder in which each process holds a lock, cannot be used: ` +
        `${why}`;
      throw new TaskflowError('ENGINE_UNAVAILABLE', text, { cause });
    }
  }

  /**
   * Returns whether a process is alive. A process without a lock file is dead.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE with the name of the file if the lock cannot be
   * checked.
   */
  async isAlive(owner: string): Promise<boolean> {
    let probe: Database | undefined;
    try {
      if (!readdirSync(this.#folder).includes(owner)) return false;
      probe = await openDatabase(this.#file(owner));
      probe.exec('BEGIN EXCLUSIVE; COMMIT');
      return false;
    } catch (error) {
      // 5: SQLITE_BUSY. The process holds its lock.
      if (sqliteCode(error) === 5) return true;
      throw this.#unusable(owner, error);
    } finally {
      probe?.close();
    }
  }

  /**
   * Records a heartbeat. If the lock file was removed, takes the lock again. Otherwise other
   * processes would treat this one as dead and run its tasks again.
   */
  async sign(owner: string): Promise<void> {
    const now = new Date();
    try {
      await utimes(this.#file(owner), now, now);
    } catch (error) {
      // Any other error does not mean that the lock is lost.
      if ((error as { code?: unknown }).code === 'ENOENT') await this.#takeAnew(owner);
    }
  }

  async #takeAnew(owner: string): Promise<void> {
    if (!this.#own) return;
    this.#own.close();
    this.#own = undefined;
    await this.take(owner);
    // The process stopped while the lock was taken again.
    if (this.#released) this.release(owner);
  }

  /** Returns the seconds since the last heartbeat of a process. */
  lastSign(owner: string, now: number): number {
    try {
      const { mtimeMs = now } = statSync(this.#file(owner), { throwIfNoEntry: false }) ?? {};
      return Math.max(0, Math.round(now - mtimeMs) / 1000);
    } catch (cause) {
      throw this.#unusable(owner, cause);
    }
  }

  /** Removes the lock file of a dead process. */
  forget(owner: string): void {
    try {
      for (const ending of ['', '-journal']) rmSync(this.#file(owner) + ending, { force: true });
    } catch {
      // A lock file without a lock has no effect, so it may stay.
    }
  }

  release(owner: string): void {
    this.#released = true;
    if (!this.#own) return;
    this.#own.close();
    this.#own = undefined;
    this.forget(owner);
  }

  #unusable(owner: string, cause: unknown): TaskflowError {
    const text =
      `'${this.#file(owner)}', the lock of another process, cannot be checked: ` +
      `${(cause as Error).message}`;
    return new TaskflowError('ENGINE_UNAVAILABLE', text, { cause });
  }

  #file(owner: string): string {
    return join(this.#folder, owner);
  }
}
