import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, TaskflowError } from '../../errors.js';
import { packageFile } from '../../package-files.js';
import type { Database } from '../tables/schema/database.js';
import { guardThread } from './thread-guard.js';

/**
 * Copies a database, as one transaction sees it, into a file that appears under its name only when it is whole.
 *
 * @throws TaskflowError INVALID_INPUT if the path is taken or its folder is missing, ENGINE_UNAVAILABLE if it cannot be written.
 */
export function copyDatabase(database: Database, to: string): void {
  const wrong = wrongPath(to);
  if (wrong !== undefined) throw new TaskflowError('INVALID_INPUT', wrong);
  const unfinished = `${to}.${process.pid}.unfinished`;
  try {
    database.run('VACUUM INTO ?', unfinished);
    renameSync(unfinished, to);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    throw new TaskflowError('ENGINE_UNAVAILABLE', `the backup '${to}' could not be written: ${(cause as Error).message}`, { cause });
  }
}

/** Returns why no backup can be written to a path, or `undefined`. */
function wrongPath(to: string): string | undefined {
  const found = statSync(to, { throwIfNoEntry: false });
  if (found?.isDirectory()) return `path is '${to}', which is a folder; give the path of a new file in it`;
  if (found) return `path is '${to}', where a file exists already; a backup never replaces a file, so give another path or move that file`;
  const folder = dirname(resolve(to));
  return existsSync(folder) ? undefined : `path is '${to}', but the folder '${folder}' does not exist; create it first`;
}

/** Why a copy on a thread failed. */
export interface CopyFailure {
  code: ErrorCode;
  message: string;
}

const threadFile = packageFile('dist/engines/embedded/backup-thread.js');

/** Does it on a thread of its own with its own connection, so that neither the app nor its writes wait. */
export function copyFileOnThread(from: string, to: string): Promise<void> {
  return new Promise((done, reject) => {
    const { shared, release } = guardThread();
    const thread = new Worker(threadFile, { workerData: { from, to, guard: shared }, execArgv: [] });
    thread.once('message', (failed: CopyFailure | undefined) =>
      failed === undefined ? done() : reject(new TaskflowError(failed.code, failed.message)),
    );
    const failed = (cause?: unknown): void =>
      reject(new TaskflowError('ENGINE_UNAVAILABLE', `the backup '${to}' could not be written: its thread ended`, { cause }));
    thread.once('error', failed);
    thread.once('exit', () => {
      release();
      failed();
    });
  });
}
