import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { TaskflowError } from '../../../errors.js';
import { RedisWork } from '../connection/connections.js';
import { Signals } from '../control/signals.js';
import type { Presence } from '../processes/presence.js';
import type { QueueCatalog } from '../queues/queue-catalog.js';
import { Executor, type ExecutorDeps } from './executor.js';

interface ExecutionDeps extends Omit<ExecutorDeps, 'stuckChanged'> {
  /** The connection that is duplicated to wait for signals. */
  asking: Redis;
  catalog: QueueCatalog;
  presence: Presence;
  /**
   * Cancels running tasks for which another process received the command. Resolves to whether
   * requests to cancel are still open.
   */
  cancelTasks(): Promise<boolean>;
  /** Whether this process has begun to stop, so that it must serve no more queues. */
  isStopping(): boolean;
}

/**
 * Runs the tasks of all queues in this process. `Executor` runs one BullMQ worker for each queue.
 * `Signals` wakes the process for new queues and for running tasks to cancel. The list of processes
 * shows how many tasks this one runs at once, so `Presence` sends a heartbeat when that changes.
 */
export class Execution {
  readonly executor: Executor;
  readonly #deps: ExecutionDeps;
  readonly #signals: Signals;
  readonly #work: Background;
  /** The labels of queues that could not be added to the list in the last round. */
  #refused: ReadonlySet<string> = new Set();

  constructor(deps: ExecutionDeps) {
    this.#deps = deps;
    const { asking, keys, logger, presence } = deps;
    this.executor = new Executor({
      ...deps,
      stuckChanged: (stuck) => {
        presence.update(stuck);
        presence.beatSoon();
      },
    });
    this.#work = new RedisWork(logger, 'looking for new queues and tasks to cancel');
    this.#signals = new Signals({
      redis: asking,
      key: keys.signals,
      work: this.#work,
      logger,
      look: () => this.#look(),
    });
  }

  /** Looks now, at each signal, and whenever a task is defined. */
  start(): void {
    const lookNow = (): void => this.#work.run(async () => void (await this.#look()));
    lookNow();
    this.#signals.start();
    this.#deps.runner.onChange(lookNow);
  }

  /**
   * Serves new queues and those of the handlers here, and cancels running tasks. Resolves to
   * whether requests to cancel are still open.
   */
  async #look(): Promise<boolean> {
    const { cancelTasks, catalog } = this.#deps;
    const serving = catalog
      .refresh()
      .then(() => this.#addQueues())
      .finally(() => this.serve());
    const [isOpen] = await Promise.all([cancelTasks(), serving]);
    return isOpen;
  }

  /**
   * Adds the queues of the handlers here to the list. If there are too many queues, the ones that
   * could not be added are logged once, and tried again in the next round.
   */
  async #addQueues(): Promise<void> {
    const { catalog, logger, runner } = this.#deps;
    const failed = new Map<string, unknown>();
    for (const route of runner.routes())
      if (!failed.has(route.queue))
        await catalog.ensure([route]).catch((err: unknown) => failed.set(route.queue, err));
    const refused = new Map([...failed].filter(([, err]) => err instanceof TaskflowError));
    for (const [queue, err] of refused)
      if (!this.#refused.has(queue)) logger.error({ queue, err }, 'a queue cannot be added');
    for (const queue of this.#refused)
      if (!failed.has(queue)) logger.info({ queue }, 'a queue can be added again');
    this.#refused = new Set(refused.keys());
    const [error] = [...failed.values()].filter((err) => !(err instanceof TaskflowError));
    if (error !== undefined) throw error;
  }

  /** Runs the tasks of all queues that this process knows of, until it stops. */
  serve(): void {
    const { catalog, isStopping, presence } = this.#deps;
    if (!isStopping() && this.executor.serve(catalog.all())) presence.beatSoon();
  }

  /** Waits for no more signals. Until then, a cancel reaches the tasks that run to their end. */
  close(): void {
    this.#signals.close();
  }
}
