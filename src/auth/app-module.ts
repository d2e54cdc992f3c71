import { existsSync, realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { TaskflowError } from '../errors.js';
import { type Auth, internalsOf, isAuth } from './auth.js';

/** What a command that imports a module of an app prints, and how it ends. */
export interface CommandResult {
  /** The text for standard output. */
  readonly output: string;
  /** The text for standard error. */
  readonly note?: string;
  /** The exit code. Default 0. */
  readonly code?: 0 | 1;
}

/**
 * Imports a module of an app, and returns the login that it exports as `auth`. Waits until its
 * store answers. If it never does, the command says so when it uses the store.
 */
export async function loginOfModule(file: string): Promise<Auth> {
  if (!existsSync(file)) throw new Error(`the module ${file} does not exist`);
  const { auth } = (await import(pathToFileURL(realpathSync(file)).href)) as { auth?: unknown };
  if (!isAuth(auth))
    throw new Error(
      `${file} must export the login: export const auth = createAuth({ … }). ` +
        'It must import the same installation of koa-taskflow as this command',
    );
  const { store } = internalsOf(auth).options;
  await opened(() => store.get('opened')).catch(() => {});
  return auth;
}

/** How often a store is asked until it answers. Each call may take a second. */
const maxTries = 15;

/**
 * Waits until the store answers. The first call may also open a database. On a busy machine, that
 * takes longer than a request would wait.
 */
export async function opened(ask: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await ask();
      return;
    } catch (error) {
      const isSlow = error instanceof TaskflowError && error.code === 'STORE_UNAVAILABLE';
      if (!isSlow || tries === maxTries) throw error;
    }
  }
}
