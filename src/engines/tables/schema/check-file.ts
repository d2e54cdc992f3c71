import { type BigIntStats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  applicationId,
  connectionClass,
  layoutVersion,
  preReleaseId,
  sqliteCode,
  unusable,
} from './database.js';

/**
 * Refuses a file that is not a task database, without changing the file. A file that is empty or
 * does not exist yet is accepted.
 *
 * The header is read through SQLite, not with `fs`. If this process closed a file descriptor that
 * SQLite does not know, it would lose every lock that SQLite holds on the file.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE with the reason why the file cannot be used.
 */
export async function checkFile(path: string): Promise<void> {
  const stats = statOf(path);
  if (!stats || stats.size === 0n) return;
  const { application, layout } = await readHeader(path);
  if (application === preReleaseId)
    throw unusable(path, 'it is from a pre-release of koa-taskflow; give the path of a new file');
  if (application !== applicationId) throw unusable(path, 'it is the database of another program');
  if (layout > layoutVersion)
    throw unusable(path, 'it was written by a newer version of koa-taskflow');
}

function statOf(path: string): BigIntStats | undefined {
  let stats: BigIntStats | undefined;
  try {
    stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (cause) {
    throw unusable(path, 'it cannot be read', cause);
  }
  if (stats?.isDirectory()) throw unusable(path, 'it is a folder');
  if (stats && !stats.isFile()) throw unusable(path, 'it is not a regular file');
  if (!stats && !statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory())
    throw unusable(path, 'its folder does not exist');
  return stats;
}

/**
 * Reads `application_id` and `user_version` from the header. The connection opens the file as
 * immutable: it takes no lock, replays no journal and creates no file, so a file of another program
 * stays unchanged.
 */
async function readHeader(path: string): Promise<{ application: number; layout: number }> {
  const Connection = await connectionClass();
  try {
    const connection = new Connection(`${pathToFileURL(path).href}?immutable=1`, {
      readOnly: true,
      defensive: false,
    });
    try {
      // Without this, SQLite reports a file as damaged while another process extends it.
      connection.exec('PRAGMA writable_schema = ON');
      return {
        application: connection.prepare('PRAGMA application_id').get().application_id,
        layout: connection.prepare('PRAGMA user_version').get().user_version,
      };
    } finally {
      connection.close();
    }
  } catch (cause) {
    // 26: SQLITE_NOTADB, 11: SQLITE_CORRUPT.
    const why = [26, 11].includes(sqliteCode(cause) ?? 0)
      ? 'it is not an SQLite database, or it is damaged'
      : 'it cannot be read';
    throw unusable(path, why, cause);
  }
}
