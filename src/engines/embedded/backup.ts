import { type ErrorCode, TaskflowError } from '../../errors.js';
import { packageFile } from '../../package-files.js';
import { startThread } from './thread-guard.js';

/** Why a copy on a thread failed. */
export interface CopyFailure {
  code: ErrorCode;
  message: string;
}

/** The files of a copy. */
export interface Copy {
  from: string;
  to: string;
}

const threadFile = packageFile('dist/engines/embedded/backup-thread.js');

/**
 * Copies a database on a separate thread with its own connection, so that the app and its writes do
 * not wait.
 */
export function copyFileOnThread(copy: Copy): Promise<void> {
  return new Promise((done, reject) => {
    const thread = startThread(threadFile, copy);
    thread.once('message', (failed: CopyFailure | undefined) =>
      failed === undefined ? done() : reject(new TaskflowError(failed.code, failed.message)),
    );
    const failed = (cause?: unknown): void =>
      reject(
        new TaskflowError(
          'ENGINE_UNAVAILABLE',
          `the backup '${copy.to}' could not be written: its thread ended`,
          { cause },
        ),
      );
    thread.once('error', failed);
    thread.once('exit', () => failed());
  });
}
