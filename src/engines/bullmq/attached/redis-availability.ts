import { Background } from '../../../background.js';
import { TaskflowError } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import { commanding } from '../connection/redis-calls.js';
import { plainError } from '../connection/redis-connection.js';

/** Tracks whether Redis can be used for the attached queues, and logs one line for each change. */
export class RedisAvailability {
  readonly #logger: Logger;
  #lost: Error | undefined;
  #isClosed = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Why Redis cannot be used, or undefined if it can. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** Records that Redis cannot be used. */
  setLost(thrown: unknown, queue?: string): void {
    if (this.#isClosed || this.#lost) return;
    this.#lost = plainError(thrown ?? 'it does not answer');
    this.#logger.error(
      { err: this.#lost, ...(queue !== undefined && { queue }) },
      'Redis cannot be used for the attached queues',
    );
  }

  /** Records that Redis can be used again. */
  setUsable(): void {
    if (this.#isClosed || !this.#lost) return;
    this.#lost = undefined;
    this.#logger.info({}, 'Redis can be used for the attached queues again');
  }

  /** Stops recording and logging. */
  close(): void {
    this.#isClosed = true;
  }
}

/** Runs background work, and reports its failures and successes to {@link RedisAvailability}. */
export class AvailabilityWork extends Background {
  readonly #availability: RedisAvailability;

  constructor(logger: Logger, job: string, reach: RedisAvailability) {
    super(logger, job);
    this.#availability = reach;
  }

  override failed(error: unknown): void {
    this.#availability.setLost(error);
  }

  override worked(): void {
    this.#availability.setUsable();
  }
}

/**
 * Creates the error of a call that failed because Redis cannot be used. `reported`: it is already
 * in the log. `maybeDone`: the call may have taken effect.
 */
export function cannotUse(
  cause: Error,
  { reported = false, maybeDone = false }: { reported?: boolean; maybeDone?: boolean } = {},
): TaskflowError {
  const effect = maybeDone ? `. ${commanding.maybe}` : '';
  return new TaskflowError(
    'ENGINE_UNAVAILABLE',
    `Redis cannot be used for the attached queues: ${cause.message}${effect}`,
    { cause, reported, maybeDone },
  );
}
