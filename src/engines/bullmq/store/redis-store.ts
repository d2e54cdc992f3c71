import type { Redis } from 'ioredis';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import { type Named, type Option, type OptionsOf, optionSet, text } from '../../../option-set.js';
import { type Logger, loggerOption } from '../../../options.js';
import type { LogPage, SharedStore, StoreEntry, StoreValue } from '../../../store/shared-store.js';
import type { RedisConnection } from '../connection/connection-option.js';
import { endConnection, hadNoEffect } from '../connection/connections.js';
import {
  connectRedis,
  explain,
  plainError,
  RedisTimeout,
  whenReady,
  withinTime,
} from '../connection/redis-connection.js';
import { infoField, warnIfVolatile } from '../connection/redis-info.js';
import { runScript } from '../connection/redis-script.js';
import { StoreChanges } from './store-changes.js';
import { ForeignStore, StoreOwners } from './store-owners.js';
import { append, change, storeKeys } from './store-scripts.js';

/** A row of an option that names the keys of a store. */
export const storePrefix: Option<string, string> = text({
  default: 'koa-taskflow',
  maxLength: 100,
  pattern: /^[^{}\s]+$/,
  accepted: 'text of 1 to 100 characters without braces or spaces',
});

const storeOptions = optionSet({
  /**
   * The prefix of its keys: 1 to 100 characters without braces or spaces. Two apps on one Redis
   * need different prefixes. If a login with another `secretKey` already uses the store at the same
   * path, every method rejects. Default `koa-taskflow`.
   */
  prefix: storePrefix,
  /** The app's pino logger, or `false` for silence. */
  logger: loggerOption,
});

/** Options of {@link redisStore}. */
export interface RedisStoreOptions extends OptionsOf<typeof storeOptions>, Named {}

/** A `SharedStore` in Redis. */
export interface RedisStore extends SharedStore {
  /** Closes its two connections. */
  close(): Promise<void>;
}

/**
 * Milliseconds that a write waits at most before it is sent, less than a request waits for the
 * store.
 */
const longestWait = 950;
/** Milliseconds between two checks whether this app still owns the store. */
const ownerInterval = 1000;

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
  return openRedisStore(connection, {
    ...storeOptions.read(options, { where: 'redisStore' }),
    option: 'prefix of redisStore',
  });
}

interface OpenOptions {
  prefix: string;
  logger: Logger;
  /** The option that sets the prefix. Without it, the store serves any number of apps. */
  option?: string;
  /** Whether Redis and each login are checked before the first request. Default `false`. */
  claimsAtOnce?: boolean;
}

/**
 * Opens a store whose options are checked. Each write is one script (`store-scripts.ts`), which
 * also appends the change to a stream. `StoreChanges` reads this stream on a connection of its own,
 * so that other processes see the change. `StoreOwners` prevents two apps from sharing the store by
 * accident.
 *
 * @throws TypeError or RangeError for a wrong connection.
 */
