import { typeError, wrongKind } from '../options.js';
import { functionKind, quote } from '../show-value.js';
import type { AppConnection } from './engine.js';
import type { FunctionSettings } from './function-settings.js';
import type { NewTask } from './new-task.js';
import type { EnqueueOptions, Settings } from './task-options.js';

/**
 * Types of values that JSON changes or loses. The compiler checks the type of each parameter, but
 * not its members. `enqueue` checks the whole value.
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
 * Checks the parameters of a handler. It is `unknown` if JSON can represent each of them, else a
 * text that no function can match.
 */
export type JsonSafe<A extends readonly unknown[]> =
  A extends JsonParameters<A> ? unknown : 'JSON cannot represent a parameter of this handler';

/** A function of the app that does the work of a task. */
export type Handler<A extends readonly unknown[]> = (...args: A) => unknown;

/** A defined task: its name, its options and its handler, if this process has one. */
export interface Definition {
  name: string;
  settings: Settings;
  handler: Handler<readonly unknown[]> | undefined;
}

/** Enqueues tasks of one definition. */
export interface Enqueuer<A extends readonly unknown[]> {
  readonly name: string;
  /**
   * Stores a task, and resolves to its id once the task is durable. Rejects with TypeError if JSON
   * would change an argument.
   */
  enqueue(...args: A): Promise<string>;
  /** Stores one task for each list of arguments: either all of them or none. */
  enqueueMany(list: readonly A[]): Promise<string[]>;
  /**
   * Stores a task within the open transaction of your own connection to the same database file, and
   * returns the id. The task exists if and only if that transaction commits. This call is
   * synchronous, like the connection. Processes that run tasks see the task within `pollInterval`
   * after the commit.
   *
   * @param connection An open `DatabaseSync` of `koa-taskflow/sqlite` with an open transaction. In
   * a process with a `TaskManager`, never use another SQLite library on this file: the two
   * libraries do not see each other's file locks and would damage the file.
   * @throws TypeError if JSON would change an argument, or if the connection is of another SQLite
   * library.
   * @throws TaskflowError ENGINE_UNAVAILABLE if no transaction is open, if the connection is to
   * another file, or if the manager has not been started. NOT_SUPPORTED if the engine has no file.
   * @example
   * ```ts
   * import { DatabaseSync } from 'koa-taskflow/sqlite';
   *
   * const shop = new DatabaseSync('tasks.db');
   * shop.exec('BEGIN IMMEDIATE');
   * sendEmail.enqueueIn(shop, 'ada@example.com');
   * shop.exec('COMMIT');
   * ```
   */
  enqueueIn(connection: AppConnection, ...args: A): string;
  /** Creates a task without storing it. `tasks.enqueue` stores it. */
  prepare(...args: A): NewTask;
}

/** A defined task. */
export interface Task<A extends readonly unknown[]> extends Enqueuer<A> {
  /** Returns an enqueuer with options that override those of the definition. */
  with(options: EnqueueOptions): Enqueuer<A>;
}

/** A task that was declared without a handler. */
export interface DeclaredTask<A extends readonly unknown[]> extends Task<A> {
  /** Adds the handler in a process that runs the task. */
  handle(handler: Handler<A> & JsonSafe<A>): Task<A>;
}

/**
 * Checks the handler of a task.
 *
 * @throws TypeError if it is not a function, or if it is a class or a generator function, because
 * calling these does not run their body.
 */
export function checkHandler(name: string, handler: unknown): void {
  const isPlain =
    typeof handler === 'function' &&
    ['a function', 'an async function'].includes(functionKind(handler));
  if (!isPlain)
    throw wrongKind(`handler of task '${name}'`, handler, 'a function or an async function');
}

/** Checks that `define` got no handler, which would never run. */
export function checkDeclaration(name: string, ...rest: unknown[]): void {
  if (!rest.some((argument) => typeof argument === 'function')) return;
  const call = `define(${quote(name)})`;
  throw typeError(`${call} takes no handler; pass the handler to ${call}.handle(handler)`);
}

/** Returns the settings of a function as the API shows them. */
export function describeFunction({ name, settings, handler }: Definition): FunctionSettings {
  const shown = Object.entries(settings).map(([option, value]: [string, unknown]) => [
    option,
    typeof value === 'function' ? 'function' : (value ?? null),
  ]);
  return { name, handled: handler !== undefined, ...Object.fromEntries(shown) };
}
