import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../../errors.js';
import type { RedisConnection } from '../connection/connection-option.js';
import { checkMovePermissions } from '../connection/permissions.js';
import { redisTime } from '../connection/redis-clock.js';
import { connectRedis, explain, whenReady } from '../connection/redis-connection.js';
import { engineKeys, queueName } from '../keys.js';
import { maxLabels, QueueCatalog } from '../queues/queue-catalog.js';
import { PendingTasks, partitionsOf } from './pending-tasks.js';
import { type MovedCounts, MoveProgress, unusable } from './progress.js';
import { readSchedulesAndPauses } from './schedules-and-pauses.js';
import { moveLogs, moveShared } from './shared-entries.js';
import { SourceFile } from './source-file.js';

/** A move: the file, and where its tasks go. */
export interface Move {
  /** Path of the file. */
  from: string;
  to: RedisConnection;
  prefix: string;
  /** How many tasks of a name run at once across all processes, for tasks with such a limit. */
  concurrency?: ReadonlyMap<string, number>;
}

/** What all runs of the command have moved together. */
export interface Moved extends MovedCounts {
  /** Path of the file, which has the history. */
  file: string;
}

/** Timeout of the connection in milliseconds. No request waits, and Redis may be far away. */
const connectTimeout = 5000;

/**
 * Moves the work of a file to a prefix of Redis: pending tasks with their attempts, schedules,
 * pauses, the audit, and all shared entries, such as revoked sessions. Ended tasks stay in the
 * file, which is renamed to `.moved` in the end. If the move is interrupted, call it again: it
 * resumes, and each task is in Redis once.
 *
 * `SourceFile` locks the file for other processes, `MoveProgress` makes each step happen once, and
 * each other module moves one kind of data in steps.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE if the file is in use or is not a task database, if
 * Redis cannot be used, or if the prefix already has tasks.
 */
export async function moveToRedis({
  from,
  to,
  prefix,
  concurrency = new Map(),
}: Move): Promise<Moved> {
  const redis = connectRedis(to);
  let file: SourceFile | undefined;
  try {
    await whenReady(redis, connectTimeout);
    await checkMovePermissions(redis, engineKeys(prefix).moved);
    file = await SourceFile.open(from);
    return await moveFile({ file, redis, prefix, concurrency });
  } catch (error) {
    if (error instanceof TaskflowError) throw error;
    throw unusable(
      `the move stopped: ${explain(redis, error)} Run the command again to resume it.`,
    );
  } finally {
    file?.close();
    redis.disconnect();
  }
}

interface FileMove {
  file: SourceFile;
  redis: Redis;
  prefix: string;
  concurrency: ReadonlyMap<string, number>;
}

async function moveFile({ file, redis, prefix, concurrency }: FileMove): Promise<Moved> {
  const keys = engineKeys(prefix);
  checkQueues(file);
  const { origin, begun } = file.nameMove(prefix, randomUUID());
  const progress = new MoveProgress(redis, keys, origin);
  const isThere = await progress.hasBegun();
  if (begun && !isThere)
    throw unusable(
      'a part of this file was moved before, and this Redis does not have it: give --to the ' +
        'same Redis as before',
    );
  await file.takeAway();
  const { database } = file;
  const catalog = new QueueCatalog(redis, keys);
  const { write, ...counts } = readSchedulesAndPauses({
    database,
    keys,
    catalog,
    concurrency,
    now: await redisTime(redis),
  });
  await progress.begin(counts, async (transaction) => {
    // A worker that runs already has added its queues.
    await catalog.refresh();
    write(transaction);
  });
  file.begun();
  await catalog.refresh();
  const deps = { database, redis, keys, prefix, progress, catalog, concurrency };
  // Revoked sessions are moved first, so that the first task that starts finds them.
  await moveShared(deps);
  await moveLogs(deps);
  await new PendingTasks(deps).move();
  const moved = await progress.counts();
  file.finish();
  return { ...moved, file: file.moved };
}

/** Checks that Redis can have all queues, before the move begins. */
function checkQueues({ database }: SourceFile): void {
  const labels = new Set(partitionsOf(database).map(({ label }) => label));
  if (labels.size > maxLabels)
    throw unusable(
      `the pending tasks are in ${labels.size} queues, but on Redis there can be at most ` +
        `${maxLabels}. Let some of them run first.`,
    );
  for (const label of labels) queueName(label);
}
