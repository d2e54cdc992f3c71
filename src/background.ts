import { isReported } from './errors.js';
import type { Logger } from './options.js';

/**
 * Work that no caller waits for, such as the work of a timer or an event. An error in it must not
 * reach the process, because it would end the process. It is logged instead: once when the work
 * begins to fail, and once when it works again.
 */
export class Background {
  readonly #logger: Logger;
  readonly #job: string;
  #failing = false;

  /** @param job What is done, for the log: `<job> failed` and `<job> works again`. */
  constructor(logger: Logger, job: string) {
    this.#logger = logger;
    this.#job = job;
  }

  /** Does the work. What it throws or rejects with is logged. */
  run(work: () => void | Promise<void>): void {
    try {
      const done = work();
      if (done)
        done.then(
          () => this.worked(),
          (err: unknown) => this.failed(err),
        );
      else this.worked();
    } catch (err) {
      this.failed(err);
    }
  }

  /**
   * Notes a failure: logs it unless the failure before it was logged, or the log has this one from
   * elsewhere.
   */
  failed(err: unknown, fields: object = {}): void {
    if (this.#failing || isReported(err)) return;
    this.#failing = true;
    this.#logger.error({ err, ...fields }, `${this.#job} failed`);
  }

  /** Notes that the work was done. */
  worked(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#logger.info({}, `${this.#job} works again`);
  }
}
