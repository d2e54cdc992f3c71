import { doctorCommand } from './command.js';

/*
 * Runs `doctor` in a process of its own, which `src/cli.ts` starts. What the module of the app
 * writes to standard output, such as its log, goes to standard error. Only the report, which is
 * sent to the parent, goes to standard output.
 */

/** What the process sends to its parent. */
export type ChildMessage = { output: string; code: number } | { error: string };

async function message(): Promise<ChildMessage> {
  try {
    return await doctorCommand(process.argv.slice(2));
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

// The module of the app may keep connections open, which would keep the process alive.
process.send?.(await message(), () => process.exit());
