import { Background } from '../../../background.js';
import { isReported } from '../../../errors.js';
import { Notifier } from '../../../notifier.js';
import type { AttemptResult, StoredEnd } from '../../../tasks/task-runner.js';
import { storedEnd } from '../../tables/write/batch.js';
import type { GroupCommit } from '../group-commit.js';
import type { Shared } from '../shared.js';
import type { LeftToWrite, Slot } from './slot.js';

/** Milliseconds before a failed attempt to store an end is repeated. */
const retryDelay = 1000;

interface EndRecorderDeps extends Shared {
  commits: GroupCommit;
}

/** Stores how attempts ended. */
export type EndRecorder = ReturnType<typeof createEndRecorder>;

/**
 * Creates the {@link EndRecorder} of a process. If an end cannot be stored, for example because the
 * disk is full, it is tried again until `close`.
 */
export function createEndRecorder(deps: EndRecorderDeps) {
  const { owner, commits, transitions, clock, logger } = deps;
  const recording = new Background(logger, 'recording the ends of tasks');
  /** Notifies when all unstored ends are to be tried again. */
  const again = new Notifier();
  let closed = false;
  /** Tries all unstored ends again immediately. */
  const retryNow = (): void => again.notify();
  return {
    retryNow,

    /**
     * Stores the end of an attempt. Resolves to what was stored. `lost` means nothing, because
     * another process owns the task. `undefined` means nothing, because this process stops.
     */
    async record(
      { id, rowid, attempt }: Slot,
      result: AttemptResult,
      { logs, progress }: LeftToWrite,
    ): Promise<StoredEnd | 'lost' | undefined> {
      const finish = {
        ...({ kind: 'finish', rowid, owner, attempt, at: clock.now(), result } as const),
        ...(logs.length > 0 && { logs }),
        ...(progress && { progress }),
      };
      for (let isRepeated = false; !closed; isRepeated = true) {
        try {
          const end = await commits.submit(isRepeated ? { ...finish, again: true } : finish);
          recording.worked();
          if (typeof end === 'object') transitions.ofRows([end]);
          return storedEnd(end);
        } catch (err) {
          recording.failed(err, { taskId: id, attempt });
          const timer = clock.after(retryDelay, retryNow, 'background');
          await again.wait();
          timer.clear();
        }
      }
    },

    /**
     * Stores that an attempt was cancelled although its handler still runs. Resolves to whether
     * this was stored.
     */
    async abandon({ id, rowid, attempt }: Slot): Promise<boolean> {
      try {
        const at = clock.now();
        const end = await commits.submit({ kind: 'abandon', rowid, owner, attempt, at });
        if (typeof end === 'object') transitions.ofRows([end]);
        return end !== 'lost';
      } catch (err) {
        const message = 'a cancelled task could not be recorded; it will be recorded when it ends';
        if (!isReported(err)) logger.error({ err, taskId: id, attempt }, message);
        return false;
      }
    },

    /** Stops trying to store ends. */
    close(): void {
      closed = true;
    },
  };
}
