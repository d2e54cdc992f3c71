import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { thrownForLog } from '../../../tasks/describe-error.js';
import type { AttemptIo, ClaimedTask, NewLogLine } from '../../../tasks/engine.js';
import { AttemptSignal } from '../../embedded/attempt-signal.js';

/** How an attempt ends other than by its handler. */
export type GivenUp = 'cancelled' | 'handed back';

/** Progress that is not written yet. */
export interface Progress {
  value: number;
  text: string | null;
}

interface AttemptParts {
  task: ClaimedTask;
  /** BullMQ's name of the queue. */
  queue: string;
  logger: Logger;
  /** There are lines or progress to write. */
  wrote(attempt: Attempt): void;
}

/** An attempt under way in this process. */
export class Attempt implements AttemptIo {
  readonly task: ClaimedTask;
  readonly queue: string;
  /** Resolves when the attempt is given up: its end is recorded although its handler may go on. */
  readonly givenUp: Promise<GivenUp>;
  /** The attempt has an end; what its handler still writes is late. */
  over = false;
  cancelled = false;
  /** Lines that it has logged. */
  lineCount = 0;
  readonly #parts: AttemptParts;
  readonly #signal: AttemptSignal;
  #giveUp: (how: GivenUp) => void = () => undefined;
  #grace: NodeJS.Timeout | undefined;
  #lines: (NewLogLine & { late: boolean })[] = [];
  #progress: Progress | undefined;

  constructor(parts: AttemptParts) {
    this.#parts = parts;
    this.task = parts.task;
    this.queue = parts.queue;
    this.givenUp = new Promise((resolve) => {
      this.#giveUp = resolve;
    });
    const { id, name, attempt } = parts.task;
    this.#signal = new AttemptSignal((err) =>
      parts.logger.error({ taskId: id, task: name, attempt, err: thrownForLog(err) }, 'an abort listener of a task failed'),
    );
  }

  // What follows is for the log of stuck attempts.
  get id(): string {
    return this.task.id;
  }

  get name(): string {
    return this.task.name;
  }

  get attempt(): number {
    return this.task.attempt;
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
    this.#parts.wrote(this);
  }

  progress(value: number, text: string | null): void {
    if (this.over) return;
    this.#progress = { value, text };
    this.#parts.wrote(this);
  }

  takeLines(): (NewLogLine & { late: boolean })[] {
    return this.#lines.splice(0);
  }

  takeProgress(): Progress | undefined {
    const progress = this.#progress;
    this.#progress = undefined;
    return progress;
  }

  /** Asks the handler to stop, and gives the attempt up after `grace` seconds. */
  cancel(grace: number): void {
    if (this.cancelled || this.over) return;
    this.cancelled = true;
    this.#grace = runInEmptyContext(() => setTimeout(() => this.#giveUp('cancelled'), grace * 1000).unref());
    this.abort(new DOMException('the task was cancelled', 'AbortError'));
  }

  /** Asks the handler to stop, because the process stops. */
  stop(): void {
    clearTimeout(this.#grace);
    this.abort(new DOMException('the process stops', 'AbortError'));
  }

  /** Gives the attempt up, because the process ends. */
  handBack(): void {
    this.#giveUp('handed back');
  }

  /** Notes that the attempt has an end. */
  end(): void {
    this.over = true;
    clearTimeout(this.#grace);
  }
}
