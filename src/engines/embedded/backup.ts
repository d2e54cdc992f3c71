import { existsSync, renameSync, rmSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { TaskflowError } from '../../errors.js';
import { packageFile } from '../../package-files.js';
import type { Database } from './database.js';
import { guardThread } from './thread-guard.js';

/**
 * Copies a database, as one transaction sees it, into a file that appears under its name only when it is whole.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE where the file exists already or cannot be written.
 */
export function copyDatabase(database: Database, to: string): void {
  if (existsSync(to)) throw new TaskflowError('ENGINE_UNAVAILABLE', `there is a file '${to}' already; a backup never replaces one`);
  const unfinished = `${to}.${process.pid}.unfinished`;
  try {
    database.run('VACUUM INTO ?', unfinished);
    renameSync(unfinished, to);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    throw new TaskflowError('ENGINE_UNAVAILABLE', `the backup '${to}' could not be written: ${(cause as Error).message}`, { cause });
  }
}

const threadFile = packageFile('dist/engines/embedded/backup-thread.js');

/** Does it on a thread of its own with its own connection, so that neither the app nor its writes wait. */
export function copyFileOnThread(from: string, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const { shared, release } = guardThread();
    const thread = new Worker(threadFile, { workerData: { from, to, guard: shared }, execArgv: [] });
    thread.once('message', (failed: string | undefined) =>
      failed === undefined ? resolve() : reject(new TaskflowError('ENGINE_UNAVAILABLE', failed)),
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
