import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { TaskflowError } from '../../../errors.js';
import type { Database } from './database.js';

/**
 * Copies a database into a file, as a snapshot of one transaction. The file gets its name only when
 * the copy is complete.
 *
 * @throws TaskflowError INVALID_INPUT if the path already exists or its folder is missing,
 * ENGINE_UNAVAILABLE if the copy cannot be written.
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

/** Returns why no backup can be written to a path, or `undefined` if it can. */
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
