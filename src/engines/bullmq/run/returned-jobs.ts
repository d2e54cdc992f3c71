import { type Job, WaitingError } from 'bullmq';
import { LoggedNames } from '../../../logged-names.js';
import type { Logger } from '../../../options.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { count, jobFields, type TaskJob } from '../jobs/task-job.js';
import { returnNotes } from './ends.js';
import type { TaskBackend } from './task-backend.js';

/**
 * Seconds for which a job that cannot run here is delayed. The delay doubles each time, up to
 * `longest`.
 */
export const returned = { first: 1, longest: 60 };

/** A job whose lock this process holds. */
interface LockedJob {
  job: Job;
  task: TaskJob;
  /** The token that its lock holds. */
  token: string;
}

/**
 * Puts back jobs that this process has fetched and cannot run now. They wait behind the jobs that
 * can run, and another process may take them.
 */
export class ReturnedJobs {
  readonly #logger: Logger;
  /** Names of tasks without a handler here that have been logged. */
  readonly #unknown = new LoggedNames();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Puts back a job that has no handler here, and logs that once for each task name. */
  async withoutHandler(backend: TaskBackend, locked: LockedJob): Promise<never> {
    const { job, task } = locked;
    if (this.#unknown.add(job.name)) {
      this.#logger.warn(
        { taskId: taskIdOf(job.queueName, task.json.id), task: job.name },
        'a task has no handler in this process; it waits for a process that has one',
      );
    }
    return this.putBack(backend, locked);
  }

  /**
   * Delays a job, longer each time, without counting an attempt.
   *
   * @throws WaitingError once the job has been moved. It tells BullMQ so.
   */
  async putBack(backend: TaskBackend, { job, task, token }: LockedJob): Promise<never> {
    const times = count(task.fields[jobFields.returned]);
    const seconds = Math.min(returned.longest, returned.first * 2 ** Math.min(times, 10));
    backend.willEnd(job.id ?? '', returnNotes(task, times + 1));
    await backend.moveToDelayed(job.id ?? '', Date.now(), seconds * 1000, token, {
      skipAttempt: true,
    });
    throw new WaitingError();
  }
}
