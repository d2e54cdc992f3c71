import type { Job } from 'bullmq';
import type { Logger } from '../../../options.js';
import type { RunningAttempt } from '../../../tasks/task-runner.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { abandoned, type EndListener, type EndNotes, whyLost } from './end-notes.js';
import { cancelledBeforeNotes, cancelNotes, type EndingAttempt } from './ends.js';
import type { TaskBackend } from './task-backend.js';
import { attemptFields, type EndCalls, reportEnd } from './task-facts.js';

/** What a {@link ClaimedJob} calls. */
export interface ClaimCalls extends EndCalls {
  logger: Logger;
}

/** A job that a worker of this process has fetched. Once its end is stored, it reports the end. */
export class ClaimedJob implements EndListener {
  readonly backend: TaskBackend;
  readonly entry: CatalogEntry;
  readonly job: Job;
  readonly task: TaskJob;
  /** The call of its handler, if that has begun. */
  running: RunningAttempt | undefined;
  /** The attempt that ends, if one has begun. */
  ending: EndingAttempt | undefined;
  readonly #calls: ClaimCalls;

  constructor(
    calls: ClaimCalls,
    { backend, entry, job, task }: Pick<ClaimedJob, 'backend' | 'entry' | 'job' | 'task'>,
  ) {
    this.#calls = calls;
    this.backend = backend;
    this.entry = entry;
    this.job = job;
    this.task = task;
  }

  /** The job's id in its queue. */
  get id(): string {
    return this.job.id ?? '';
  }

  /** Sets how the attempt ends. The job's next step stores it. */
  willEnd(end: EndNotes): void {
    this.backend.willEnd(this.id, end, this);
  }

  stored(end: EndNotes, at: number): void {
    this.running?.logEnd(end.loggedAs);
    reportEnd(this.#calls, this.task, this.entry, end, at);
  }

  dropped(isGone: boolean): void {
    this.#warn(`the result of a task was dropped, because ${whyLost(isGone)}`);
  }

  abandoned(): void {
    this.#warn(abandoned);
  }

  cancelled(): EndNotes {
    return this.ending ? cancelNotes(this.ending) : cancelledBeforeNotes(this.task);
  }

  #warn(message: string): void {
    this.#calls.logger.warn(attemptFields(this.task, this.entry), message);
  }
}
