/**
 * The guarantees in which engines differ. In everything else all engines behave the same, and the
 * contract suite `describeEngine` tests that. Durations are seconds.
 */
export interface EnginePromises {
  /**
   * Where a task is stored when `enqueue` resolves: on the `disk` of this host, on a `server` that
   * writes it to disk as configured, or in the `memory` of this process.
   */
  readonly stored: 'disk' | 'server' | 'memory';
  /**
   * Usual maximum time until another process takes over the tasks of a crashed process. `null` if
   * no other process can take over.
   */
  readonly crashFoundWithin: number | null;
  /**
   * How long a handler may block the event loop before its task counts as crashed. `null` if
   * blocking never counts as a crash.
   */
  readonly longestBlock: number | null;
  /**
   * The scope of the option `concurrency` of a TaskManager: all tasks of a `process`, or the tasks
   * of each `queue` in a process.
   */
  readonly concurrencyPer: 'process' | 'queue';
  /**
   * Whether a task with its own `concurrency` gets a separate queue, which needs another connection
   * per worker.
   */
  readonly limitedTasksApart: boolean;
  /** Maximum number of queues. `null` for no limit. */
  readonly maxQueues: number | null;
  /**
   * The tasks that a higher priority overtakes: `all` waiting tasks, or those that were enqueued
   * `since` the queue first received a task with a priority other than 0.
   */
  readonly priorityOver: 'all' | 'since';
  /** The scope of an idempotency key: the name of the task, or the name and the queue. */
  readonly idempotencyPer: 'name' | 'name and queue';
  /** Whether deleting a task frees its idempotency key before the window of the key ends. */
  readonly deletionFreesKey: boolean;
  /**
   * Maximum number of tasks in one call, and maximum size of their arguments together in bytes.
   * `null` for no limit.
   */
  readonly maxBatch: { readonly tasks: number; readonly bytes: number } | null;
  /**
   * Maximum number of seconds until a task without a handler starts, after every process that runs
   * tasks of its queue has received the handler. If only some of these processes have it, engines
   * with `concurrencyPer: 'queue'` give no such guarantee.
   */
  readonly handlerFoundWithin: number;
  /**
   * Shortest interval in seconds for which a schedule makes every run. With a shorter `every`, runs
   * are left out, and `skipped` does not count them.
   */
  readonly shortestInterval: number;
  /**
   * The effect on running delays if the clock is set back by more than a second. The delay
   * `restarts` in full, or the step of the clock `extends` it. Delays are those of `runIn`, of
   * retries, and of schedules with `every`.
   */
  readonly clockSetBack: 'restarts' | 'extends';
  /** Which retention options apply: those of the `manager` or those of the `engine`. */
  readonly retentionOf: 'manager' | 'engine';
  /**
   * How many of the newest tasks lists and commands by filter cover, if a process does not read all
   * tasks. `null` if they always cover all tasks.
   */
  readonly window: { readonly ended: number; readonly pending: number } | null;
  /** Where a reader of changes can resume: in any process, or in the `same` process only. */
  readonly resumesIn: 'any' | 'same';
  /** Time within which a cancellation reaches a handler in another process. */
  readonly cancelsWithin: number;
  /**
   * Whether cancelled and interrupted tasks are failed jobs for programs that read the storage
   * without this package.
   */
  readonly markedAsFailed: boolean;
}
