import type { Redis } from 'ioredis';
import { Background } from '../../../background.js';
import type { Logger } from '../../../options.js';
import type { RedisConnection } from './connection-option.js';
import { writeOncePerTurn } from './one-write.js';
import { connectRedis, hintFor, keepDatabase, lastErrorOf, placeOf, plainError, RedisTimeout, unsent } from './redis-connection.js';

/** How BullMQ uses a connection of the caller: it defines its scripts and sends nothing by itself, because `RedisHealth` checks the version. */
export const lentConnection = { shared: true, blocking: false, skipVersionCheck: true, skipWaitingForReady: true } as const;

/** The two connections of an engine that do not wait for jobs. */
export interface Connections {
  /** For callers: a command fails soon if Redis is unreachable. */
  asking: Redis;
  /** For workers: a command waits until Redis is back, so that the end of an attempt is not lost. */
  patient: Redis;
}

/** Makes the connections of an engine, which connect when they are first used. @throws TypeError or RangeError if this is no connection. */
export function openConnections(connection: RedisConnection): Connections {
  const asking = connectRedis(connection);
  const patient = asking.duplicate({
    enableOfflineQueue: true,
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: true,
    lazyConnect: true,
  });
  keepDatabase(patient).on('error', () => {});
  // BullMQ duplicates it. A duplicate that connects only when BullMQ asks it to is given up for good if that first attempt fails.
  patient.options.lazyConnect = false;
  // Not for workers: Redis begins with the end of one task while this process still handles the next.
  writeOncePerTurn(asking);
  return { asking, patient };
}

/** Writes one line when Redis cannot be reached and one when it can again. Returns a function that ends that. */
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
      { redis: placeOf(redis), ...(last !== undefined && { err: plainError(last) }), ...(hint !== '' && { hint }) },
      'Redis is unreachable',
    );
  };
  redis.on('ready', ready).on('close', close);
  return () => void redis.off('ready', ready).off('close', close);
}

/** Background work that needs Redis. That Redis cannot be used is in the log already, see {@link logOutages} and `RedisHealth`. */
export class RedisWork extends Background {
  override failed(error: unknown, fields: object = {}): void {
    if (!isConnectionError(error) && !isPassing(error) && !(error instanceof RedisTimeout)) super.failed(plainError(error), fields);
  }
}

/**
 * Repeats what Redis did not answer, until it does or this process closes the connection. What is repeated may have been executed
 * before: the caller must notice that. Answers that Redis gives while it cannot write are repeated too.
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

/** Waits until what failed may be tried again. @throws the error, if another try would fail as well. */
export async function untilRepeatable(redis: Redis, error: unknown): Promise<void> {
  if (redis.status === 'end' || !(isConnectionError(error) || isPassing(error))) throw error;
  loadScriptsAgain(redis, error);
  await untilBetter(redis);
}

/** Answers of Redis that another try may not get: it starts, has no memory or disk left, changes its role, or lacks a permission. */
const passing =
  /\b(LOADING|READONLY|OOM|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|NOAUTH|NOPERM|WRONGPASS|NOSCRIPT|UNBLOCKED)\b/;

function isPassing(error: unknown): boolean {
  return isError(error) && isAnswer(error) && passing.test(error.message);
}

/** Whether Redis itself answered with this error. */
export function isAnswer(error: unknown): boolean {
  return isError(error) && error.name === 'ReplyError';
}

/** Whether an error says that a command was never sent. */
export function isUnsent(error: unknown): boolean {
  return isError(error) && error.message === unsent;
}

/** What ioredis says of a command whose connection was lost, or was not there. */
const lost: ReadonlySet<string> = new Set(['Connection is closed.', 'Command aborted due to connection close', unsent]);

/** Whether an error says that the connection is lost, and nothing about what was asked. */
export function isConnectionError(error: unknown): boolean {
  if (!isError(error) || isAnswer(error)) return false;
  return lost.has(error.message) || error.name === 'MaxRetriesPerRequestError' || error.syscall !== undefined;
}

interface AnyError {
  name: string;
  message: string;
  syscall?: unknown;
}

/** An error may come from another realm than this module. */
function isError(error: unknown): error is AnyError {
  return typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string';
}

/**
 * Connects again if Redis has lost its scripts. ioredis remembers per connection which ones Redis has, and in a transaction it
 * does not notice that this is no longer so.
 */
function loadScriptsAgain(redis: Redis, error: unknown): void {
  if (isError(error) && isAnswer(error) && error.message.startsWith('NOSCRIPT') && redis.status === 'ready') redis.disconnect(true);
}

/** Milliseconds before another try if the connection is there. */
const retryDelay = 1000;

/** Waits until the connection is back; a moment, if it never went away. */
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
 * Ends a connection for good, with all commands that wait for it. While ioredis waits for its next attempt, it has no connection,
 * as before its first attempt. Only in that first state does it end at once and without a timer that keeps the process alive.
 */
export function endConnection(redis: Redis): void {
  if (redis.status === 'reconnecting') redis.status = 'wait';
  redis.disconnect();
}
