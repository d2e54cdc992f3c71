import type { ChainableCommander } from 'ioredis';
import { redisScript } from '../connection/redis-script.js';

/** Minimum number of changes that are kept. A watcher that misses one reads all entries again. */
const keptChanges = 10_000;
/** Maximum number of entries per log, even if none has expired. */
const keptEntries = 1_000_000;
/** Maximum number of expired keys, or expired entries of a log, that each write removes. */
const sweptAtOnce = 10;

/** Returns the names of a store's keys. The braces keep all of them in one hash slot. */
export function storeKeys(prefix: string) {
  const at = (name: string): string => `{${prefix}}:${name}`;
  const index = at('index');
  const expiry = at('expiry');
  const changes = at('changes');
  const serial = at('serial');
  const value = (key: string): string => at(`value:${key}`);
  return {
    index,
    expiry,
    changes,
    serial,
    value,
    owners: at('owners'),
    log: (log: string): string => at(`log:${log}`),
    /** The keys of {@link change}. */
    changed: (key: string): string[] => [value(key), index, expiry, changes, serial],
  };
}

/**
 * Changes a value and notifies watchers.
 * KEYS: the value, the index by name, the index by expiry, the changes, their number.
 * ARGV: what to do, the name, the JSON, when it expires, now (Unix milliseconds), and for `replace`
 * the expected JSON. Empty JSON stands for no value: `replace` with an empty value deletes.
 */
export const change = redisScript(`
local what, name, value, expiresAt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now, before = tonumber(ARGV[5]), ARGV[6]
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
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ${keptChanges}, '*',
  'n', n, 'key', name, 'value', value, 'expiresAt', expiresAt)
local expired = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ${sweptAtOnce})
for _, old in ipairs(expired) do
  redis.call('ZREM', KEYS[2], old)
  redis.call('ZREM', KEYS[3], old)
end
return value
`);

/** An entry of another store. `value` is JSON text. */
interface MovedEntry {
  key: string;
  value: string;
  /** Unix milliseconds. */
  expiresAt: number;
}

/** Adds an entry in a transaction, unless the store already has one with that key. */
export function addIfAbsent(
  transaction: ChainableCommander,
  prefix: string,
  { key, value, expiresAt }: MovedEntry,
): void {
  const keys = storeKeys(prefix).changed(key);
  // The text of the script is sent, because a transaction cannot be repeated if Redis lacks it.
  transaction.eval(
    change.text,
    keys.length,
    ...keys,
    'replace',
    key,
    value,
    expiresAt,
    Date.now(),
    '',
  );
}

/** Adds an entry to a log. KEYS: the log. ARGV: the JSON, when it expires, now. */
export const append = redisScript(`
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ${sweptAtOnce})) do
  if tonumber(entry[2][4]) > tonumber(ARGV[3]) then break end
  redis.call('XDEL', KEYS[1], entry[1])
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ${keptEntries}, '*',
  'entry', ARGV[1], 'expiresAt', ARGV[2])
`);
