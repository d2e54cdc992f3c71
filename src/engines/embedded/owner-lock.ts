import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { TaskflowError } from '../../errors.js';
import { type Database, openDatabase, sqliteCode } from '../tables/schema/database.js';
import type { Owners } from './storage-backend.js';

/**
 * Tells living processes from dead ones by a lock that the kernel releases when a process ends,
 * however it ends. A heartbeat would take a process for dead whose event loop is busy for a while;
 * a lock does not.
 */
export class OwnerLocks implements Owners {
  readonly #folder: string;
  #own: Database | undefined;
  #released = false;

  constructor(databasePath: string) {
    this.#folder = `${databasePath}-owners`;
  }

  /**
   * Takes the lock of this process, unless it has it already from a start that failed later on.
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
   * Whether that process still lives. A process without a file does not.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE that names the file if this cannot be found out.
   */
  async isAlive(owner: string): Promise<boolean> {
    let probe: Database | undefined;
    try {
      if (!readdirSync(this.#folder).includes(owner)) return false;
      probe = await openDatabase(this.#file(owner));
      probe.exec('BEGIN EXCLUSIVE; COMMIT');
      return false;
    } catch (error) {
      // 5: SQLITE_BUSY.
      if (sqliteCode(error) === 5) return true;
      throw this.#unusable(owner, error);
    } finally {
      probe?.close();
    }
  }

  /**
   * Records that the event loop of this process turns. If the file of the lock was removed, takes
   * the lock again: without it, other processes would treat this one as dead and run its tasks
   * again.
   */
  async sign(owner: string): Promise<void> {
    const now = new Date();
    try {
      await utimes(this.#file(owner), now, now);
    } catch (error) {
      // Any other error says nothing of the lock.
      if ((error as { code?: unknown }).code === 'ENOENT') await this.#takeAnew(owner);
    }
  }

  async #takeAnew(owner: string): Promise<void> {
    if (!this.#own) return;
    this.#own.close();
    this.#own = undefined;
    await this.take(owner);
    // The process has stopped meanwhile.
    if (this.#released) this.release(owner);
  }

  /** Seconds since a process last said so. */
  lastSign(owner: string, now: number): number {
    try {
      const { mtimeMs = now } = statSync(this.#file(owner), { throwIfNoEntry: false }) ?? {};
      return Math.max(0, Math.round(now - mtimeMs) / 1000);
    } catch (cause) {
      throw this.#unusable(owner, cause);
    }
  }

  /** Removes what a dead process left. */
  forget(owner: string): void {
    try {
      for (const ending of ['', '-journal']) rmSync(this.#file(owner) + ending, { force: true });
    } catch {
      // A file without a lock does not stand for a process any more, so it may stay.
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
