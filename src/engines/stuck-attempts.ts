import { runInEmptyContext } from '../empty-context.js';
import type { Logger } from '../options.js';
import type { StuckAttempt } from '../tasks/types.js';

/** The fields that identify an attempt in logs and lists. */
interface NamedAttempt {
  readonly id: string;
  readonly name: string;
  readonly attempt: number;
}

/** The attempts of a process that were given up while their handlers still run. */
export interface Stuck {
  /** Number of these attempts. Each holds a slot. */
  stuck: number;
  /** The attempts that were given up first, at most 20. */
  stuckAttempts: readonly StuckAttempt[];
}

interface StuckAttemptsDeps {
  /** Returns the number of slots of the process. */
  slots(): number;
  logger: Logger;
  /** Called some milliseconds after the number has changed. */
  changed(stuck: Stuck): void;
}

/** Maximum number of attempts in the list. */
const maxListed = 20;
/**
 * Milliseconds for which changes are gathered, so that many handlers that hang at the same time
 * cause a single write.
 */
const gatherTime = 100;

/** Tracks the attempts that were given up while their handlers still run. */
export type StuckAttempts = ReturnType<typeof createStuckAttempts>;

/**
 * Creates the {@link StuckAttempts} of a process. JavaScript cannot stop a handler, so the handler
 * of such an attempt keeps its slot, and an operator must be informed.
 */
export function createStuckAttempts({ slots: slotsNow, logger, changed }: StuckAttemptsDeps) {
  /** When each attempt was given up, in Unix milliseconds. */
  const stuckSince = new Map<NamedAttempt, number>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const changedSoon = (): void => {
    const report = (): void => {
      timer = undefined;
      const first = [...stuckSince].slice(0, maxListed);
      const stuckAttempts = first.map(([{ id, name, attempt }, since]) => ({
        id,
        name,
        attempt,
        since: new Date(since).toISOString(),
      }));
      changed({ stuck: stuckSince.size, stuckAttempts });
    };
    timer ??= runInEmptyContext(() => setTimeout(report, gatherTime).unref());
  };

  return {
    /** Adds an attempt that was given up, and warns about it once. */
    add(attempt: NamedAttempt): void {
      if (closed || stuckSince.has(attempt)) return;
      stuckSince.set(attempt, Date.now());
      const slots = slotsNow();
      const counts = { stuck: stuckSince.size, slots };
      logger.warn(
        { ...fieldsOf(attempt), ...counts },
        'attempt was given up, but its handler still runs and holds its slot',
      );
      if (stuckSince.size >= slots)
        logger.error(
          counts,
          'all slots are held by handlers that did not stop, so no task starts here',
        );
      changedSoon();
    },

    /** Removes an attempt whose handler has ended, if it was stuck. */
    remove(attempt: NamedAttempt): void {
      const since = stuckSince.get(attempt);
      if (since === undefined) return;
      stuckSince.delete(attempt);
      if (closed) return;
      const durationMs = Math.max(0, Date.now() - since);
      logger.info(
        { ...fieldsOf(attempt), durationMs, stuck: stuckSince.size, slots: slotsNow() },
        'handler of an attempt that was given up has ended, and its slot is free',
      );
      changedSoon();
    },

    /** Stops reporting. */
    close(): void {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function fieldsOf({ id, name, attempt }: NamedAttempt): object {
  return { taskId: id, task: name, attempt };
}
