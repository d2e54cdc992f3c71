import { createHash } from 'node:crypto';
import type { IRedisTransaction, RedisClient } from 'bullmq';
import type { ChainableCommander, Redis } from 'ioredis';
import { hasCode } from './redis-errors.js';

/** A script that Redis runs as one step. */
export interface RedisScript {
  readonly text: string;
  readonly sha: string;
}

export function redisScript(text: string): RedisScript {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** A key or an argument of a script. */
export type ScriptValue = string | number | Buffer;

/**
 * Runs a script by its hash. Its text is sent only if Redis does not have the script.
 *
 * @param sending The scripts whose texts are on their way on this connection. If many calls find at
 * once that Redis lacks a script, only the first of them sends the text.
 */
export async function runScript(
  redis: Redis,
  script: RedisScript,
  keys: readonly ScriptValue[],
  args: readonly ScriptValue[],
  sending?: Set<RedisScript>,
): Promise<unknown> {
  const { text, sha } = script;
  try {
    return await redis.evalsha(sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!hasCode(error, 'NOSCRIPT')) throw error;
  }
  if (sending?.has(script)) return runScript(redis, script, keys, args);
  sending?.add(script);
  try {
    return await redis.eval(text, keys.length, ...keys, ...args);
  } finally {
    sending?.delete(script);
  }
}

/**
 * Repeats a call of a script of BullMQ while Redis lacks the script. ioredis sends the text of such
 * a script only once, and Redis may drop it again.
 */
export async function untilScriptRuns<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!hasCode(error, 'NOSCRIPT')) throw error;
    }
  }
}

/** A transaction of ioredis. BullMQ's type declares only a part of it. */
export type ScriptTransaction = IRedisTransaction & ChainableCommander;

/** What Redis answers to a command of a transaction. */
type TransactionAnswer = [error: Error | null, value: unknown];

/**
 * Executes a transaction that `fill` fills with scripts of BullMQ, or with commands that were
 * defined on the connection. ioredis sends the text of a script that Redis lacks only outside of a
 * transaction. If the answer shows that Redis lacked a script (NOSCRIPT), `fill` fills another
 * transaction, which sends the text of each script once. So it must be possible to repeat what the
 * other commands do.
 */
export async function transact(
  client: RedisClient,
  fill: (transaction: ScriptTransaction) => void,
): Promise<TransactionAnswer[]> {
  for (let withTexts = false; ; withTexts = true) {
    const transaction = scriptTransaction(client, withTexts);
    fill(transaction);
    const answers = await transaction.exec();
    if (!answers) throw new Error('the transaction was dropped');
    if (withTexts || !answers.some(([error]) => hasCode(error, 'NOSCRIPT'))) return answers;
  }
}

/**
 * Begins a transaction that runs scripts of BullMQ or commands that were defined on the connection.
 * `withTexts`: it sends the text of each script once, so that Redis cannot lack it.
 */
export function scriptTransaction(client: RedisClient, withTexts = false): ScriptTransaction {
  const transaction = client.multi() as ScriptTransaction;
  if (!withTexts) return transaction;
  const { scriptsSet } = client as unknown as {
    scriptsSet: Record<string, { lua: string; numberOfKeys: number }>;
  };
  const sent = new Set<string>();
  const { runCommand } = transaction;
  transaction.runCommand = (name: string, args: (string | number)[]) => {
    const script = scriptsSet[name];
    if (!script || sent.has(name)) return runCommand.call(transaction, name, args);
    sent.add(name);
    transaction.eval(script.lua, script.numberOfKeys, ...args);
    return transaction;
  };
  return transaction;
}
