/** How often missing scripts are loaded for one transaction. */
export const mostLoads = 5;

/** A transaction that contains scripts of BullMQ. */
interface ScriptTransaction {
  /**
   * Executes the transaction. Resolves to whether Redis had all its scripts. If it lacked some, a
   * repetition must have the same effect as if this one had not been executed.
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
    if (loads === mostLoads)
      throw new Error(`Redis lacks a script of BullMQ although it was loaded ${mostLoads} times; check which program runs SCRIPT FLUSH`);
    await load();
  }
}
