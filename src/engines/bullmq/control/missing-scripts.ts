import { isForgotten } from '../connection/redis-script.js';

/** Maximum number of times that missing scripts are loaded for one transaction. */
export const maxLoads = 5;

/** A transaction that contains scripts of BullMQ. */
interface ScriptTransaction {
  /**
   * Executes the transaction. Resolves to whether Redis had all its scripts. If it lacked some,
   * executing it again must have the same effect as executing it once.
   */
  execute(): Promise<boolean>;
  /** Runs the scripts outside of a transaction, for a job that does not exist. */
  load(): Promise<unknown>;
}

/**
 * Executes a transaction, and repeats it if Redis lacked a script, because its scripts were flushed
 * or evicted. ioredis sends the text of a missing script only outside of a transaction.
 *
 * @throws Error if Redis drops the scripts again each time they are loaded.
 */
export async function withScripts({ execute, load }: ScriptTransaction): Promise<void> {
  for (let loads = 0; !(await execute()); loads++) {
    if (loads === maxLoads)
      throw new Error(
        `Redis lacks a script of BullMQ although it was loaded ${maxLoads} times; check which program runs SCRIPT FLUSH`,
      );
    // Redis may have dropped the scripts again meanwhile.
    await load().catch((error: unknown) => {
      if (!isForgotten(error)) throw error;
    });
  }
}
