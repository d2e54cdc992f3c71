import type { KeepJobs } from 'bullmq';
import type { Command, CommandBy, Outcome } from '../../../tasks/commands.js';
import type { TransitionObserver } from '../../../tasks/engine.js';
import type { NewTask } from '../../../tasks/new-task.js';
import type { QueueState } from '../../../tasks/queue-state.js';
import { type Ask, commanding } from '../connection/redis-calls.js';
import { summaryOf } from '../jobs/job-view.js';
import type { CountedQueues } from '../read/marked-jobs.js';
import { findJobs } from '../read/stored-jobs.js';
import type { WindowModel } from '../read/window-model.js';
import type { EndedTask } from '../statistics/statistics.js';
import { Cancellations } from './cancellations.js';
import { JobSteps } from './job-steps.js';
import { QueuePauses } from './queue-pauses.js';
import { Reruns } from './reruns.js';
import { StoredTasks } from './stored-tasks.js';
import { TaskCommands } from './task-commands.js';

interface EngineCommandsDeps extends CountedQueues {
  kept: KeepJobs;
  ask: Ask;
  reader(): Promise<WindowModel>;
  observer(): TransitionObserver | undefined;
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
  /** Called for each task that a command ended. */
  ended(task: EndedTask): void;
  /** Cancels the attempts of these jobs that this process runs. */
  cancelHere(members: ReadonlySet<string>): void;
}

/**
 * Runs commands on tasks and queues, such as cancel and pause. `TaskCommands` handles tasks,
 * `QueuePauses` handles queues, and `Cancellations` cancels the tasks that run in this process.
 */
export class EngineCommands {
  readonly #ask: Ask;
  readonly #tasks: TaskCommands;
  readonly #pauses: QueuePauses;
  readonly #cancellations: Cancellations;

  constructor(deps: EngineCommandsDeps) {
    const {
      redis,
      keys,
      catalog,
      marked,
      kept,
      ask,
      reader,
      observer,
      enqueue,
      ended,
      cancelHere,
    } = deps;
    this.#ask = ask;
    const steps = new JobSteps({ redis, keys, kept });
    const jobsOf = (ids: readonly string[]): ReturnType<typeof findJobs> =>
      findJobs({ redis, keys, catalog }, ids);
    const reruns = new Reruns({
      ...{ steps, jobsOf, ask, enqueue },
      argumentsOf: ({ queue, jobId }) => redis.hget(keys.ofQueue(queue, jobId), 'data'),
    });
    const stored = new StoredTasks({ redis, keys, catalog, marked });
    this.#tasks = new TaskCommands({
      steps,
      reruns,
      jobsOf,
      reader,
      stored,
      ask,
      observer,
      ended,
      cancelling: cancelHere,
    });
    this.#pauses = new QueuePauses({ redis, keys, catalog, steps });
    this.#cancellations = new Cancellations({
      ...{ redis, keys, steps, cancelHere },
      cancelled: ({ queue }, job) => {
        const task = summaryOf(job, catalog.get(queue) ?? { queue, label: queue }, 'cancelled');
        ended({ ...task, at: Date.now() });
        if (observer()?.wants(task.status)) observer()?.tell(task);
      },
    });
  }

  async control(command: Exclude<Command, { schedule: string }>, by: CommandBy): Promise<Outcome> {
    if (!('queue' in command)) return this.#tasks.control(command, by);
    const { action, queue } = command;
    await this.#ask((sending) => {
      sending();
      return action === 'pause' ? this.#pauses.pause(queue, by) : this.#pauses.resume(queue);
    }, commanding);
    return { results: [], known: true };
  }

  /** Returns the queues, and which of them are paused. */
  queueStates(): Promise<QueueState[]> {
    return this.#pauses.states();
  }

  /**
   * Cancels running tasks for which another process received the command. Resolves to whether
   * requests to cancel are still open.
   */
  poll(): Promise<boolean> {
    return this.#cancellations.poll();
  }
}
