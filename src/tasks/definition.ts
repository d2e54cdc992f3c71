import { booleanOption, numberOption, optionsObject, secondsOption, stringOption, wrongType } from '../options.js';
import type { NewTask } from './engine.js';

/** Kinds of value that JSON changes or loses. Checked by the compiler for each parameter itself, at run time all through. */
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

type JsonParameters<A extends readonly unknown[]> = { [K in keyof A]: Extract<A[K], NotJson> extends never ? A[K] : never };

/** What a handler's parameters must be besides themselves: `unknown` when JSON carries each, else a text no function is. */
export type JsonSafe<A extends readonly unknown[]> =
  A extends JsonParameters<A> ? unknown : 'a parameter of this handler is of a kind that JSON cannot carry';

/** The function that does a task's work. */
export type Handler<A extends readonly unknown[]> = (...args: A) => unknown;

/** Options of a task's definition. */
export interface TaskOptions {
  /** How often a failed attempt is tried again. Default 0. */
  retries?: number | undefined;
  /** Seconds before the first retry. Default 0. */
  delay?: number | undefined;
  /** Each further retry waits this many times as long. Default 1. */
  backoff?: number | undefined;
  /** Label the tasks are grouped by. Default `'default'`. */
  queue?: string | undefined;
  /** Larger goes first. Default 0. */
  priority?: number | undefined;
  /** Shown with the task, for finding it. At most 32, each up to 256 characters. */
  tags?: Readonly<Record<string, string>> | undefined;
  /** Whether a task whose process died may run again; else it is `interrupted`. Default `false`. */
  requeueOnInterrupt?: boolean | undefined;
  /** How often it may, so that a task which kills its process ends. Default 3. */
  maxInterrupts?: number | undefined;
  /** Seconds a cancelled task may take to end before it is recorded as cancelled anyway. Default 5. */
  cancelGrace?: number | undefined;
}

/** Options of one call; each goes before the one of the definition. */
export interface EnqueueOptions {
  /** Not before this time. */
  runAt?: Date | undefined;
  /** Not before so many seconds from now. */
  runIn?: number | undefined;
  priority?: number | undefined;
  queue?: string | undefined;
  /** Added to those of the definition. */
  tags?: Readonly<Record<string, string>> | undefined;
}

/** Task options, each with its value. */
export interface Settings {
  retries: number;
  delay: number;
  backoff: number;
  queue: string;
  priority: number;
  tags: Readonly<Record<string, string>>;
  requeueOnInterrupt: boolean;
  maxInterrupts: number;
  cancelGrace: number;
}

/** What is known of a name. */
export interface Definition {
  name: string;
  settings: Settings;
  handler: Handler<readonly unknown[]> | undefined;
}

/** Enqueues tasks of one definition. */
export interface Enqueuer<A extends readonly unknown[]> {
  readonly name: string;
  /** Stores a task and resolves to its id once it is on disk. Rejects with TypeError for arguments that JSON would change. */
  enqueue(...args: A): Promise<string>;
  /** Stores one task for each list of arguments, all or none. */
  enqueueMany(list: readonly A[]): Promise<string[]>;
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

const label = { pattern: /^[^\p{Cc}\p{Cs}]{1,128}$/u, accepted: '1 to 128 printable characters', maxLength: 128 };

/** Reads a name of a task or schedule; it is required. */
export function nameOption(option: string, value: unknown): string {
  if (value === undefined) throw wrongType(option, value, label.accepted);
  return stringOption(option, value, '', label);
}

/** Reads a priority: a whole number of at most a million either way. */
export function priorityOption(value: unknown, fallback: number): number {
  return numberOption('priority', value, fallback, { min: -1_000_000, max: 1_000_000, integer: true });
}

/** Reads the name of a queue. */
export function queueOption(value: unknown, fallback: string): string {
  return stringOption('queue', value, fallback, label);
}

/** Reads tags: at most 32 strings by key. */
export function tagsOption(value: unknown): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongType('tags', value, "an object of strings, such as { tenant: '7' }");
  const tags = Object.entries(value);
  if (tags.length > 32) throw new RangeError(`tags has ${tags.length} members; at most 32 are kept`);
  for (const [key, text] of tags) {
    if (!label.pattern.test(key)) throw wrongType('a key of tags', key, label.accepted);
    if (typeof text !== 'string' || text.length > 256) throw wrongType(`tags.${key}`, text, 'a string of at most 256 characters');
  }
  return Object.freeze(Object.fromEntries(tags));
}

const known = ['retries', 'delay', 'backoff', 'queue', 'priority', 'tags', 'requeueOnInterrupt', 'maxInterrupts', 'cancelGrace'] as const;

/** Checks a definition's options and fills in the defaults. */
export function readSettings(name: string, options: TaskOptions | undefined): Settings {
  const given = optionsObject<TaskOptions>(`task '${name}'`, options, known);
  return {
    retries: numberOption('retries', given.retries, 0, { max: 1000, integer: true }),
    delay: numberOption('delay', given.delay, 0, { max: 31_536_000 }),
    backoff: numberOption('backoff', given.backoff, 1, { min: 1, max: 100 }),
    queue: queueOption(given.queue, 'default'),
    priority: priorityOption(given.priority, 0),
    tags: tagsOption(given.tags),
    requeueOnInterrupt: booleanOption('requeueOnInterrupt', given.requeueOnInterrupt, false),
    maxInterrupts: numberOption('maxInterrupts', given.maxInterrupts, 3, { max: 1000, integer: true }),
    cancelGrace: secondsOption('cancelGrace', given.cancelGrace, 5),
  };
}

/** Seconds to wait before the retry that follows the given try; at most a year. */
export function retryDelay({ delay, backoff }: Settings, tryNumber: number): number {
  return Math.min(delay * backoff ** (tryNumber - 1), 31_536_000);
}
