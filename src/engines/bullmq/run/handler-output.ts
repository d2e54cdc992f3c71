import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { RedisWork } from '../connection/connections.js';
import { allSteps } from '../connection/redis-calls.js';
import { plainError } from '../connection/redis-connection.js';
import { isPassing } from '../connection/redis-errors.js';
import { untilScriptRuns } from '../connection/redis-script.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { jobProgress } from '../jobs/job-view.js';
import type { Attempt, Progress } from './attempt.js';
import type { TaskBackend } from './task-backend.js';

/** Milliseconds for which log lines and progress are gathered before they are written. */
const gatherTime = 50;

interface OutputDeps {
  logger: Logger;
  changes: ChangeNotes;
  /** The backend of a queue that this process serves. */
  backend(queue: string): TaskBackend | undefined;
}

/** Writes the log lines and the progress of handlers that run here. */
export class HandlerOutput {
  readonly #deps: OutputDeps;
  readonly #writing: Background;
  readonly #unwritten = new Set<Attempt>();
  /** The attempts whose progress Redis has been told but has not confirmed. */
  readonly #unconfirmed = new Set<Attempt>();
  /** Lines that were dropped since Redis began to refuse writes. */
  #dropped: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: OutputDeps) {
    this.#deps = deps;
    this.#writing = new RedisWork(deps.logger, 'writing log lines and progress of tasks');
  }

  /** Writes an attempt's lines and progress soon, together with those of others. */
  soon(attempt: Attempt): void {
    this.#unwritten.add(attempt);
    this.#timer ??= runInEmptyContext(() => setTimeout(() => this.flush(), gatherTime).unref());
  }

  /**
   * Writes an attempt's lines and progress, on the connection that stores its end, so that they are
   * stored before it.
   */
  write(attempt: Attempt): void {
    this.#unwritten.delete(attempt);
    const backend = this.#deps.backend(attempt.queue);
    const lines = attempt.takeLines();
    // While Redis is slow, only the latest progress of a task waits. The end of an attempt must not
    // wait.
    const waits = this.#unconfirmed.has(attempt) && !attempt.over;
    const progress = waits ? undefined : attempt.takeProgress();
    if (!backend || (lines.length === 0 && !progress)) return;
    this.#writing.run(async () => {
      const texts = lines.map((line) => JSON.stringify({ ...line, attempt: attempt.attempt }));
      let unwritten = lines.length;
      const adding = backend.addLines(attempt.id, texts).then(() => {
        unwritten = 0;
      });
      try {
        await allSteps([
          adding,
          ...(progress ? [this.#writeProgress(backend, attempt, progress)] : []),
        ]);
      } catch (error) {
        if (isPassing(error)) this.#refused(error, unwritten);
        throw error;
      }
      this.#stored();
    });
  }

  /** Notes that Redis refused a write. It is not repeated, because Redis may be full for long. */
  #refused(error: unknown, lines: number): void {
    if (this.#dropped === undefined)
      this.#deps.logger.warn(
        { lines, err: plainError(error) },
        'Redis refuses log lines and progress of tasks, so they are dropped',
      );
    this.#dropped = (this.#dropped ?? 0) + lines;
  }

  #stored(): void {
    const lines = this.#dropped;
    if (lines === undefined) return;
    this.#dropped = undefined;
    this.#deps.logger.info({ lines }, 'Redis stores log lines and progress of tasks again');
  }

  async #writeProgress(backend: TaskBackend, attempt: Attempt, progress: Progress): Promise<void> {
    this.#unconfirmed.add(attempt);
    try {
      await untilScriptRuns(() =>
        backend.updateProgress(attempt.id, jobProgress(attempt.lastProgress ?? progress)),
      );
    } finally {
      this.#unconfirmed.delete(attempt);
      if (attempt.hasProgress) this.soon(attempt);
    }
    this.#deps.changes.soon({ queue: attempt.queue, jobId: attempt.id, state: 'changed' });
  }

  /** Writes all lines and progress that have not been written yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const attempt of this.#unwritten) this.write(attempt);
  }
}
