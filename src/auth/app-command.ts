import type { CommandResult } from './app-module.js';
import { doctorCommand } from './doctor/command.js';
import { tokenCommand } from './token-command.js';
import { unpinCommand } from './unpin-command.js';

/*
 * Runs a command that imports the module of an app, in a process of its own, which `src/cli.ts`
 * starts. What the module writes to standard output, such as its log, goes to standard error. Only
 * the result of the command, which is sent to the parent, goes to standard output.
 */

/** What the process sends to its parent. */
export type ChildMessage = CommandResult | { error: string };

const commands = { doctor: doctorCommand, token: tokenCommand, unpin: unpinCommand };

/** A command that imports the module of an app. */
export type AppCommand = keyof typeof commands;

async function message(): Promise<ChildMessage> {
  const [command, ...args] = process.argv.slice(2);
  try {
    return await commands[command as AppCommand](args);
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

// Lasts until the command has ended, even if only unreferenced timers are left.
process.once('disconnect', () => process.exit(1));
// The module of the app may keep connections open, which would keep the process alive.
process.send?.(await message(), () => process.exit());
