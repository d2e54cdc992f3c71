import type { Redis } from 'ioredis';
import { plainError } from './redis-connection.js';
import { hasCode } from './redis-errors.js';

/** Redis answers, but this engine cannot work with it as it is. */
export class UnusableRedis extends Error {}

/** Splits a list of commands into their words. */
function commandsOf(text: string): string[][] {
  return text.split(/[,\n]/).map((command) => command.trim().split(' '));
}

/**
 * Commands that the user must be allowed to run, each with as many arguments as it needs. `k`
 * stands for a key. Scripts of BullMQ 6.7 and of this package call most of them, and Redis checks
 * the permissions of calls in scripts too.
 */
export const neededCommands = commandsOf(`info, evalsha s 1 k, eval s 1 k, bzpopmin k 1
  xread streams k 0, get k, mget k, set k v, del k, exists k, incr k, rename k k, persist k
  pexpire k 1, pttl k, hget k f, hmget k f, hgetall k, hexists k f, hset k f v, hmset k f v
  hsetnx k f v, hdel k f, hincrby k f 1, llen k, lindex k 0, lrange k 0 1, lpos k v, lpush k v
  rpush k v, lpop k, rpoplpush k k, lrem k 1 v, lset k 0 v, ltrim k 0 1, sadd k v, srem k v
  scard k, smembers k, zadd k 1 v, zrem k v, zcard k, zcount k 0 1, zscore k v, zmscore k v
  zpopmin k, zrange k 0 1, zrangebyscore k 0 1, zrangebylex k - +, zrevrange k 0 1
  zrevrangebyscore k 1 0, zremrangebyrank k 0 1, zremrangebyscore k 0 1, xadd k * f v, xdel k 0
  xtrim k maxlen 1, xrange k - +, xrevrange k + -`);

/** Commands that the store of a login needs, in the same form. */
export const storeCommands: readonly (readonly string[])[] =
  commandsOf(`evalsha s 1 k, eval s 1 k, get k, mget k, set k v, del k, incr k, hget k f, hset k f v
  zadd k 1 v, zrem k v, zscore k v, zmscore k v, zrangebylex k - +, zrangebyscore k 0 1
  xadd k * f v, xdel k 0, xrange k - +, xrevrange k + -, xread streams k 0`);

/**
 * Checks that Redis lets this user run every command that a move needs. `key`: a key of the engine.
 *
 * @throws UnusableRedis that names the first command that is not allowed.
 */
export async function checkMovePermissions(redis: Redis, key: string): Promise<void> {
  await checkPermissions(redis, key);
  // These two cannot be queued in a transaction.
  await callAll(redis, key, [['watch', key], ['unwatch']]);
}

/**
 * Checks that Redis lets this user run every command that the engine needs, on keys of the engine.
 * The commands are queued in a transaction that is discarded: Redis checks the permission of a
 * command before it queues it, and executes none.
 *
 * @param key A key of the engine. It is neither read nor written.
 * @param needed The commands, if not those of the engine.
 * @throws UnusableRedis that names the first command that is not allowed.
 */
export async function checkPermissions(
  redis: Redis,
  key: string,
  needed: typeof storeCommands = neededCommands,
): Promise<void> {
  await callAll(redis, key, [
    ['multi'],
    ...needed.map((words) => words.map((word) => (word === 'k' ? key : word))),
    ['discard'],
    // `exec` cannot be queued.
    ['multi'],
    ['exec'],
  ]);
}

/**
 * Calls commands in one turn of the event loop, so that no command of another caller comes between
 * them.
 *
 * @throws UnusableRedis that names the first command that is not allowed, or another error of
 * Redis.
 */
async function callAll(
  redis: Redis,
  key: string,
  commands: readonly (readonly string[])[],
): Promise<void> {
  const answers = await Promise.allSettled(
    commands.map(([name = '', ...args]) => redis.call(name, ...args)),
  );
  for (const [n, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') continue;
    const { message } = plainError(answer.reason);
    if (!hasCode(answer.reason, 'NOPERM')) throw plainError(answer.reason);
    throw new UnusableRedis(
      `the user may not run the command '${commands[n]?.[0]}' on keys like '${key}' (${message})`,
    );
  }
}
