import { type RedisOptions as AnyRedisOptions, Redis } from 'ioredis';
import { rangeError, wrongType } from '../../options.js';

/** How answers are shaped is for this package to say. */
type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'>;

/** Where a Redis is: options of ioredis, a `redis://` URL, or a client of it, which is copied and stays as it is. */
export type RedisConnection = RedisOptions | Redis | string;

/** Milliseconds that a command waits for the connection, and for its answer: less than a request waits for its session. */
const patience = { connect: 700, answer: 900 };

const failing: RedisOptions = {
  // Who cannot be asked says so at once: "cannot tell" must not wait for minutes, and is never told as "no".
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: 5000,
  retryStrategy: (tries) => Math.min(50 * 2 ** tries, 2000),
};

/** A connection of its own, whose commands fail soon where the Redis is away, and which comes back by itself. Throws a TypeError for what is no connection. */
export function connectRedis(connection: RedisConnection): Redis {
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null))
    throw wrongType('connection', connection, 'options of ioredis, a redis:// URL or a client of ioredis');
  const own = { ...failing, replyMapping: 'legacy' as const };
  const redis =
    typeof connection === 'string'
      ? new Redis(connection, own)
      : isClient(connection)
        ? connection.duplicate(own)
        : new Redis({ ...connection, ...own });
  if (redis.options.keyPrefix) {
    redis.disconnect();
    throw rangeError("connection has the ioredis option 'keyPrefix', which scripts do not see; use the option 'prefix' instead");
  }
  // Each command tells of its own failure; without a listener the event would end the process.
  redis.on('error', () => {});
  return redis;
}

function isClient(connection: RedisOptions | Redis): connection is Redis {
  return typeof (connection as Partial<Redis>).duplicate === 'function';
}

const waiting = new WeakMap<Redis, Promise<void>>();

/** Waits until the connection is there, for some milliseconds. @throws Error where it is not. */
export function whenReady(redis: Redis, milliseconds = patience.connect): Promise<void> {
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
    let last = new Error('the Redis did not answer');
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      redis.off('ready', ready).off('error', note).off('end', ended);
      if (error) reject(error);
      else resolve();
    };
    const ready = (): void => settle();
    const ended = (): void => settle(new Error('the connection to the Redis is closed'));
    const note = (error: Error): void => {
      last = error;
    };
    const timer = setTimeout(() => settle(last), milliseconds);
    redis.on('ready', ready).on('error', note).on('end', ended);
    if (redis.status === 'end') ended();
  });
}

/** Redis did not answer in time. */
export class RedisTimeout extends Error {
  constructor(milliseconds: number) {
    super(`Redis did not answer within ${milliseconds / 1000} s`);
  }
}

/** The answer, or a failure where none comes: a connection may be dead without anybody having said so. */
export async function withinTime<T>(answer: Promise<T>, milliseconds = patience.answer): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new RedisTimeout(milliseconds)), milliseconds);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error of Redis without the command that it carries: that of a sign-in has the password. */
export function plainError(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const plain = new Error(thrown.message);
  plain.name = thrown.name;
  if (thrown.stack !== undefined) plain.stack = thrown.stack;
  return plain;
}
