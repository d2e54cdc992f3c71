import { runInEmptyContext } from './empty-context.js';
import { TaskflowError } from './errors.js';

/** The log message about a manager that was never started. */
export const neverStarted =
  'tasks are enqueued or shown, but start() was not called: call start() to run tasks here, or ' +
  'start({ run: false }) if another process runs them';

/** Milliseconds from the first use after which a manager that was not started is reported. */
const warningDelay = 5000;

/** What a {@link Lifecycle} works with. */
interface LifecycleParts {
  /** Starts the engine, with the runner or without. */
  begin(run: boolean): Promise<void>;
  /** Reports that nothing was started; absent if it is not to be reported. */
  warn: (() => void) | undefined;
}

/**
 * Tracks whether and how a manager was started. It starts once and stops once. If it is used for
 * some seconds without a start, it warns, because tasks that are enqueued and never run look as if
 * they were lost.
 */
export class Lifecycle {
  readonly #parts: LifecycleParts;
  #starting: { run: boolean; done: Promise<void> } | undefined;
  #stopped = false;
  #used = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  /**
   * @throws TaskflowError ENGINE_UNAVAILABLE after `stop`, INVALID_INPUT if it was started with
   * another `run`.
   */
  async start(run: boolean): Promise<void> {
    if (this.#stopped)
      throw new TaskflowError(
        'ENGINE_UNAVAILABLE',
        'the task manager has stopped and cannot be started again; make another one',
      );
    if (this.#starting && this.#starting.run !== run)
      throw new TaskflowError(
        'INVALID_INPUT',
        `start(${run ? '' : '{ run: false }'}) was called after ` +
          `start(${run ? '{ run: false }' : ''}); a manager can be started in one mode only`,
      );
    this.#endWarning();
    // A request that starts the manager must not be kept in memory for as long as the manager
    // lives.
    this.#starting ??= { run, done: runInEmptyContext(() => this.#begin(run)) };
    await this.#starting.done;
  }

  async #begin(run: boolean): Promise<void> {
    try {
      await this.#parts.begin(run);
    } catch (error) {
      // The cause may pass, so the start may be tried again.
      this.#starting = undefined;
      throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#endWarning();
  }

  /**
   * Notes that tasks are enqueued or shown. Called for every enqueue, so it does almost nothing
   * after the first call.
   */
  used(): void {
    if (this.#used) return;
    this.#used = true;
    const { warn } = this.#parts;
    if (warn && !this.#stopped)
      this.#timer = runInEmptyContext(() => setTimeout(warn, warningDelay).unref());
  }

  /** After a call of `start` there is nothing to report, even if the start failed. */
  #endWarning(): void {
    this.#used = true;
    clearTimeout(this.#timer);
  }
}
