import type { Logger } from '../../options.js';
import type { Outcome } from '../../tasks/commands.js';
import type { TransitionObserver } from '../../tasks/engine.js';
import type { NewTask } from '../../tasks/new-task.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import type { Row } from '../tables/schema/database.js';
import { toSummary } from '../tables/schema/rows.js';
import { stateOf } from '../tables/schema/states.js';

/** Notifies the observer of an engine of tasks that this process brought into a new state. */
export class Transitions {
  readonly #logger: Logger;
  #observer: TransitionObserver | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  observe(observer: TransitionObserver): void {
    this.#observer = observer;
  }

  /** The states that the observer is interested in. */
  wanted(): TaskStatus[] {
    return taskStatuses.filter((status) => this.#observer?.wants(status));
  }

  /** Reports the rows of tasks after their transition. */
  ofRows(rows: readonly Row[]): void {
    for (const row of rows) {
      try {
        if (this.#observer?.wants(stateOf(row.status))) this.#observer.tell(toSummary(row));
      } catch (err) {
        // The row is damaged. The transition is stored, and must not be stored again.
        this.#logger.error({ err, seq: row.seq }, 'a transition of a task could not be reported');
      }
    }
  }

  /**
   * Reports what a command did. A running task that is to be cancelled has made no transition yet.
   */
  ofResults(results: Outcome['results']): void {
    for (const result of results)
      if (
        result.ok &&
        result.task.status !== 'running' &&
        this.#observer?.wants(result.task.status)
      )
        this.#observer.tell(result.task);
  }

  /**
   * Reports tasks that were stored. `ids` are those of the tasks that stand for them, if any was a
   * duplicate.
   */
  ofNew(tasks: readonly NewTask[], ids: readonly string[] | undefined): void {
    if (!this.#observer?.wants('pending')) return;
    for (const [index, task] of tasks.entries())
      if (!ids || ids[index] === task.id) this.#observer.tell(pendingSummary(task));
  }
}

function pendingSummary(task: NewTask): TaskSummary {
  const { id, name, queue, priority, tags, source, createdAt, runAt, attempts } = task;
  return {
    id,
    name,
    status: 'pending',
    queue,
    priority,
    tags,
    source,
    createdAt: new Date(createdAt).toISOString(),
    runAt: new Date(runAt).toISOString(),
    startedAt: null,
    endedAt: null,
    duration: null,
    attempt: 0,
    maxAttempts: attempts,
    progress: null,
    error: null,
    fingerprint: null,
  };
}
