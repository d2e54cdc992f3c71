import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { TaskflowError } from '../../../errors.js';
import type { Database } from './database.js';

/**
 * Copies a database, as one transaction sees it, into a file that appears under its name only when
 * it is whole.
 *
 * @throws TaskflowError INVALID_INPUT if the path is taken or its folder is missing,
 * ENGINE_UNAVAILABLE if it cannot be written.
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
    throw new TaskflowError(
      'ENGINE_UNAVAILABLE',
      `the backup '${to}' could not be written: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Returns why no backup can be written to a path, or `undefined`. */
function wrongPath(to: string): string | undefined {
  const found = statSync(to, { throwIfNoEntry: false });
  if (found?.isDirectory())
    return `path is '${to}', which is a folder; give the path of a new file in it`;
  if (found)
    return (
      `path is '${to}', where a file exists already; a backup never replaces a file, so give ` +
      'another path or move that file'
    );
  const folder = dirname(resolve(to));
  return existsSync(folder)
    ? undefined
    : `path is '${to}', but the folder '${folder}' does not exist; create it first`;
}
