/**
 * What engines promise differently. Everything else is the same on every engine, and
 * `describeEngine` tests it. Durations are seconds.
 */
export interface EnginePromises {
  /**
   * Where a task is when its `enqueue` resolves: on the `disk` of this host, with a `server` that
   * writes it to disk as it is configured, or in the `memory` of this process.
   */
  readonly stored: 'disk' | 'server' | 'memory';
  /**
   * Time within which another process usually takes over the tasks of a crashed one. `null` if no
   * other process can.
   */
  readonly crashFoundWithin: number | null;
  /**
   * Time that a handler may block the event loop before its task counts as crashed. `null` if that
   * never makes it a crash.
   */
  readonly longestBlock: number | null;
  /**
   * What the option `concurrency` of a TaskManager limits: the tasks of a `process`, or those of
   * each `queue` of a process.
   */
  readonly concurrencyPer: 'process' | 'queue';
  /**
   * Whether a task with its own `concurrency` waits in a queue of its own, which takes another
   * connection of each worker.
   */
  readonly limitedTasksApart: boolean;
  /** Number of queues that there can be. `null` for no limit. */
  readonly maxQueues: number | null;
  /**
   * Which tasks a higher priority goes before: `all` that wait, or those that were enqueued `since`
   * their queue first got a task with a priority other than 0.
   */
  readonly priorityOver: 'all' | 'since';
  /** What an idempotency key belongs to: the name of the task, or the name and the queue. */
  readonly idempotencyPer: 'name' | 'name and queue';
  /** Whether deleting a task frees its idempotency key before the window of the key is over. */
  readonly deletionFreesKey: boolean;
  /** Tasks that one call can store, and bytes of their arguments together. `null` for no limit. */
  readonly maxBatch: { readonly tasks: number; readonly bytes: number } | null;
  /**
   * Seconds within which a task that has waited without a handler in any process starts, once every
   * process that runs tasks of its queue has the handler. If only some of these processes have it,
   * an engine whose `concurrencyPer` is `queue` has no such limit.
   */
  readonly handlerFoundWithin: number;
  /**
   * Shortest interval at which a schedule makes every run. A schedule with a shorter `every` leaves
   * runs out, and `skipped` does not count them.
   */
  readonly shortestInterval: number;
  /**
   * What happens to a delay that is running if a clock is set back by more than a second: it
   * `restarts` in full, or the step of the clock `extends` it. A delay here is that of `runIn`, of
   * a retry, and of a schedule with `every`.
   */
  readonly clockSetBack: 'restarts' | 'extends';
  /** Whose retention options hold: those of the `manager`, or those of the `engine`. */
  readonly retentionOf: 'manager' | 'engine';
  /**
   * The newest tasks that lists and commands by filter cover if a process does not have all tasks
   * at hand. `null` if they always cover all tasks.
   */
  readonly window: { readonly ended: number; readonly pending: number } | null;
  /** Where a reader of changes can resume: in any process, or in the `same` process only. */
  readonly resumesIn: 'any' | 'same';
  /** Time within which a cancellation reaches a handler in another process. */
  readonly cancelsWithin: number;
  /**
   * Whether cancelled and interrupted tasks are failed ones to programs that read the storage
   * without this package.
   */
  readonly markedAsFailed: boolean;
}
