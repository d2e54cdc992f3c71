import type { IRedisTransaction, RedisClient } from 'bullmq';
import type { ChainableCommander } from 'ioredis';
import { isForgotten } from '../connection/redis-script.js';
import { withScripts } from '../control/missing-scripts.js';
import { recordsOfEnd } from '../control/step-records.js';
import type { EngineKeys } from '../keys.js';

/** The end of a job that gets a marker. */
interface MarkedEnd {
  client: RedisClient;
  keys: EngineKeys;
  end: Parameters<typeof recordsOfEnd>[1];
  /** Adds BullMQ's step to the transaction. */
  step(transaction: IRedisTransaction): unknown;
  /** Makes Redis load the script of the step. */
  load(): Promise<unknown>;
}

/**
 * Executes BullMQ's step that ends a job, and what follows it, in one transaction. Returns the
 * answer to the step.
 */
export async function endMarked({ client, keys, end, step, load }: MarkedEnd): Promise<unknown> {
  let answer: unknown;
  const execute = async (): Promise<boolean> => {
    // This is ioredis's transaction; BullMQ's type describes only a part of it.
    const transaction = client.multi() as IRedisTransaction & Pick<ChainableCommander, 'eval'>;
    step(transaction);
    for (const send of recordsOfEnd(keys, end)) send(transaction);
    const [error, raw] = (await transaction.exec())?.[0] ?? [
      new Error('the transaction was dropped'),
      undefined,
    ];
    if (error && !isForgotten(error)) throw error;
    answer = raw;
    return !error;
  };
  await withScripts({ execute, load });
  return answer;
}
