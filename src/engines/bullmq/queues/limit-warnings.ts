import { LoggedNames } from '../../../logged-names.js';
import type { Logger } from '../../../options.js';
import type { CatalogEntry } from './queue-catalog.js';

/**
 * Warns if processes define different limits (`concurrency`) for the same task. BullMQ has one
 * limit per queue, and a task that is stored without a limit goes to a queue without a limit, so
 * one of the definitions has no effect. It logs one line for each task and process.
 */
export class LimitWarnings {
  readonly #logger: Logger;
  readonly #warned = new LoggedNames();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Compares the limit that this process defines for a task with that of its queue. */
  compare({ task, label, concurrency: stored }: CatalogEntry, defined: number | undefined): void {
    if (task === undefined || stored === undefined || defined === undefined || stored === defined)
      return;
    const message = 'processes define different concurrency limits for a task';
    this.#warn(task, label, defined, stored, message);
  }

  /** Warns that a task runs without the limit that this process defines for it. */
  missing(task: string, { label }: CatalogEntry, defined: number): void {
    const message =
      'a task runs without its concurrency limit, because the process that enqueued it defines ' +
      'none';
    this.#warn(task, label, defined, null, message);
  }

  #warn(
    task: string,
    queue: string,
    concurrency: number,
    stored: number | null,
    message: string,
  ): void {
    if (this.#warned.add(task)) this.#logger.warn({ task, queue, concurrency, stored }, message);
  }
}
