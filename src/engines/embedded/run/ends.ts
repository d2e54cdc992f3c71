import { Background } from '../../../background.js';
import { isReported } from '../../../errors.js';
import { Notifier } from '../../../notifier.js';
import type { Logger } from '../../../options.js';
import type { AttemptResult, StoredEnd } from '../../../tasks/task-runner.js';
import { storedEnd } from '../../tables/write/batch.js';
import type { Clock } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import type { Transitions } from '../transitions.js';
import type { AttemptKey } from './slot.js';
import type { LeftToWrite } from './slots.js';

/** Milliseconds before a failed attempt to store an end is repeated. */
const retryDelay = 1000;

interface EndRecorderDeps {
  /** The id of this process. */
  owner: string;
  commits: Pick<GroupCommit, 'submit'>;
  transitions: Transitions;
  clock: Clock;
  logger: Logger;
}

/**
 * Stores how attempts ended. If an end cannot be stored, for example because the disk is full, it
 * is tried again until `close`.
 */
export class EndRecorder {
  readonly #deps: EndRecorderDeps;
  readonly #recording: Background;
  /** Notifies when all unstored ends are to be tried again immediately. */
  readonly #again = new Notifier();
  #closed = false;

  constructor(deps: EndRecorderDeps) {
    this.#deps = deps;
    this.#recording = new Background(deps.logger, 'recording the ends of tasks');
  }

  /**
   * Stores the end of an attempt. Resolves to what was stored, or `undefined` if this recorder was
   * closed before.
   */
  async record(
    { id, rowid, attempt }: AttemptKey & { id: string },
    result: AttemptResult,
    { logs, progress }: LeftToWrite,
  ): Promise<StoredEnd | 'lost' | undefined> {
    const { owner, commits, transitions, clock } = this.#deps;
    const finish = {
      ...({ kind: 'finish', rowid, owner, attempt, at: clock.now(), result } as const),
      ...(logs.length > 0 && { logs }),
      ...(progress && { progress }),
    };
    for (let again = false; !this.#closed; again = true) {
      try {
        const end = await commits.submit(again ? { ...finish, again } : finish);
        this.#recording.worked();
        if (typeof end === 'object') transitions.ofRows([end]);
        return storedEnd(end);
      } catch (err) {
        this.#recording.failed(err, { taskId: id, attempt });
        await this.#wait();
      }
    }
  }

  /**
   * Stores that an attempt was cancelled although its handler still runs. Resolves to whether this
   * was stored.
   */
  async abandon({ id, rowid, attempt }: AttemptKey & { id: string }): Promise<boolean> {
    const { owner, commits, transitions, clock, logger } = this.#deps;
    try {
      const end = await commits.submit({
        kind: 'abandon',
        rowid,
        owner,
        attempt,
        at: clock.now(),
      });
      if (typeof end === 'object') transitions.ofRows([end]);
      return end !== 'lost';
    } catch (err) {
      const message = 'a cancelled task could not be recorded; it will be recorded when it ends';
      if (!isReported(err)) logger.error({ err, taskId: id, attempt }, message);
      return false;
    }
  }

  /** Tries all unstored ends again immediately. */
  retryNow(): void {
    this.#again.notify();
  }

  /** Stops trying to store ends. */
  close(): void {
    this.#closed = true;
  }

  async #wait(): Promise<void> {
    const timeout = new AbortController();
    const timer = this.#deps.clock.after(retryDelay, () => timeout.abort(), 'background');
    await this.#again.wait(timeout.signal);
    timer.clear();
  }
}
