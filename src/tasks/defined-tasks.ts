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
import type { AppConnection, TaskEngine } from './engine.js';
import type { NewTask } from './new-task.js';
import { type PrepareDeps, prepareTask } from './prepare.js';
import { argumentLists, PreparedTasks } from './prepared-tasks.js';
import {
  type CallSettings,
  type EnqueueOptions,
  nameOption,
  readCallSettings,
  readSettings,
  type TaskOptions,
} from './task-options.js';

interface DefinedTasksDeps extends PrepareDeps {
  engine: TaskEngine;
  /** Called before tasks are stored. */
  onUse(): void;
  /** Called after a handler was added to a task. */
  onHandler(): void;
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
    const call = readCallSettings(options, definition.name, this.#deps.warn);
    const prepare = (...args: A): NewTask => this.prepare(definition, args, call);
    return {
      name: definition.name,
      prepare: (...args) => this.#prepared.add(prepare(...args)),
      enqueue: async (...args) => {
        const task = prepare(...args);
        const [id = task.id] = await this.#store([task]);
        return id;
      },
      enqueueIn: (connection, ...args) => this.#storeIn(connection, prepare(...args)),
      enqueueMany: async (list) => {
        const tasks = argumentLists(list).map((args) => prepare(...args));
        return [...(await this.#store(tasks))];
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
   * Stores the tasks of a list, and resolves to their ids.
   *
   * @throws TypeError if one of them was not prepared by this manager.
   */
  async enqueue(list: unknown): Promise<readonly string[]> {
    return this.#store(this.#prepared.check(list));
  }

  #store(tasks: readonly NewTask[]): Promise<readonly string[]> {
    this.#deps.onUse();
    return this.#deps.engine.enqueue(tasks);
  }

  /** Stores a task within a transaction of the app, and returns its id. */
  #storeIn(connection: AppConnection, task: NewTask): string {
    const { engine, onUse } = this.#deps;
    if (!engine.enqueueIn)
      throw new TaskflowError('NOT_SUPPORTED', 'this engine does not support enqueueIn');
    onUse();
    const [id = task.id] = engine.enqueueIn(connection, [task]);
    return id;
  }

  /**
   * Returns the command of a rerun with its arguments encrypted, in the form that an engine stores.
   *
   * @throws RangeError if there are new arguments for several tasks, TaskflowError INVALID_INPUT if
   * the arguments are not valid.
   */
  async rerunOf(command: Extract<Command, { action: 'rerun' }>): Promise<Command> {
    const { ids, args } = command;
    if (args === undefined) return command;
    const [id] = ids;
    if (id === undefined || ids.length > 1)
      throw rangeError(
        `command.args can be used only with the rerun of one task, not of ${ids.length}`,
      );
    const { engine, cipher, argsBytes } = this.#deps;
    const { name = '' } = (await engine.get(id)) ?? {};
    try {
      const list = JSON.parse(args) as readonly unknown[];
      return { ...command, args: cipher.encrypt(encodeArguments(name, list, argsBytes), name) };
    } catch (cause) {
      throw new TaskflowError('INVALID_INPUT', (cause as Error).message, { cause });
    }
  }
}
