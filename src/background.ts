import { isReported } from './errors.js';
import type { Logger } from './options.js';

/**
 * Work that no caller waits for, such as the work of a timer or an event. An error in such work
 * would end the process, so it is logged instead: once when the work begins to fail, and once when
 * it succeeds again.
 */
export class Background {
  readonly #logger: Logger;
  readonly #job: string;
  #failing = false;

  /** @param job Name of the work in the log: `<job> failed` and `<job> works again`. */
  constructor(logger: Logger, job: string) {
    this.#logger = logger;
    this.#job = job;
  }

  /** Runs the work. Logs the error if it throws or rejects. */
  run(work: () => void | Promise<void>): void {
    const run = async (): Promise<void> => work();
    run().then(
      () => this.worked(),
      (err: unknown) => this.failed(err),
    );
  }

  /**
   * Notes a failure. Logs it, unless the previous run also failed or the error has been logged
   * elsewhere.
   */
  failed(err: unknown, fields: object = {}): void {
    if (this.#failing || isReported(err)) return;
    this.#failing = true;
    this.#logger.error({ err, ...fields }, `${this.#job} failed`);
  }

  /** Notes a success. */
  worked(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#logger.info({}, `${this.#job} works again`);
  }
}
