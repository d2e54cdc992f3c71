import type { Redis } from 'ioredis';
import { rangeError, wrongType } from '../../../options.js';
import { afterWaiting, inTime } from '../../../waiting.js';
import { checkWhole, createClient, type RedisConnection } from './connection-option.js';
import { hasCode, isAnswer, refusalOf } from './redis-errors.js';

/**
 * Milliseconds that a command waits for the connection, and for its answer. A request waits longer
 * than both for its session. On a busy machine, the first connection of a process may take longer.
 */
const timeouts = { connect: 700, firstConnect: 5000, answer: 900 };

/** Options that this package sets, whatever the connection says. */
const fixed = {
  // An engine or a store that is never used must not keep the process alive.
  lazyConnect: true,
  // A command fails at once if Redis is unreachable, because a request must not wait for minutes.
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: timeouts.firstConnect,
  // ioredis waits this long for Redis to close the connection too, which keeps the process alive.
  disconnectTimeout: 100,
  // The longest pause is well below the smallest `lockDuration`: a worker must be able to take its
  // locks again in time.
  retryStrategy: (tries: number) => Math.min(50 * 2 ** tries, 2000),
  // Some commands wait for seconds until there is a job or a change. Calls have a time limit of
  // their own, see `withinTime`.
  commandTimeout: undefined,
  socketTimeout: undefined,
  // This package reads answers in the form that ioredis gives them by default.
  replyMapping: 'legacy',
  stringNumbers: false,
  enableAutoPipelining: false,
  monitor: false,
} as const;

/** Message of ioredis about a command that it did not send. */
export const unsent = "Stream isn't writeable and enableOfflineQueue options is false";

/**
 * The last error of each lost connection. A command that cannot wait any longer for the connection
 * rejects with it.
 */
const lastErrors = new WeakMap<Redis, Error>();
/** Connections that were ready once. Wrong options do not cause their later errors. */
const succeeded = new WeakSet<Redis>();
/** Connections whose first attempt has succeeded or failed. */
const attempted = new WeakSet<Redis>();

/**
 * Creates a connection, which connects when {@link whenReady} first waits for it. Its commands fail
 * soon if Redis is unreachable, and it reconnects by itself.
 *
 * @throws TypeError or RangeError if the connection is not valid. The error never contains a
 * password.
 */
export function connectRedis(connection: RedisConnection): Redis {
  const redis = createClient(connection, fixed);
  const { keyPrefix, port, db, protocol } = redis.options;
  // A URL and a client may have these options too.
  if (keyPrefix)
    throw rangeError(
      "connection has the ioredis option 'keyPrefix', which scripts do not see; use the option " +
        "'prefix' instead",
    );
  checkWhole('connection.port', port, { min: 1, max: 65_535 });
  // ioredis would silently use database 0.
  checkWhole('connection.db', db, { min: 0 });
  if (protocol !== 2 && protocol !== 3) throw wrongType('connection.protocol', protocol, '2 or 3');
  // Each command reports its own failure. Without a listener the event would end the process.
  redis.on('error', (error: Error) => {
    // This error follows the one that ended the connection.
    if (error.message !== unsent) lastErrors.set(redis, error);
  });
  redis.on('ready', () => {
    lastErrors.delete(redis);
    succeeded.add(redis);
    attempted.add(redis);
  });
  redis.on('close', () => attempted.add(redis));
  return keepDatabase(redis);
}

/**
 * Prevents the use of a connection if Redis does not have its database, because ioredis would
 * continue in database 0. It reconnects until Redis has the database.
 */
export function keepDatabase(redis: Redis): Redis {
  return redis.on('error', (error: Error & { command?: { name?: string } }) => {
    if (error.command?.name === 'select') redis.disconnect(true);
  });
}

const waiting = new WeakMap<Redis, Promise<void>>();

/** Returns why a connection was lost, if ioredis knows. */
export function lastErrorOf(redis: Redis): Error | undefined {
  return lastErrors.get(redis);
}

/** Returns the address of Redis for log lines and errors. It never contains a password. */
export function placeOf(redis: Redis): string {
  const { host, port, path, sentinels, name } = redis.options;
  if (sentinels && sentinels.length > 0)
    return `'${name}' of ${sentinels.map((each) => `${each.host}:${each.port}`).join(', ')}`;
  return path ?? `${host}:${port}`;
}