export function openRedisStore(
  connection: RedisConnection,
  { prefix, logger, option, claimsAtOnce = false }: OpenOptions,
): RedisStore {
  const keys = storeKeys(prefix);

  const redis = connectRedis(connection);
  redis.once(
    'ready',
    () => void Promise.all([warnOfEviction(redis, logger), warnIfVolatile(redis, logger)]),
  );
  const changes = new StoreChanges(connectRedis(redis), keys);
  const owners = new StoreOwners(keys.owners, `${option} ('${prefix}')`);
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
        ? 'The session store belongs to another app, so this app answers no request. Its log ' +
          'says what to change.'
        : undefined;
    return new TaskflowError('STORE_UNAVAILABLE', message, {
      cause,
      maybeDone,
      reported: true,
      detail,
    });
  };
  const ask = async <T>(command: () => Promise<T>, isWrite = false): Promise<T> => {
    let isSent = false;
    try {
      if (closed) throw new Error('the store is closed');
      const began = performance.now();
      await whenReady(redis);
      if (owners.state !== 'held') await withinTime(owners.check(redis));
      // The request has failed by then, so a write must not follow.
      if (isWrite && performance.now() - began > longestWait) throw new RedisTimeout(longestWait);
      isSent = isWrite;
      const answer = await withinTime(command());
      if (away) logger.info('Redis can be used for sessions again');
      away = false;
      return answer;
    } catch (cause) {
      throw unusable(cause, isSent && !hadNoEffect(cause));
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
  const look = (): void => void ask(() => owners.check(redis)).catch(() => undefined);
  // A failure is logged. Without the option, the first request connects, because a store that is
  // never used must not connect.
  if (claimsAtOnce) look();
  const alter = async (
    what: string,
    key: string,
    value: string,
    ttl: number,
    before = '',
  ): Promise<unknown> => {
    const now = Date.now();
    return ask(
      () =>
        runScript(redis, change, keys.changed(key), [
          what,
          key,
          value,
          now + Math.round(ttl * 1000),
          now,
          before,
        ]),
      true,
    );
  };

  return {
    async get(key) {
      const text = await ask(() => redis.get(keys.value(key)));
      return text === null ? undefined : parse(text);
    },
    async set(key, value, ttl) {
      await alter('set', key, JSON.stringify(value), ttl);
    },
    async replace(key, before, value, ttl) {
      const textOf = (json: StoreValue | undefined): string =>
        json === undefined ? '' : JSON.stringify(json);
      return (await alter('replace', key, textOf(value), ttl, textOf(before))) !== null;
    },
    async increment(key, ttl) {
      return Number(await alter('increment', key, '', ttl));
    },
    async append(log, entry, ttl) {
      const now = Date.now();
      const args = [JSON.stringify(entry), now + Math.round(ttl * 1000), now];
      await ask(() => runScript(redis, append, [keys.log(log)], args), true);
    },
    async page(log, cursor, limit = 50): Promise<LogPage> {
      const end = cursor === undefined || !/^\d+-\d+$/.test(cursor) ? '+' : `(${cursor}`;
      const rows = await ask(() => redis.xrevrange(keys.log(log), end, '-', 'COUNT', limit + 1));
      const shown = rows
        .slice(0, limit)
        .filter(([, [, , , expiresAt]]) => Number(expiresAt) > Date.now());
      // The oldest entries expire first, so a page with an expired entry is the last one.
      const more = rows.length > limit && shown.length === limit;
      return {
        items: shown.map(([, [, entry = 'null']]) => parse(entry)),
        nextCursor: more ? (shown.at(-1)?.[0] ?? null) : null,
      };
    },
    list: (prefix, after, limit) => ask(() => listed(prefix, after, limit)),
    async *watch(prefix, signal, { list = true } = {}) {
      try {
        yield* changes.watch(
          prefix,
          signal,
          list ? () => ask(() => valuesUnder(prefix)) : async () => [],
        );
      } catch (cause) {
        throw cause instanceof TaskflowError ? cause : unusable(cause);
      }
    },
    ...(option !== undefined && {
      claim(path: string, values: readonly string[]) {
        owners.add({ path, owners: values });
        if (claimsAtOnce) look();
        // If Redis loses its data, this app claims the store again before another app does.
        ownerTimer ??= runInEmptyContext(() =>
          setInterval(() => redis.status === 'ready' && look(), ownerInterval).unref(),
        );
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
  async function valuesUnder(prefix: string): Promise<StoreEntry[]> {
    const entries: StoreEntry[] = [];
    for (;;) {
      const some = await listed(prefix, entries.at(-1)?.key, 500);
      if (some.length === 0) return entries;
      entries.push(...some);
    }
  }

  /**
   * Returns the next entries under a prefix. The index may still have names of expired entries, so
   * several reads may be needed.
   */
  async function listed(
    prefix: string,
    after: string | undefined,
    limit: number,
  ): Promise<StoreEntry[]> {
    for (let from = after === undefined ? `[${prefix}` : `(${after}`; ; ) {
      const names = await redis.zrangebylex(
        keys.index,
        from,
        `(${prefix}\u{10ffff}`,
        'LIMIT',
        0,
        limit,
      );
      if (names.length === 0) return [];
      const [values, ends] = await Promise.all([
        redis.mget(names.map(keys.value)),
        redis.zmscore(keys.expiry, ...names),
      ]);
      const entries = names.flatMap((key, n): StoreEntry[] => {
        const value = values[n];
        return typeof value === 'string'
          ? [{ key, value: parse(value), expiresAt: Number(ends[n] ?? Date.now()) }]
          : [];
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
  const policy = infoField(memory, 'maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction')
    logger.warn(
      { policy },
      'the maxmemory-policy of Redis must be noeviction; with any other policy Redis may drop ' +
        'sessions and logouts when its memory is full',
    );
}
