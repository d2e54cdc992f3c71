import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { thrownForLog } from '../../../tasks/describe-error.js';
import type { AttemptIo, ClaimedTask, NewLogLine } from '../../../tasks/task-runner.js';
import { AttemptSignal } from '../../attempt-signal.js';
import { keyOf } from '../jobs/job-ids.js';

/** How an attempt ends other than by its handler. */
type GivenUp = 'cancelled' | 'handed back';

/** Progress that is not written yet. */
export interface Progress {
  value: number;
  text: string | null;
}

interface AttemptDeps {
  task: ClaimedTask;
  /** BullMQ's name of the queue. */
  queue: string;
  logger: Logger;
  /** Writes lines and progress. */
  output: { soon(attempt: Attempt): void };
}

/** An attempt that runs in this process. */
export class Attempt implements AttemptIo {
  readonly id: string;
  readonly name: string;
  /** Its number. */
  readonly attempt: number;
  readonly queue: string;
  /** The key of its job, which is unique across all queues. */
  readonly key: string;
  /** Whether the attempt is over. Lines that its handler writes after that are marked as late. */
  over = false;
  cancelled = false;
  /** Whether another process has taken over its job, or the job is gone. */
  isLost = false;
  /** The last progress that its handler reported. */
  lastProgress: Progress | undefined;
  /** Lines that it has logged. */
  lineCount = 0;
  readonly #output: AttemptDeps['output'];
  readonly #logger: Logger;
  readonly #signal: AttemptSignal;
  /**
   * Set if the engine has given the attempt up: it records the end although the handler may still
   * run.
   */
  #givenUp: GivenUp | undefined;
  #resolve: (how: GivenUp) => void = () => undefined;
  #grace: NodeJS.Timeout | undefined;
  #lines: (NewLogLine & { late: boolean })[] = [];
  #progress: Progress | undefined;

  constructor(deps: AttemptDeps) {
    const { task, queue, logger, output } = deps;
    const { id, name, attempt } = task;
    this.id = id;
    this.name = name;
    this.attempt = attempt;
    this.queue = queue;
    this.key = keyOf(queue, id);
    this.#output = output;
    this.#logger = logger;
    this.#signal = new AttemptSignal(this);
  }

  listenerFailed(err: unknown): void {
    const { id, name, attempt } = this;
    this.#logger.error(
      { taskId: id, task: name, attempt, err: thrownForLog(err) },
      'an abort listener of a task failed',
    );
  }

  get signal(): AbortSignal {
    return this.#signal.signal;
  }

  abort(reason: unknown): void {
    this.#signal.abort(reason);
  }

  log(line: NewLogLine): void {
    this.lineCount += 1;
    this.#lines.push({ ...line, late: this.over });
    this.#output.soon(this);
  }

  progress(value: number, text: string | null): void {
    if (this.over) return;
    this.#progress = { value, text };
    this.lastProgress = this.#progress;
    this.#output.soon(this);
  }

  takeLines(): (NewLogLine & { late: boolean })[] {
    return this.#lines.splice(0);
  }

  /** Whether there is progress that was not taken. */
  get hasProgress(): boolean {
    return this.#progress !== undefined;
  }

  takeProgress(): Progress | undefined {
    const progress = this.#progress;
    this.#progress = undefined;
    return progress;
  }

  /** Resolves to the result of the handler, or to how the attempt was given up before. */
  outcome<T>(result: Promise<T>): Promise<T | GivenUp> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      if (this.#givenUp) resolve(this.#givenUp);
      else result.then(resolve, reject);
    });
  }

  #giveUp(how: GivenUp): void {
    this.#givenUp ??= how;
    this.#resolve(this.#givenUp);
  }

  /**
   * Aborts the handler's signal, and gives the attempt up if the handler still runs after `grace`
   * seconds.
   */
  cancel(grace: number): void {
    if (this.cancelled || this.over) return;
    this.cancelled = true;
    this.#grace = runInEmptyContext(() =>
      setTimeout(() => this.#giveUp('cancelled'), grace * 1000).unref(),
    );
    this.abort(new DOMException('the task was cancelled', 'AbortError'));
  }

  /** Aborts the handler's signal, because the attempt no longer has its job. */
  lose(reason: unknown): void {
    this.isLost = true;
    this.abort(reason);
  }

  /** Aborts the handler's signal because the process stops. */
  stop(): void {
    clearTimeout(this.#grace);
    this.abort(new DOMException('the process stops', 'AbortError'));
  }

  /** Gives the attempt up, because the process ends. */
  handBack(): void {
    this.#giveUp('handed back');
  }

  /** Marks the attempt as over. */
  end(): void {
    this.over = true;
    // The resolver refers to the task, which can be freed even if a set still holds this attempt.
    this.#resolve = () => undefined;
    clearTimeout(this.#grace);
  }
}