/**
 * Returns the sentences of an error message about Redis: what it answered, and what may be wrong.
 */
export function explain(redis: Redis, error: unknown): string {
  return `${plainError(error).message.replace(/\.$/, '')}.${hintFor(redis, error)}`;
}

/**
 * Returns what may be wrong if Redis cannot be used: a sentence with a space before it, or an empty
 * string if the error says enough.
 */
export function hintFor(redis: Redis, error: unknown): string {
  const { message } = plainError(error);
  const { db, tls } = redis.options;
  if (/DB index is out of range/.test(message))
    return (
      ` This Redis has no database ${db}; ` +
      '"databases" in its configuration sets how many it has.'
    );
  if (hasCode(error, 'OOM')) return ' Increase its maxmemory, or delete ended tasks.';
  if (hasCode(error, 'NOAUTH')) return ' Give the connection the password of this Redis.';
  if (/self-signed|unable to verify|unable to get .*issuer/i.test(message))
    return (
      ' If you trust this Redis, give its certificate in tls: { ca }, or set ' +
      'NODE_EXTRA_CA_CERTS.'
    );
  if (succeeded.has(redis)) return '';
  if (
    tls &&
    (error instanceof RedisTimeout ||
      /wrong version number|packet length|secure TLS connection|ECONNRESET|ETIMEDOUT/.test(message))
  )
    return ' If this Redis does not use TLS, connect with redis:// or without the option tls.';
  if (!tls && /ECONNRESET|EPIPE|Connection is closed/.test(message))
    return ' If this Redis uses TLS, connect with rediss:// or with the option tls.';
  return '';
}

/**
 * Connects if the connection was never used, and waits until it is ready. It waits longer for the
 * outcome of the first attempt, because only a failed attempt shows that Redis is unreachable.
 *
 * @throws Error if it is not ready in time.
 */
export function whenReady(redis: Redis, milliseconds = timeouts.connect): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve();
  let wait = waiting.get(redis);
  if (!wait) {
    wait = untilReady(redis, milliseconds).finally(() => waiting.delete(redis));
    waiting.set(redis, wait);
  }
  return wait;
}

function untilReady(redis: Redis, milliseconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      stopWaiting();
      redis.off('ready', ready).off('end', ended).off('close', failed);
      if (error) reject(error);
      else resolve();
    };
    const ready = (): void => settle();
    const ended = (): void =>
      settle(lastErrors.get(redis) ?? new Error('the connection to Redis is closed'));
    const wait = (time: number): (() => void) =>
      afterWaiting(time, () => settle(lastErrors.get(redis) ?? new RedisTimeout(time)));
    const failed = (): void => {
      stopWaiting();
      stopWaiting = wait(milliseconds);
    };
    let stopWaiting = wait(
      attempted.has(redis) ? milliseconds : Math.max(milliseconds, timeouts.firstConnect),
    );
    if (!attempted.has(redis)) redis.once('close', failed);
    redis.on('ready', ready).on('end', ended);
    if (redis.status === 'end') ended();
    // If this first attempt fails, ioredis tries again by itself.
    if (redis.status === 'wait') redis.connect().catch(() => undefined);
  });
}

/** Says that Redis did not answer in time. */
export class RedisTimeout extends Error {
  constructor(milliseconds: number) {
    super(`Redis did not answer within ${Math.round(milliseconds / 100) / 10} s`);
  }
}

/**
 * Resolves to the answer, or rejects with RedisTimeout: a connection may be dead although neither
 * end has closed it.
 */
export function withinTime<T>(answer: Promise<T>, milliseconds = timeouts.answer): Promise<T> {
  return inTime(answer, milliseconds, () => new RedisTimeout(milliseconds));
}

/** Pings Redis. Resolves to whether it answered. A missing permission is an answer too. */
export function answers(redis: Redis): Promise<boolean> {
  return redis.ping().then(() => true, isAnswer);
}

/**
 * Copies an error of Redis without the command that caused it, because the command that signs in
 * has the password. The copy says why Redis refused a transaction.
 */
export function plainError(thrown: unknown): Error {
  const error = refusalOf(thrown);
  if (!(error instanceof Error)) return new Error(String(error));
  const plain = new Error(error.message);
  plain.name = error.name;
  if (error.stack !== undefined) plain.stack = error.stack;
  return plain;
}
