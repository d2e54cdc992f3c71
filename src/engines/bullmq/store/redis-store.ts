import type { ChainableCommander, Redis } from 'ioredis';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import { type Logger, loggerOption, optionsObject, stringOption } from '../../../options.js';
import type { LogPage, SharedStore, StoreEntry, StoreValue } from '../../../store/shared-store.js';
import type { RedisConnection } from '../connection/connection-option.js';
import { endConnection, isAnswer, isUnsent } from '../connection/connections.js';
import { warnIfVolatile } from '../connection/persistence.js';
import { connectRedis, explain, plainError, whenReady, withinTime } from '../connection/redis-connection.js';
import { redisScript, runScript } from '../connection/redis-script.js';
import { StoreChanges } from './store-changes.js';
import { ForeignStore, StoreOwners } from './store-owners.js';

/** Options of {@link redisStore}. */
export interface RedisStoreOptions {
  /**
   * The prefix of its keys: 1 to 100 characters without braces and spaces. Two apps on one Redis
   * need different prefixes. If a login with another `secretKey` already uses the store at the same
   * path, every method rejects. Default `koa-taskflow`.
   */
  prefix?: string | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** A `SharedStore` in Redis. */
export interface RedisStore extends SharedStore {
  /** Closes its two connections. */
  close(): Promise<void>;
}

/** Milliseconds between two checks whether this app still owns the store. */
const ownerInterval = 1000;
/**
 * Minimum number of changes that the stream keeps. A watcher that misses one reads all entries
 * again.
 */
const keptChanges = 10_000;

/** Returns the key of a log. */
export function logKey(prefix: string, log: string): string {
  return `{${prefix}}:log:${log}`;
}

/** Returns the key of a value. */
function valueKey(prefix: string, key: string): string {
  return `{${prefix}}:value:${key}`;
}

function storeKeys(prefix: string): { index: string; expiry: string; changes: string; serial: string } {
  const at = (name: string): string => `{${prefix}}:${name}`;
  return { index: at('index'), expiry: at('expiry'), changes: at('changes'), serial: at('serial') };
}

/** Maximum number of entries per log, even if none has expired. */
const keptEntries = 1_000_000;
/** Maximum number of expired keys, or expired entries of a log, that each write removes. */
const sweptAtOnce = 10;

/**
 * Changes a value and notifies watchers.
 * KEYS: the value, the index by name, the index by expiry, the changes, their number.
 * ARGV: what to do, the name, the JSON, when it expires, now (Unix milliseconds), and for `replace`
 * the expected JSON. Empty JSON stands for no value: `replace` with an empty value deletes.
 */
const change = redisScript(`
local what, name, value, expiresAt, now, before = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local present = redis.call('GET', KEYS[1])
if what == 'replace' and (present or '') ~= before then return false end
if what == 'replace' and value == '' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
  return ''
end
if what == 'increment' then
  local n = tonumber(present)
  if n then expiresAt = redis.call('ZSCORE', KEYS[3], name) or expiresAt end
  value = string.format('%d', (n or 0) + 1)
end
redis.call('SET', KEYS[1], value, 'PX', math.max(1, math.ceil(tonumber(expiresAt) - now)))
redis.call('ZADD', KEYS[2], 0, name)
redis.call('ZADD', KEYS[3], expiresAt, name)
local n = redis.call('INCR', KEYS[5])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ${keptChanges}, '*', 'n', n, 'key', name, 'value', value, 'expiresAt', expiresAt)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ${sweptAtOnce})) do
  redis.call('ZREM', KEYS[2], old)
  redis.call('ZREM', KEYS[3], old)
end
return value
`);

/** An entry of another store. `value` is JSON text. */
export interface MovedEntry {
  key: string;
  value: string;
  /** Unix milliseconds. */
  expiresAt: number;
}

/** Adds an entry in a transaction, unless the store already has one with that key. */
export function addIfAbsent(transaction: ChainableCommander, prefix: string, { key, value, expiresAt }: MovedEntry): void {
  const { index, expiry, changes, serial } = storeKeys(prefix);
  const keys = [valueKey(prefix, key), index, expiry, changes, serial];
  // The text of the script is sent, because a transaction cannot be repeated if Redis lacks it.
  transaction.eval(change.text, keys.length, ...keys, 'replace', key, value, expiresAt, Date.now(), '');
}

/**
 * Adds an entry to a log. KEYS: the log. ARGV: the JSON, when it expires, now (Unix milliseconds).
 */
const append = redisScript(`
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ${sweptAtOnce})) do
  if tonumber(entry[2][4]) <= tonumber(ARGV[3]) then redis.call('XDEL', KEYS[1], entry[1]) else break end
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ${keptEntries}, '*', 'entry', ARGV[1], 'expiresAt', ARGV[2])
`);

/**
 * Stores sessions, revocations, the login throttle and the audit in Redis, so that all processes
 * and hosts share them. Redis must not evict keys, because an evicted logout would be undone. If
 * its `maxmemory-policy` is not `noeviction`, the store logs a warning.
 *
 * @throws TypeError or RangeError for a wrong option.
 * @example
 * ```ts
 * const store = redisStore('redis://127.0.0.1:6379');
 * const auth = createAuth({ strategies, store, secretKey: process.env.TASKFLOW_SECRET_KEY });
 * ```
 */
export function redisStore(connection: RedisConnection, options?: RedisStoreOptions): RedisStore {
  const given = optionsObject<RedisStoreOptions>('redisStore', options, ['prefix', 'logger']);
  const prefix = storePrefixOption('prefix', given.prefix);
  return openRedisStore(connection, { prefix, logger: loggerOption('logger', given.logger), option: 'prefix of redisStore' });
}

/** Reads an option that names the keys of a store. */
export function storePrefixOption(option: string, value: unknown): string {
  return stringOption(option, value, 'koa-taskflow', {
    maxLength: 100,
    pattern: /^[^{}\s]+$/,
    accepted: 'text of 1 to 100 characters without braces and spaces',
  });
}

interface OpenOptions {
  prefix: string;
  logger: Logger;
  /** The option that sets the prefix. Without it, the store serves any number of apps. */
  option?: string;
  /**
   * Whether Redis and each login are checked at once instead of at the first request. Default
   * `false`.
   */
  claimsAtOnce?: boolean;
}

/**
 * Opens a store whose options are checked.
 *
 * @throws TypeError or RangeError for a wrong connection.
 */
export function openRedisStore(connection: RedisConnection, { prefix, logger, option, claimsAtOnce = false }: OpenOptions): RedisStore {
  const keys = storeKeys(prefix);
  const valueAt = (key: string): string => valueKey(prefix, key);

  const redis = connectRedis(connection);
  redis.once('ready', () => void Promise.all([warnOfEviction(redis, logger), warnIfVolatile(redis, logger)]));
  const changes = new StoreChanges(connectRedis(redis), keys);
  const owners = new StoreOwners(`{${prefix}}:owners`, `${option} ('${prefix}')`);
  redis.on('ready', () => owners.doubt());
  let ownerTimer: NodeJS.Timeout | undefined;
  let closed = false;

  let away = false;
  /** Creates the error of a store that cannot be used. Only the first one is logged. */
  const unusable = (thrown: unknown, maybeDone = false): TaskflowError => {
    const cause = plainError(thrown);
    if (!away && !closed) logger.error({ err: cause }, 'Redis cannot be used for sessions');
    away = true;
    const message = `Redis cannot be used for sessions: ${explain(redis, thrown)}`;
    const detail =
      thrown instanceof ForeignStore
        ? 'The session store belongs to another app, so this app answers no request. Its log says what to change.'
        : undefined;
    return new TaskflowError('STORE_UNAVAILABLE', message, { cause, maybeDone, reported: true, detail });
  };
  const ask = async <T>(command: (redis: Redis) => Promise<T>, isWrite = false): Promise<T> => {
    let isSent = false;
    try {
      if (closed) throw new Error('the store is closed');
      await whenReady(redis);
      if (owners.state !== 'held') await withinTime(owners.check(redis));
      isSent = isWrite;
      const answer = await withinTime(command(redis));
      if (away) logger.info('Redis can be used for sessions again');
      away = false;
      return answer;
    } catch (cause) {
      throw unusable(cause, isSent && !isAnswer(cause) && !isUnsent(cause));
    }
  };
  /**
   * @throws TaskflowError STORE_UNAVAILABLE if the store belongs to another app, or if the user
   * lacks a permission.
   */
  const checkOwner = async (): Promise<void> => {
    // If Redis is unreachable, a request that needs the store reports it.
    if (redis.status === 'reconnecting' || redis.status === 'end') return;
    await ask(async () => undefined).catch((error: unknown) => {
      if (owners.state === 'refused') throw error;
    });
  };
  const look = (): void => void ask((client) => owners.check(client)).catch(() => undefined);
  // A failure is logged. Without the option, the first request connects, because a store that is
  // never used must not connect.
  if (claimsAtOnce) look();
  const alter = async (what: string, key: string, value: string, ttl: number, before = ''): Promise<unknown> => {
    const now = Date.now();
    const all = [valueAt(key), keys.index, keys.expiry, keys.changes, keys.serial];
    return ask((client) => runScript(client, change, all, [what, key, value, now + Math.round(ttl * 1000), now, before]), true);
  };

  return {
    async get(key) {
      const text = await ask((client) => client.get(valueAt(key)));
      return text === null ? undefined : parse(text);
    },
    async set(key, value, ttl) {
      await alter('set', key, JSON.stringify(value), ttl);
    },
    async replace(key, before, value, ttl) {
      const textOf = (json: StoreValue | undefined): string => (json === undefined ? '' : JSON.stringify(json));
      return (await alter('replace', key, textOf(value), ttl, textOf(before))) !== null;
    },
    async increment(key, ttl) {
      return Number(await alter('increment', key, '', ttl));
    },
    async append(log, entry, ttl) {
      const now = Date.now();
      const args = [JSON.stringify(entry), now + Math.round(ttl * 1000), now];
      await ask((client) => runScript(client, append, [logKey(prefix, log)], args), true);
    },
    async page(log, cursor, limit = 50): Promise<LogPage> {
      const end = cursor === undefined || !/^\d+-\d+$/.test(cursor) ? '+' : `(${cursor}`;
      const rows = await ask((client) => client.xrevrange(logKey(prefix, log), end, '-', 'COUNT', limit + 1));
      const shown = rows.slice(0, limit).filter(([, [, , , expiresAt]]) => Number(expiresAt) > Date.now());
      // The oldest entries expire first, so a page with an expired entry is the last one.
      const more = rows.length > limit && shown.length === limit;
      return { items: shown.map(([, [, entry = 'null']]) => parse(entry)), nextCursor: more ? (shown.at(-1)?.[0] ?? null) : null };
    },
    list: (prefix, after, limit) => ask((client) => listed(client, prefix, after, limit)),
    async *watch(prefix, signal, { list = true } = {}) {
      try {
        yield* changes.watch(prefix, signal, list ? () => ask((client) => valuesUnder(client, prefix)) : async () => []);
      } catch (cause) {
        throw cause instanceof TaskflowError ? cause : unusable(cause);
      }
    },
    ...(option !== undefined && {
      claim(path: string, values: readonly string[]) {
        owners.add({ path, owners: values });
        if (claimsAtOnce) look();
        // If Redis loses its data, this app claims the store again before another app does.
        ownerTimer ??= runInEmptyContext(() => setInterval(() => redis.status === 'ready' && look(), ownerInterval).unref());
        return () => (owners.state === 'held' ? undefined : checkOwner());
      },
    }),
    async close() {
      closed = true;
      clearInterval(ownerTimer);
      changes.close();
      endConnection(redis);
    },
  };

  /** Returns all entries under a prefix that have not expired. */
  async function valuesUnder(client: Redis, prefix: string): Promise<StoreEntry[]> {
    const entries: StoreEntry[] = [];
    for (;;) {
      const some = await listed(client, prefix, entries.at(-1)?.key, 500);
      if (some.length === 0) return entries;
      entries.push(...some);
    }
  }

  /**
   * Returns the next entries under a prefix. The index may still have names of expired entries, so
   * several reads may be needed.
   */
  async function listed(client: Redis, prefix: string, after: string | undefined, limit: number): Promise<StoreEntry[]> {
    for (let from = after === undefined ? `[${prefix}` : `(${after}`; ; ) {
      const names = await client.zrangebylex(keys.index, from, `(${prefix}\u{10ffff}`, 'LIMIT', 0, limit);
      if (names.length === 0) return [];
      const [values, ends] = await Promise.all([client.mget(names.map(valueAt)), client.zmscore(keys.expiry, ...names)]);
      const entries = names.flatMap((key, n): StoreEntry[] => {
        const value = values[n];
        return typeof value === 'string' ? [{ key, value: parse(value), expiresAt: Number(ends[n] ?? Date.now()) }] : [];
      });
      if (entries.length > 0) return entries;
      from = `(${names.at(-1)}`;
    }
  }
}

function parse(text: string): StoreValue {
  return JSON.parse(text) as StoreValue;
}

/** Warns if Redis may drop keys when its memory is full, because that would undo logouts. */
async function warnOfEviction(redis: Redis, logger: Logger): Promise<void> {
  const memory = await redis.info('memory').catch(() => '');
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
  if (policy !== undefined && policy !== 'noeviction')
    logger.warn(
      { policy },
      'the maxmemory-policy of Redis must be noeviction; with any other policy Redis may drop sessions and logouts when its memory is full',
    );
}
