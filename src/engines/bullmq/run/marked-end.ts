import type { IRedisTransaction, RedisClient } from 'bullmq';
import { hasCode } from '../connection/redis-errors.js';
import { scriptTransaction } from '../connection/redis-script.js';
import { type MarkedEnd, recordOfEnd } from '../control/step-records.js';
import type { EngineKeys } from '../keys.js';

/** The end of a job that gets a marker. */
interface MarkedStep {
  client: RedisClient;
  keys: EngineKeys;
  end: MarkedEnd;
  /** Adds BullMQ's step to the transaction. */
  step(transaction: IRedisTransaction): unknown;
}

/**
 * Executes BullMQ's step that ends a job, and what follows it, in one transaction. Returns the
 * answer to the step.
 */
export async function endMarked(marked: MarkedStep): Promise<unknown> {
  let [error, answer] = await execute(marked, false);
  if (hasCode(error, 'NOSCRIPT')) [error, answer] = await execute(marked, true);
  if (error) throw error;
  return answer;
}

async function execute(
  { client, keys, end, step }: MarkedStep,
  withTexts: boolean,
): Promise<[error: Error | null, answer: unknown]> {
  const transaction = scriptTransaction(client, withTexts);
  step(transaction);
  const record = recordOfEnd(keys, end);
  // The text is sent each time, so Redis cannot lack this script.
  transaction.eval(record.text, record.keys.length, ...record.keys, ...record.args);
  return (await transaction.exec())?.[0] ?? [new Error('the transaction was dropped'), undefined];
}
