import { type RedisOptions as AnyRedisOptions, Redis } from 'ioredis';
import { numberOption, rangeError, typeError, wrongSecret, wrongSecretType, wrongType } from '../../options.js';

/** Without the option that changes the shape of answers, because this package reads them. */
type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'> & {
  /** A `redis://` or `rediss://` URL, as BullMQ takes it beside options of ioredis. */
  url?: string;
};

/** Where Redis is: options of ioredis, a `redis://` or `rediss://` URL, or an ioredis client, which is duplicated and stays as it is. */
export type RedisConnection = RedisOptions | Redis | string;

/** Milliseconds that a command waits for the connection, and for its answer. A request waits longer than both for its session. */
const patience = { connect: 700, answer: 900 };

const failing: RedisOptions = {
  // An engine or a store that is never used must not keep the process alive.
  lazyConnect: true,
  // A command fails at once if Redis is unreachable, because a request must not wait for minutes to know that.
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: 5000,
  // ioredis waits so long for Redis to close its end too, and keeps the process alive meanwhile.
  disconnectTimeout: 100,
  retryStrategy: (tries) => Math.min(50 * 2 ** tries, 2000),
};

/** The last error of each lost connection. A command that cannot wait any longer for the connection rejects with it. */
const lastErrors = new WeakMap<Redis, Error>();

/**
 * Makes a connection of its own, which connects when {@link whenReady} first waits for it. Its commands fail soon if Redis is
 * unreachable, and it reconnects by itself.
 *
 * @throws TypeError or RangeError if this is no connection. The error never holds a password.
 */
export function connectRedis(connection: RedisConnection): Redis {
  const redis = clientOf(connection);
  // A URL may have it too.
  if (redis.options.keyPrefix)
    throw rangeError("connection has the ioredis option 'keyPrefix', which scripts do not see; use the option 'prefix' instead");
  // ioredis would silently use database 0.
  const db: unknown = redis.options.db;
  numberOption('connection.db', typeof db === 'string' && db !== '' ? Number(db) : db, undefined, { min: 0, integer: true });
  // Each command reports its own failure. Without a listener the event would end the process.
  redis.on('error', (error: Error) => lastErrors.set(redis, error)).on('ready', () => lastErrors.delete(redis));
  return redis;
}

const accepted = 'options of ioredis such as { host, port }, a redis:// or rediss:// URL, or an ioredis client';

function clientOf(connection: RedisConnection): Redis {
  const own = { ...failing, replyMapping: 'legacy' as const };
  if (typeof connection === 'string') return new Redis(redisUrl('connection', connection), own);
  if (typeof connection !== 'object' || connection === null || Object.prototype.toString.call(connection) !== '[object Object]')
    throw wrongSecretType('connection', connection, accepted);
  if (isClient(connection)) return connection.duplicate(own);
  const { url, ...options } = connection;
  // As of an environment variable that is not set: ioredis would use localhost.
  if (url === undefined && 'url' in connection) throw wrongSecretType('connection.url', url, 'a redis:// or rediss:// URL');
  checkOptions(options);
  const all = { ...options, ...own };
  return url === undefined ? new Redis(all) : new Redis(redisUrl('connection.url', url), all);
}

/** Checks a URL of Redis. It may hold a password, so the error does not show it. */
function redisUrl(option: string, url: unknown): string {
  if (typeof url !== 'string') throw wrongSecretType(option, url, 'a redis:// or rediss:// URL');
  if (!isRedisUrl(url)) throw wrongSecret(option, option === 'connection' ? accepted : 'a redis:// or rediss:// URL', RangeError);
  return url;
}

function isRedisUrl(text: string): boolean {
  try {
    const { protocol, username, password } = new URL(text);
    // ioredis decodes both, which fails for a lone percent sign.
    decodeURIComponent(username + password);
    return protocol === 'redis:' || protocol === 'rediss:';
  } catch {
    return false;
  }
}

/** A client of another library, or of a cluster, has `duplicate` too, which takes other arguments. */
function isClient(connection: RedisOptions | Redis): connection is Redis {
  const { duplicate, defineCommand, isCluster } = connection as Partial<Redis>;
  if (typeof duplicate !== 'function') return false;
  if (typeof defineCommand === 'function' && isCluster !== true) return true;
  throw typeError(`connection is a client of ${isCluster === true ? 'a Redis Cluster' : 'another library'}; it must be ${accepted}`);
}

/** Checks options in whose place ioredis would silently use its default host or port. */
function checkOptions(options: RedisOptions): void {
  const { host, port } = options;
  if (host !== undefined && (typeof host !== 'string' || host === ''))
    throw wrongType('connection.host', host, 'the name or address of a host');
  const number: unknown = typeof port === 'string' && port !== '' ? Number(port) : port;
  numberOption('connection.port', number, undefined, { min: 1, max: 65_535, integer: true });
}

const waiting = new WeakMap<Redis, Promise<void>>();

/** Where Redis is, for people. It never has a password. */
export function placeOf(redis: Redis): string {
  const { host, port, path, sentinels, name } = redis.options;
  if (sentinels && sentinels.length > 0) return `'${name}' of ${sentinels.map((each) => `${each.host}:${each.port}`).join(', ')}`;
  return path ?? `${host}:${port}`;
}

/** Connects if that has not begun, and waits some milliseconds until the connection is there. @throws Error if it is not. */
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
    let last = lastErrors.get(redis) ?? new RedisTimeout(milliseconds);
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      redis.off('ready', ready).off('error', note).off('end', ended);
      if (error) reject(error);
      else resolve();
    };
    const ready = (): void => settle();
    const ended = (): void => settle(new Error('the connection to Redis is closed'));
    const note = (error: Error): void => {
      last = error;
    };
    const timer = setTimeout(() => settle(last), milliseconds);
    redis.on('ready', ready).on('error', note).on('end', ended);
    if (redis.status === 'end') ended();
    // If this first attempt fails, ioredis tries again by itself.
    if (redis.status === 'wait') redis.connect().catch(() => undefined);
  });
}

/** Redis did not answer in time. */
export class RedisTimeout extends Error {
  constructor(milliseconds: number) {
    super(`Redis did not answer within ${milliseconds / 1000} s`);
  }
}

/** Resolves to the answer, or rejects with RedisTimeout: a connection may be dead although neither end has closed it. */
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

/** Copies an error of Redis without the command that caused it, because the command that signs in has the password. */
export function plainError(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const plain = new Error(thrown.message);
  plain.name = thrown.name;
  if (thrown.stack !== undefined) plain.stack = thrown.stack;
  return plain;
}
