import { runInEmptyContext } from './empty-context.js';
import { TaskflowError } from './errors.js';

/** The log message for a manager that was never started. */
export const neverStarted =
  'tasks are enqueued or shown, but start() was not called: call start() to run tasks here, or ' +
  'start({ run: false }) if another process runs them';

/** Milliseconds from the first use until a warning about a manager that was not started. */
const warningDelay = 5000;

/** The callbacks of a {@link Lifecycle}. */
interface LifecycleDeps {
  /** Starts the engine, with or without the runner. */
  begin(run: boolean): Promise<void>;
  /** Warns that the manager was not started; absent if there is nothing to warn about. */
  warn: (() => void) | undefined;
}

/**
 * Tracks whether and how a manager was started. A manager starts once and stops once. If it is used
 * but not started within five seconds, it warns, because enqueued tasks that never run look lost.
 */
export class Lifecycle {
  readonly #deps: LifecycleDeps;
  #starting: { run: boolean; done: Promise<void> } | undefined;
  #stopped = false;
  #used = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: LifecycleDeps) {
    this.#deps = deps;
  }

  /**
   * Starts the manager.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE after `stop`, INVALID_INPUT if it was started with
   * another `run`.
   */
  async start(run: boolean): Promise<void> {
    if (this.#stopped)
      throw new TaskflowError(
        'ENGINE_UNAVAILABLE',
        'the task manager has stopped and cannot be started again; create another one',
      );
    if (this.#starting && this.#starting.run !== run)
      throw new TaskflowError(
        'INVALID_INPUT',
        `start(${run ? '' : '{ run: false }'}) was called after ` +
          `start(${run ? '{ run: false }' : ''}); a manager can be started in one mode only`,
      );
    this.#endWarning();
    // A request may start the manager. The manager must not keep that request in memory.
    this.#starting ??= { run, done: runInEmptyContext(() => this.#begin(run)) };
    await this.#starting.done;
  }

  async #begin(run: boolean): Promise<void> {
    try {
      await this.#deps.begin(run);
    } catch (error) {
      // The cause may be temporary, so `start` can be called again.
      this.#starting = undefined;
      throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#endWarning();
  }

  /**
   * Notes that the manager is used to enqueue or show tasks. It runs for every enqueue, so it does
   * almost nothing after the first call.
   */
  used(): void {
    if (this.#used) return;
    this.#used = true;
    const { warn } = this.#deps;
    if (warn) this.#timer = runInEmptyContext(() => setTimeout(warn, warningDelay).unref());
  }

  /** Ends the warning after a call of `start`, even if the start failed. */
  #endWarning(): void {
    this.#used = true;
    clearTimeout(this.#timer);
  }
}
