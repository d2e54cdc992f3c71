import { wrongType } from '../options.js';
import { functionKind } from '../show-value.js';
import type { AppConnection } from './engine.js';
import type { FunctionSettings } from './function-settings.js';
import type { NewTask } from './new-task.js';
import type { EnqueueOptions, Settings } from './task-options.js';

/**
 * Kinds of value that JSON changes or loses. Checked by the compiler for each parameter itself, at
 * run time all through.
 */
type NotJson =
  | ((...args: never[]) => unknown)
  | symbol
  | bigint
  | Date
  | RegExp
  | Promise<unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBuffer
  | ArrayBufferView;

type JsonParameters<A extends readonly unknown[]> = {
  [K in keyof A]: Extract<A[K], NotJson> extends never ? A[K] : never;
};

/**
 * What a handler's parameters must be besides themselves: `unknown` when JSON carries each, else a
 * text no function is.
 */
export type JsonSafe<A extends readonly unknown[]> =
  A extends JsonParameters<A>
    ? unknown
    : 'a parameter of this handler is of a kind that JSON cannot carry';

/** The function that does a task's work. */
export type Handler<A extends readonly unknown[]> = (...args: A) => unknown;

/** What is known of a name. */
export interface Definition {
  name: string;
  settings: Settings;
  handler: Handler<readonly unknown[]> | undefined;
}

/** Enqueues tasks of one definition. */
export interface Enqueuer<A extends readonly unknown[]> {
  readonly name: string;
  /**
   * Stores a task and resolves to its id once it is on disk. Rejects with TypeError for arguments
   * that JSON would change.
   */
  enqueue(...args: A): Promise<string>;
  /** Stores one task for each list of arguments, all or none. */
  enqueueMany(list: readonly A[]): Promise<string[]>;
  /**
   * Stores a task within a transaction that is open on a connection of the app's own to the same
   * database file, and returns its id: the task exists exactly when that transaction commits.
   * Synchronous, like the connection. Processes that run tasks see it within `pollInterval` of the
   * commit.
   *
   * @param connection An open `DatabaseSync` of `koa-taskflow/sqlite` on which a transaction has
   * begun. No other SQLite library may be used on this file in the process of a `TaskManager`: the
   * two would not see each other's file locks and would damage the file.
   * @throws TypeError for arguments that JSON would change, or for a connection of another SQLite
   * library; TaskflowError ENGINE_UNAVAILABLE if no transaction is open, if the file is another, or
   * if the manager has not been started, NOT_SUPPORTED if the engine has no file.
   * @example
   * ```ts
   * import { DatabaseSync } from 'koa-taskflow/sqlite';
   * const shop = new DatabaseSync('tasks.db');
   * shop.exec('BEGIN IMMEDIATE');
   * sendEmail.enqueueIn(shop, 'ada@example.com');
   * shop.exec('COMMIT');
   * ```
   */
  enqueueIn(connection: AppConnection, ...args: A): string;
  /** Makes a task without storing it; `tasks.enqueue` stores it. */
  prepare(...args: A): NewTask;
}

/** A defined task. */
export interface Task<A extends readonly unknown[]> extends Enqueuer<A> {
  /** Enqueues with other options than the definition's. */
  with(options: EnqueueOptions): Enqueuer<A>;
}

/** A task that was declared without a handler. */
export interface DeclaredTask<A extends readonly unknown[]> extends Task<A> {
  /** Adds the handler, in the process that is to run it. */
  handle(handler: Handler<A> & JsonSafe<A>): Task<A>;
}

/**
 * Checks the handler of a task.
 *
 * @throws TypeError for what is not a function, and for a class or a generator function: calling it
 * does not run its body.
 */
export function checkHandler(name: string, handler: unknown): void {
  const accepted = 'a function or an async function';
  if (typeof handler !== 'function')
    throw wrongType(`handler of task '${name}'`, handler, accepted);
  const kind = functionKind(handler);
  if (kind !== 'a function' && kind !== 'an async function')
    throw wrongType(`handler of task '${name}'`, handler, accepted);
}

/** A definition as the dashboard shows it. */
export function describeFunction({ name, settings, handler }: Definition): FunctionSettings {
  const {
    retryOn: _retryOn,
    backoff,
    timeout = null,
    deadline = null,
    concurrency = null,
    ...same
  } = settings;
  const factor = typeof backoff === 'function' ? 'function' : backoff;
  return {
    name,
    handled: handler !== undefined,
    ...same,
    backoff: factor,
    timeout,
    deadline,
    concurrency,
  };
}
