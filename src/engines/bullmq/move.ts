import { randomUUID } from 'node:crypto';
import { createReadStream, existsSync, renameSync, rmSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../errors.js';
import { copyDatabase } from '../embedded/backup.js';
import { checkFile } from '../embedded/check-file.js';
import { type Database, openDatabase, sqliteCode } from '../embedded/database.js';
import { layOut, prepareConnection } from '../embedded/layout.js';
import { JobLanes } from './job-lanes.js';
import { JobQueues } from './job-queues.js';
import { beginJournal, journalKeys, originOf, pieceBytes } from './journal-log.js';
import { connectRedis, plainError, type RedisConnection, whenReady, withinTime } from './redis-connection.js';
import { logKey } from './redis-store.js';
import { toWaiting, waitingTasks } from './waiting-jobs.js';

/** What is moved, and where to. */
export interface Move {
  /** Path of the file. */
  from: string;
  to: RedisConnection;
  prefix: string;
}

/** What was moved. */
export interface Moved {
  tasks: number;
  /** Those among them that wait, and are jobs of BullMQ now. */
  waiting: number;
  /** Entries of logs such as the audit. */
  entries: number;
  /** Where the file is now. */
  file: string;
}

/** Milliseconds that the Redis is waited for at first: no request waits here, and it may be far away. */
const patience = 5000;
/** Tasks, and entries of a log, that are handed over at once. */
const atOnce = 500;

/**
 * Moves all that a file has onto a Redis that has nothing under the prefix: tasks with their history, schedules, what is paused, the
 * audit; sessions are not. The file is renamed, first to `.moving`, so that nobody writes to it any more, and in the end to
 * `.moved`. Broken off at any point it goes on when it is called again.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE where the file is in use, or not one of ours, or the Redis cannot be used or has tasks.
 */
export async function moveToRedis({ from, to, prefix }: Move): Promise<Moved> {
  const [moving, moved] = [`${from}.moving`, `${from}.moved`];
  const redis = connectRedis(to);
  try {
    await whenReady(redis, patience);
    if (!existsSync(moving)) {
      if (!existsSync(from) && existsSync(moved)) throw unusable(`'${from}' was moved before; what it had is in '${moved}'`);
      if (!existsSync(from)) throw unusable(`there is no file '${from}'`);
      await takeAlone(from);
      renameSync(from, moving);
      rmSync(`${from}-owners`, { recursive: true, force: true });
    }
    const database = await openDatabase(moving);
    try {
      await begin(redis, prefix, moving, database);
      const entries = await moveLogs(redis, prefix, database);
      const waiting = await addJobs(redis, prefix, database);
      const tasks = Number(database.get('SELECT coalesce(sum(n), 0) AS n FROM tally')?.n);
      renameSync(moving, moved);
      return { tasks, waiting, entries, file: moved };
    } finally {
      database.close();
    }
  } catch (error) {
    if (error instanceof TaskflowError) throw error;
    throw unusable(plainError(error).message);
  } finally {
    redis.disconnect();
  }
}

/** Sees to it that nobody else has the file open, and that all of it is in it. */
async function takeAlone(path: string): Promise<void> {
  await checkFile(path);
  const database = await openDatabase(path);
  try {
    prepareConnection(database);
    layOut(database, path);
    database.exec('PRAGMA busy_timeout = 1000');
    // It leaves that mode only when it is nobody else's.
    const mode = database.get('PRAGMA journal_mode = DELETE')?.journal_mode;
    if (mode !== 'delete') throw unusable(inUse(path));
  } catch (error) {
    if (sqliteCode(error) === 5) throw unusable(inUse(path));
    throw error;
  } finally {
    database.close();
  }
}

const inUse = (path: string): string => `'${path}' is in use: stop every process that has it open first`;

async function begin(redis: Redis, prefix: string, path: string, database: Database): Promise<void> {
  const keys = journalKeys(prefix);
  const meta = database.all("SELECT key, value FROM meta WHERE key IN ('first_rev', 'rev') ORDER BY key");
  const origin = `file ${meta.map(({ value }) => value).join('-')}`;
  const present = await originOf(redis, keys);
  if (present === origin) return;
  if (present !== '' || !(await sendCopy(redis, { prefix, path, database, origin })))
    throw unusable(
      `an engine has used the prefix '${prefix}' of this Redis already: choose another --prefix, or move before its processes start`,
    );
}

interface Sending {
  prefix: string;
  path: string;
  database: Database;
  origin: string;
}

/** Sends a copy of the file, because only SQLite may open the file itself. Resolves to `false` if the prefix has been used meanwhile. */
async function sendCopy(redis: Redis, { prefix, path, database, origin }: Sending): Promise<boolean> {
  const copy = `${path}.copy`;
  rmSync(copy, { force: true });
  try {
    copyDatabase(database, copy);
    const content = createReadStream(copy, { highWaterMark: pieceBytes });
    return await beginJournal(redis, journalKeys(prefix), { id: randomUUID(), origin }, content);
  } finally {
    rmSync(copy, { force: true });
  }
}

/** Appends what the logs of the file have. Their ids are small numbers, so that whatever was appended since comes after them. */
async function moveLogs(redis: Redis, prefix: string, database: Database): Promise<number> {
  let entries = 0;
  for (const { log } of database.all('SELECT DISTINCT log FROM journal')) {
    const key = logKey(prefix, String(log));
    const [last] = await withinTime(redis.xrevrange(key, '+', '-', 'COUNT', 1));
    let after = Number(last?.[0].split('-')[0] ?? 0);
    for (;;) {
      const rows = database.all(
        'SELECT n, entry, expires_at FROM journal WHERE log = ? AND n > ? ORDER BY n LIMIT ?',
        log ?? null,
        after,
        atOnce,
      );
      if (rows.length === 0) break;
      const transaction = redis.multi();
      for (const { n, entry, expires_at: end } of rows) transaction.xadd(key, `${n}-0`, 'entry', String(entry), 'expiresAt', String(end));
      await withinTime(transaction.exec(), 5000);
      after = Number(rows.at(-1)?.n);
      entries += rows.length;
    }
  }
  return entries;
}

async function addJobs(redis: Redis, prefix: string, database: Database): Promise<number> {
  const queues = new JobQueues({ bullmq: await import('bullmq'), redis, prefix: `{${prefix}}`, token: randomUUID() });
  const lanes = new JobLanes(queues);
  let [waiting, after] = [0, 0];
  for (;;) {
    const rows = database.all(`${waitingTasks} WHERE status = 0 AND task.seq > ? ORDER BY task.seq LIMIT ?`, after, atOnce);
    if (rows.length === 0) break;
    await lanes.add(rows.map(toWaiting));
    after = Number(rows.at(-1)?.seq);
    waiting += rows.length;
  }
  await lanes.close();
  return waiting;
}

function unusable(why: string): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', why);
}
