import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { RedisWork } from '../connection/connections.js';
import { Signals } from '../control/signals.js';
import type { Presence } from '../processes/presence.js';
import type { QueueCatalog } from '../queues/queue-catalog.js';
import { Executor, type ExecutorParts } from './executor.js';

interface ExecutionParts extends Omit<ExecutorParts, 'stuckChanged'> {
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
  readonly #parts: ExecutionParts;
  readonly #signals: Signals;
  readonly #work: Background;

  constructor(parts: ExecutionParts) {
    this.#parts = parts;
    const { asking, keys, logger, presence } = parts;
    this.executor = new Executor({
      ...parts,
      stuckChanged: (stuck) => {
        presence.update(stuck);
        presence.beatSoon();
      },
    });
    this.#work = new RedisWork(logger, 'looking for new queues and tasks to cancel');
    this.#signals = new Signals({ redis: asking, key: keys.signals, work: this.#work, logger, look: () => this.#look() });
  }

  /** Looks now, at each signal, and whenever a task is defined. */
  start(): void {
    const lookNow = (): void => this.#work.run(async () => void (await this.#look()));
    lookNow();
    this.#signals.start();
    this.#parts.runner.onChange(lookNow);
  }

  /**
   * Serves new queues and those of the handlers here, and cancels running tasks. Resolves to whether
   * requests to cancel are still open.
   */
  async #look(): Promise<boolean> {
    const { cancelTasks, catalog, runner } = this.#parts;
    const [isOpen] = await Promise.all([cancelTasks(), catalog.refresh()]);
    await catalog.ensure(runner.routes()).finally(() => this.serve());
    return isOpen;
  }

  /** Runs the tasks of all queues that this process knows of, until it stops. */
  serve(): void {
    const { catalog, isStopping, presence } = this.#parts;
    if (!isStopping() && this.executor.serve(catalog.all())) presence.beatSoon();
  }

  /** Waits for no more signals. Until then, a cancel reaches the tasks that run to their end. */
  close(): void {
    this.#signals.close();
  }
}
