import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { TaskflowError } from '../../errors.js';
import type { Owners } from '../table-home.js';
import { type Database, openDatabase, sqliteCode } from './database.js';

/**
 * Tells living processes from dead ones by a lock that the kernel releases when a process ends, however it ends. A
 * heartbeat would take a process for dead whose event loop is busy for a while; a lock does not.
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
      const why = (cause as { code?: unknown }).code === 'EEXIST' ? 'it is a file; move it away' : (cause as Error).message;
      const text = `'${this.#folder}', the folder in which each process holds a lock, cannot be used: ${why}`;
      throw new TaskflowError('ENGINE_UNAVAILABLE', text, { cause });
    }
  }

  /** Whether that process still lives. One without a file does not. */
  async isAlive(owner: string): Promise<boolean> {
    if (!readdirSync(this.#folder).includes(owner)) return false;
    const probe = await openDatabase(this.#file(owner));
    try {
      probe.exec('BEGIN EXCLUSIVE; COMMIT');
      return false;
    } catch (error) {
      // 5: SQLITE_BUSY. Whatever else goes wrong says nothing of that process, so it is left alone.
      return sqliteCode(error) !== undefined;
    } finally {
      probe.close();
    }
  }

  /**
   * Records that the event loop of this process turns. If the file of the lock was removed, takes the
   * lock again: without it, other processes would treat this one as dead and run its tasks again.
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
    const { mtimeMs = now } = statSync(this.#file(owner), { throwIfNoEntry: false }) ?? {};
    return Math.max(0, Math.round(now - mtimeMs) / 1000);
  }

  /** Removes what a dead process left. */
  forget(owner: string): void {
    for (const ending of ['', '-journal']) rmSync(this.#file(owner) + ending, { force: true });
  }

  release(owner: string): void {
    this.#released = true;
    if (!this.#own) return;
    this.#own.close();
    this.#own = undefined;
    this.forget(owner);
  }

  #file(owner: string): string {
    return join(this.#folder, owner);
  }
}
