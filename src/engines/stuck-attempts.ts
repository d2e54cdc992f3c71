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
  /** How many there are; each holds a slot. */
  stuck: number;
  /** The first {@link maxListed} that were given up. */
  stuckAttempts: readonly StuckAttempt[];
}

interface StuckAttemptsParts {
  /** Returns how many attempts the process runs at once. */
  slots(): number;
  logger: Logger;
  /** Called some milliseconds after the count changed. */
  changed(stuck: Stuck): void;
}

/** Attempts that are listed by name. */
const maxListed = 20;
/**
 * Milliseconds that changes are gathered for, so that many handlers which hang together are one
 * write.
 */
const gatherTime = 100;

/**
 * Counts the attempts that were given up while their handlers still run. JavaScript cannot end such
 * a handler, so its slot stays taken, and an operator must learn of it.
 */
export class StuckAttempts {
  readonly #parts: StuckAttemptsParts;
  /** Since when, in Unix milliseconds, by attempt. */
  readonly #since = new Map<NamedAttempt, number>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: StuckAttemptsParts) {
    this.#parts = parts;
  }

  /** Adds an attempt that was given up, and warns about it once. */
  add(attempt: NamedAttempt): void {
    if (this.#closed || this.#since.has(attempt)) return;
    this.#since.set(attempt, Date.now());
    const { logger } = this.#parts;
    const slots = this.#parts.slots();
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
    const { logger } = this.#parts;
    const slots = this.#parts.slots();
    const fields = {
      ...fieldsOf(attempt),
      durationMs: Math.max(0, Date.now() - since),
      stuck: this.#since.size,
      slots,
    };
    logger.info(fields, 'handler of an attempt that was given up has ended, and its slot is free');
    this.#changedSoon();
  }

  /** Reports nothing from now on. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #changedSoon(): void {
    const tell = (): void => {
      this.#timer = undefined;
      this.#parts.changed(this.#list());
    };
    this.#timer ??= runInEmptyContext(() => setTimeout(tell, gatherTime).unref());
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
