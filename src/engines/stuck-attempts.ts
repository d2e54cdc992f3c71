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

/**
 * Tracks the attempts that were given up while their handlers still run. JavaScript cannot stop
 * such a handler, so it keeps its slot, and an operator must be informed.
 */
export class StuckAttempts {
  readonly #deps: StuckAttemptsDeps;
  /** When each attempt was given up, in Unix milliseconds. */
  readonly #since = new Map<NamedAttempt, number>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: StuckAttemptsDeps) {
    this.#deps = deps;
  }

  /** Adds an attempt that was given up, and warns about it once. */
  add(attempt: NamedAttempt): void {
    if (this.#closed || this.#since.has(attempt)) return;
    this.#since.set(attempt, Date.now());
    const { logger } = this.#deps;
    const slots = this.#deps.slots();
    const counts = { stuck: this.#since.size, slots };
    logger.warn(
      { ...fieldsOf(attempt), ...counts },
      'attempt was given up, but its handler still runs and holds its slot',
    );
    if (this.#since.size >= slots)
      logger.error(
        counts,
        'all slots are held by handlers that did not stop, so no task starts here',
      );
    this.#changedSoon();
  }

  /** Removes an attempt whose handler has ended, if it was stuck. */
  remove(attempt: NamedAttempt): void {
    const since = this.#since.get(attempt);
    if (since === undefined) return;
    this.#since.delete(attempt);
    if (this.#closed) return;
    const { logger } = this.#deps;
    const slots = this.#deps.slots();
    const fields = {
      ...fieldsOf(attempt),
      durationMs: Math.max(0, Date.now() - since),
      stuck: this.#since.size,
      slots,
    };
    logger.info(fields, 'handler of an attempt that was given up has ended, and its slot is free');
    this.#changedSoon();
  }

  /** Stops reporting. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #changedSoon(): void {
    const report = (): void => {
      this.#timer = undefined;
      this.#deps.changed(this.#list());
    };
    this.#timer ??= runInEmptyContext(() => setTimeout(report, gatherTime).unref());
  }

  #list(): Stuck {
    const first = [...this.#since].slice(0, maxListed);
    const stuckAttempts = first.map(([{ id, name, attempt }, since]) => ({
      id,
      name,
      attempt,
      since: new Date(since).toISOString(),
    }));
    return { stuck: this.#since.size, stuckAttempts };
  }
}

function fieldsOf({ id, name, attempt }: NamedAttempt): object {
  return { taskId: id, task: name, attempt };
}
