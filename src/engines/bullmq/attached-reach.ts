import { Background } from '../../background.js';
import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import { plainError } from './redis-connection.js';

/** Whether the Redis of attached queues can be used: one line in the log for each change. */
export class Reach {
  readonly #logger: Logger;
  #lost: Error | undefined;
  #isClosed = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Why Redis cannot be used, if that is so. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** Notes that Redis cannot be used. */
  lose(thrown: unknown, queue?: string): void {
    if (this.#isClosed || this.#lost) return;
    this.#lost = plainError(thrown ?? 'it does not answer');
    this.#logger.error({ err: this.#lost, ...(queue !== undefined && { queue }) }, 'Redis cannot be used for the attached queues');
  }

  /** Notes that all queues have answered. */
  regain(): void {
    if (this.#isClosed || !this.#lost) return;
    this.#lost = undefined;
    this.#logger.info({}, 'Redis can be used for the attached queues again');
  }

  /** From now on nothing is noted. */
  close(): void {
    this.#isClosed = true;
  }
}

/** Background work whose failures are noted as those of Redis. */
export class ReachingWork extends Background {
  readonly #reach: Reach;

  constructor(logger: Logger, job: string, reach: Reach) {
    super(logger, job);
    this.#reach = reach;
  }

  override failed(error: unknown): void {
    this.#reach.lose(error);
  }

  override worked(): void {
    this.#reach.regain();
  }
}

/** The error of a call that Redis did not answer. `reported`: the log has it. */
export function cannotUse(cause: Error, reported: boolean): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', `Redis cannot be used for the attached queues: ${cause.message}`, { cause, reported });
}
