import { TaskflowError } from '../errors.js';
import { type DurationWarning, rangeError } from '../options.js';
import { encodeArguments } from './arguments.js';
import type { Command } from './commands.js';
import {
  checkHandler,
  type Definition,
  type Enqueuer,
  type Handler,
  type Task,
} from './definition.js';
import type { Cipher } from './encryption.js';
import type { AppConnection } from './engine.js';
import type { NewTask, TaskClock } from './new-task.js';
import { prepareTask } from './prepare.js';
import { argumentLists, PreparedTasks } from './prepared-tasks.js';
import {
  type CallSettings,
  type EnqueueOptions,
  nameOption,
  readCallSettings,
  readSettings,
  type TaskOptions,
} from './task-options.js';

interface DefinedTasksDeps {
  /** Stores tasks, and resolves to their ids. */
  store(tasks: readonly NewTask[]): Promise<readonly string[]>;
  /** Stores a task within a transaction of the app, and returns its id. */
  storeIn(connection: AppConnection, task: NewTask): string;
  /** Called after a handler was added to a task. */
  onHandler(): void;
  /** Maximum size of the arguments of a task, in bytes. */
  argsBytes: number;
  cipher: Cipher;
  /** The clock of the engine, if it has its own. */
  clock: TaskClock | undefined;
  warn: DurationWarning;
}

/** The tasks that a manager has defined, and the objects that enqueue them. */
export class DefinedTasks {
  /** The definitions by name. */
  readonly definitions = new Map<string, Definition>();
  readonly #prepared = new PreparedTasks();
  readonly #deps: DefinedTasksDeps;

  constructor(deps: DefinedTasksDeps) {
    this.#deps = deps;
  }

  /**
   * Adds a definition.
   *
   * @throws RangeError if the name is taken or an option is not valid.
   */
  add(name: string, options: TaskOptions | undefined, handler?: unknown): Definition {
    nameOption('name of a task', name, "tasks.define('send_email')");
    if (this.definitions.has(name))
      throw rangeError(
        `a task named '${name}' is already defined in this TaskManager; use another name`,
      );
    const settings = readSettings(name, options, this.#deps.warn);
    const definition: Definition = { name, settings, handler: undefined };
    this.definitions.set(name, definition);
    if (handler) this.addHandler(definition, handler);
    return definition;
  }

  /**
   * Adds the handler of a definition.
   *
   * @throws RangeError if the definition already has a handler.
   */
  addHandler(definition: Definition, handler: unknown): void {
    checkHandler(definition.name, handler);
    if (definition.handler) throw rangeError(`task '${definition.name}' has a handler already`);
    definition.handler = handler as Handler<readonly unknown[]>;
    this.#deps.onHandler();
  }

  /** Returns the object with which the app enqueues a task. */
  taskOf<A extends readonly unknown[]>(definition: Definition): Task<A> {
    return {
      ...this.#enqueuerOf<A>(definition, {}),
      with: (options) => this.#enqueuerOf<A>(definition, options),
    };
  }

  #enqueuerOf<A extends readonly unknown[]>(
    definition: Definition,
    options: EnqueueOptions,
  ): Enqueuer<A> {
    const { store, storeIn, warn } = this.#deps;
    const call = readCallSettings(options, definition.name, warn);
    const prepare = (...args: A): NewTask => this.prepare(definition, args, call);
    return {
      name: definition.name,
      prepare: (...args) => this.#prepared.add(prepare(...args)),
      enqueue: async (...args) => {
        const task = prepare(...args);
        const [id = task.id] = await store([task]);
        return id;
      },
      enqueueIn: (connection, ...args) => storeIn(connection, prepare(...args)),
      enqueueMany: async (list) => {
        const tasks = argumentLists(list).map((args) => prepare(...args));
        return [...(await store(tasks))];
      },
    };
  }

  /**
   * Returns a new task that can be stored.
   *
   * @throws TypeError if JSON cannot represent an argument.
   */
  prepare(
    definition: Definition,
    args: readonly unknown[],
    call?: CallSettings,
    source?: NewTask['source'],
  ): NewTask {
    return prepareTask(definition, args, this.#deps, call, source);
  }

  /**
   * Returns the tasks of a list.
   *
   * @throws TypeError if one of them was not prepared by this manager.
   */
  checkPrepared(list: unknown): NewTask[] {
    return this.#prepared.check(list);
  }

  /**
   * Returns the command of a rerun with its arguments encrypted, in the form that an engine stores.
   *
   * @throws RangeError if there are new arguments for several tasks, TaskflowError INVALID_INPUT if
   * the arguments are not valid.
   */
  async rerunOf(
    command: Extract<Command, { action: 'rerun' }>,
    nameOf: (id: string) => Promise<string | undefined>,
  ): Promise<Command> {
    const { ids, args } = command;
    if (args === undefined) return command;
    const [id] = ids;
    if (id === undefined || ids.length > 1)
      throw rangeError(
        `command.args can be used only with the rerun of one task, not of ${ids.length}`,
      );
    const task = (await nameOf(id)) ?? '';
    const { cipher, argsBytes } = this.#deps;
    try {
      const list = JSON.parse(args) as readonly unknown[];
      return { ...command, args: cipher.encrypt(encodeArguments(task, list, argsBytes), task) };
    } catch (cause) {
      throw new TaskflowError('INVALID_INPUT', (cause as Error).message, { cause });
    }
  }
}
