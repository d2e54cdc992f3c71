import type { Redis } from 'ioredis';
import { Background } from '../../../background.js';
import type { Logger } from '../../../options.js';
import type { RedisConnection } from './connection-option.js';
import { writeOncePerTurn } from './one-write.js';
import {
  connectRedis,
  hintFor,
  keepDatabase,
  lastErrorOf,
  placeOf,
  plainError,
  RedisTimeout,
  unsent,
} from './redis-connection.js';
import { hasCode, isAnswer, isDeniedInScript, isError, isPassing } from './redis-errors.js';

/** The two connections of an engine that do not wait for jobs. */
interface Connections {
  /** For callers: a command fails soon if Redis is unreachable. */
  asking: Redis;
  /**
   * For workers: a command waits until Redis is back, so that the end of an attempt is not lost.
   */
  patient: Redis;
}

/**
 * Creates the connections of an engine, which connect when they are first used.
 *
 * @throws TypeError or RangeError if the connection is not valid.
 */
export function openConnections(connection: RedisConnection): Connections {
  const asking = connectRedis(connection);
  const patient = asking.duplicate({
    enableOfflineQueue: true,
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: true,
    lazyConnect: true,
  });
  keepDatabase(patient).on('error', () => {});
  // BullMQ duplicates this connection. If the first attempt of a lazy duplicate fails, BullMQ never
  // tries again.
  patient.options.lazyConnect = false;
  // Only for `asking`: workers write at once, so that Redis works on the end of one task while the
  // worker handles the next. Otherwise they would take turns.
  writeOncePerTurn(asking);
  return { asking, patient };
}

/**
 * Logs one line when Redis becomes unreachable and one when it is reachable again. Returns a
 * function that stops this.
 */
export function logOutages(redis: Redis, logger: Logger): () => void {
  let isLost = false;
  const ready = (): void => {
    if (isLost) logger.info({ redis: placeOf(redis) }, 'Redis is reachable again');
    isLost = false;
  };
  const close = (): void => {
    if (isLost) return;
    isLost = true;
    const last = lastErrorOf(redis);
    const hint = hintFor(redis, last).trim();
    logger.error(
      {
        redis: placeOf(redis),
        ...(last !== undefined && { err: plainError(last) }),
        ...(hint !== '' && { hint }),
      },
      'Redis is unreachable',
    );
  };
  redis.on('ready', ready).on('close', close);
  return () => void redis.off('ready', ready).off('close', close);
}

/**
 * Background work that needs Redis. It does not log that Redis cannot be used, because
 * {@link logOutages} and `RedisHealth` do.
 */
export class RedisWork extends Background {
  override failed(error: unknown, fields: object = {}): void {
    if (!isConnectionError(error) && !isPassing(error) && !(error instanceof RedisTimeout))
      super.failed(plainError(error), fields);
  }
}

/**
 * Repeats work until Redis answers or this process closes the connection. It also repeats work if
 * Redis answers that it cannot write now. Redis may already have executed the work, so the caller
 * must detect that.
 */
export async function persistently<T>(redis: Redis, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await untilRepeatable(redis, error);
    }
  }
}

/**
 * Waits until failed work can be tried again.
 *
 * @throws the error if another try would fail too.
 */
export async function untilRepeatable(redis: Redis, error: unknown): Promise<void> {
  // ioredis sends the text of a script that Redis lacks only once, and Redis may drop it again.
  if (hasCode(error, 'NOSCRIPT')) return;
  if (redis.status === 'end' || !(isConnectionError(error) || isPassing(error))) throw error;
  await untilBetter(redis);
}

/**
 * Returns whether an error proves that a command had no effect: it was never sent, or Redis refused
 * it. An error in the middle of a script does not prove it, because Redis does not undo what the
 * script did before. A missing permission can be such an error.
 */
export function hadNoEffect(error: unknown): boolean {
  const isUnsent = isError(error) && error.message === unsent;
  const isRefused = isPassing(error) && !isDeniedInScript(error);
  return isUnsent || isRefused || hasCode(error, 'NOSCRIPT', 'EXECABORT');
}

/** Messages of ioredis about a command whose connection was lost or missing. */
const lost: ReadonlySet<string> = new Set([
  'Connection is closed.',
  'Command aborted due to connection close',
  unsent,
]);

/** Returns whether an error says only that the connection is lost. */
export function isConnectionError(error: unknown): boolean {
  if (!isError(error) || isAnswer(error)) return false;
  return (
    lost.has(error.message) ||
    error.name === 'MaxRetriesPerRequestError' ||
    error.syscall !== undefined
  );
}

/** Milliseconds before another try while the connection is open. */
const retryDelay = 1000;

/** Waits until the connection is back, or for a moment if it was never lost. */
function untilBetter(redis: Redis): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      redis.off('ready', done).off('end', done);
      resolve();
    };
    const timer = redis.status === 'ready' ? setTimeout(done, retryDelay) : undefined;
    redis.on('ready', done).on('end', done);
  });
}

/**
 * Ends a connection for good, and rejects all commands that wait for it. While ioredis waits for
 * its next attempt, it has no connection, as before its first attempt. Only in that first state
 * does it end at once, without a timer that keeps the process alive.
 */
export function endConnection(redis: Redis): void {
  if (redis.status === 'reconnecting') redis.status = 'wait';
  redis.disconnect();
}
