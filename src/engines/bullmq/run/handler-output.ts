import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { persistently, RedisWork, untilRepeatable } from '../connection/connections.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { jobProgress } from '../jobs/job-view.js';
import type { Attempt } from './attempt.js';
import type { TaskBackend } from './task-backend.js';

/** Milliseconds for which log lines and progress are gathered before they are written. */
const gatherTime = 50;

interface OutputDeps {
  redis: Redis;
  logger: Logger;
  changes: ChangeNotes;
  /** The backend of a queue that this process serves. */
  backend(queue: string): TaskBackend | undefined;
}

/** Sends lines or progress to Redis. */
type Write = () => Promise<unknown>;

/**
 * Writes the log lines and the progress of handlers that run here. If Redis refuses a write or
 * lacks its script, the write is repeated until Redis takes it. Later output of the attempt waits.
 */
export class HandlerOutput {
  readonly #deps: OutputDeps;
  readonly #writing: Background;
  readonly #unwritten = new Set<Attempt>();
  /** The attempts with writes that are repeated, and the last of these writes. */
  readonly #repeating = new Map<Attempt, Promise<void>>();
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
    if (!backend || this.#repeating.has(attempt)) return;
    const [lines, progress] = [attempt.takeLines(), attempt.takeProgress()];
    const texts = lines.map((line) => JSON.stringify({ ...line, attempt: attempt.attempt }));
    const writes: Write[] = backend.addingLines(attempt.id, texts);
    if (progress)
      writes.push(async () => {
        await backend.updateProgress(attempt.id, jobProgress(progress));
        const change = { queue: attempt.queue, jobId: attempt.id, state: 'changed' } as const;
        this.#deps.changes.soon(change);
      });
    if (writes.length > 0) this.#writing.run(() => this.#send(attempt, writes));
  }

  async #send(attempt: Attempt, writes: readonly Write[]): Promise<void> {
    const sent = await Promise.allSettled(writes.map((write) => write()));
    const before = this.#repeating.get(attempt);
    const refused = writes.flatMap((write, n) => {
      const result = sent[n];
      return result?.status === 'rejected' ? [{ write, error: result.reason as unknown }] : [];
    });
    if (refused.length === 0) return;
    const repeated = (async () => {
      await before?.catch(() => undefined);
      for (const { write, error } of refused) {
        await untilRepeatable(this.#deps.redis, error);
        await persistently(this.#deps.redis, write);
      }
    })();
    this.#repeating.set(attempt, repeated);
    try {
      await repeated;
    } finally {
      if (this.#repeating.get(attempt) === repeated) {
        this.#repeating.delete(attempt);
        this.soon(attempt);
      }
    }
  }

  /** Writes all lines and progress that have not been written yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const attempt of this.#unwritten) this.write(attempt);
  }
}
