import type { Logger } from '../../options.js';
import type { Outcome } from '../../tasks/commands.js';
import type { TransitionObserver } from '../../tasks/engine.js';
import type { NewTask } from '../../tasks/new-task.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import { time } from '../tables/schema/rows.js';
import { stateOf } from '../tables/schema/states.js';
import { type SummaryRow, toSummary } from '../tables/schema/summaries.js';

/** Notifies the observer of an engine about the transitions that this process made. */
export type Transitions = ReturnType<typeof createTransitions>;

/** Creates the {@link Transitions} of an engine. */
export function createTransitions(logger: Logger) {
  let observer: TransitionObserver | undefined;
  return {
    observe(given: TransitionObserver): void {
      observer = given;
    },

    /** Returns the states that the observer is subscribed to. */
    wanted(): TaskStatus[] {
      return taskStatuses.filter((status) => observer?.wants(status));
    },

    /** Reports tasks after their transition. */
    ofRows(rows: readonly SummaryRow[]): void {
      for (const row of rows) {
        try {
          if (observer?.wants(stateOf(row.status))) observer.tell(toSummary(row));
        } catch (err) {
          // The row is damaged. The transition is stored, and an error here would make the caller
          // repeat it.
          logger.error({ err, rowid: row.rowid }, 'a transition of a task could not be reported');
        }
      }
    },

    /**
     * Reports the results of a command. If the cancellation of a running task was requested, the
     * task has made no transition yet.
     */
    ofResults(results: Outcome['results']): void {
      for (const result of results) {
        if (!result.ok) continue;
        const { task } = result;
        if (task.status !== 'running' && observer?.wants(task.status)) observer.tell(task);
      }
    },

    /**
     * Reports new tasks. `ids` are the stored ids, if an idempotency key was taken. They are given
     * only in that case.
     */
    ofNew(tasks: readonly NewTask[], ids: readonly string[] | undefined): void {
      if (!observer?.wants('pending')) return;
      for (const [index, task] of tasks.entries())
        if (!ids || ids[index] === task.id) observer.tell(pendingSummary(task));
    },
  };
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
    createdAt: time(createdAt),
    runAt: time(runAt),
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
