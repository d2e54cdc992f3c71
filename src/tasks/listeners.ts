import { runInEmptyContext } from '../empty-context.js';
import { type Logger, wrongKind, wrongType } from '../options.js';
import { thrownForLog } from './describe-error.js';
import type { TransitionObserver } from './engine.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from './types.js';

/** A listener that is passed to `tasks.on`. */
export type Listener = (task: TaskSummary) => void;

/**
 * The listeners of a manager, grouped by the state that they wait for. If a listener fails, the
 * error is logged and nothing else is affected.
 */
export class Listeners implements TransitionObserver {
  readonly #byStatus = new Map<TaskStatus, Set<Listener>>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * Returns the listeners of a state.
   *
   * @throws TypeError with code INVALID_INPUT for a wrong state or listener.
   */
  of(status: TaskStatus, listener: Listener): Set<Listener> {
    if (!taskStatuses.includes(status))
      throw wrongType(
        'state',
        status,
        `one of ${taskStatuses.join(', ')}, as in tasks.on('failed', listener)`,
      );
    if (typeof listener !== 'function') throw wrongKind('listener', listener, 'a function');
    const listeners = this.#byStatus.get(status) ?? new Set();
    this.#byStatus.set(status, listeners);
    return listeners;
  }

  wants(status: TaskStatus): boolean {
    return (this.#byStatus.get(status)?.size ?? 0) > 0;
  }

  tell(task: TaskSummary): void {
    for (const listener of this.#byStatus.get(task.status) ?? [])
      void runInEmptyContext(() => this.#call(listener, task));
  }

  /** An async listener is not awaited, but its rejection is logged. */
  async #call(listener: Listener, task: TaskSummary): Promise<void> {
    try {
      await listener(task);
    } catch (err) {
      const fields = { taskId: task.id, task: task.name, status: task.status };
      this.#logger.error({ err: thrownForLog(err), ...fields }, 'a listener failed');
    }
  }
}
