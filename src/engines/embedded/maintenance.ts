import { Background } from '../../background.js';
import type { Logger } from '../../options.js';
import { startOf } from '../figures.js';
import { statsOption } from '../stats-option.js';
import type { Reader } from '../tables/read/reader.js';
import type { Clock, Timer } from './clock.js';
import type { GroupCommit } from './group-commit.js';
import { restartFutureDelays } from './run/delays.js';

/** What is kept of the tasks that have ended. */
export interface Retention {
  /** Milliseconds after its end that a task is kept; for ever when absent. */
  age: number | undefined;
  /** How many are kept; all when absent. */
  count: number | undefined;
  /** Milliseconds that the sums of minutes and of hours are kept. Default 7 and 400 days. */
  statistics?: { minutes: number; hours: number };
}

/**
 * Milliseconds between two runs of each job: indexing failures for search, starting delays again
 * after the clock was set back, dropping what is too old, dropping empty partitions.
 */
const intervals = { search: 1000, delays: 1000, prune: 60_000, partitions: 3_600_000 };
/**
 * Rows of one commit, so that no commit is long, and milliseconds between two commits, so that
 * other writes can come between.
 */
const steps = { search: 100, prune: 100, statistics: 500, expired: 500, partitions: 100, pause: 5 };

interface MaintenanceParts {
  clock: Clock;
  logger: Logger;
  retention: Retention;
  /** Called when waiting tasks may be due earlier than before. */
  dueEarlier?(): void;
}

interface Storage {
  reader: Reader;
  commits: GroupCommit;
}

/** Does what a database needs from time to time, in small steps. */
export class Maintenance {
  readonly #parts: MaintenanceParts;
  #timers: Timer[] = [];
  #stopped = false;
  /** When partitions are looked at again. */
  #nextPartitions = 0;

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
  }

  start(storage: Storage): void {
    this.#repeat(intervals.search, () => this.#makeSearchable(storage));
    this.#repeat(intervals.delays, () => this.#restartDelays(storage));
    const { age, count } = this.#parts.retention;
    if (age !== undefined || count !== undefined)
      this.#repeat(intervals.prune, () => this.#prune(storage));
    this.#repeat(intervals.prune, () => this.#dropExpired(storage));
    this.#repeat(intervals.prune, () => this.#dropStatistics(storage));
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.clear();
  }

  /** Now and then, never twice at a time. */
  #repeat(milliseconds: number, work: () => Promise<void>): void {
    const job = new Background(this.#parts.logger, 'the maintenance of the task database');
    let busy = false;
    const turn = async (): Promise<void> => {
      if (busy || this.#stopped) return;
      busy = true;
      try {
        await work();
        job.worked();
      } catch (err) {
        if (!this.#stopped) job.failed(err);
      } finally {
        busy = false;
      }
    };
    this.#timers.push(this.#parts.clock.every(milliseconds, () => void turn()));
    void turn();
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.after(steps.pause, resolve));
  }

  async #makeSearchable({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasUnsearchable()) {
      await commits.submit<'makeSearchable'>({ kind: 'makeSearchable', limit: steps.search });
      await this.#pause();
    }
  }

  async #restartDelays(storage: Storage): Promise<void> {
    if (await restartFutureDelays({ ...storage, clock: this.#parts.clock }))
      this.#parts.dueEarlier?.();
  }

  async #prune({ commits }: Storage): Promise<void> {
    const { age, count } = this.#parts.retention;
    let deleted = steps.prune;
    while (!this.#stopped && deleted === steps.prune) {
      const at = this.#parts.clock.now();
      const endedBefore = age === undefined ? null : at - age;
      deleted = await commits.submit<'prune'>({
        kind: 'prune',
        endedBefore,
        keep: count ?? null,
        limit: steps.prune,
        at,
      });
      await this.#pause();
    }
  }

  async #dropExpired({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasExpired(this.#parts.clock.now())) {
      await commits.submit<'dropExpired'>({
        kind: 'dropExpired',
        limit: steps.expired,
        at: this.#parts.clock.now(),
      });
      await this.#pause();
    }
  }

  /**
   * Drops old sums. From time to time it also drops partitions that have no task and no recent sum.
   */
  async #dropStatistics({ reader, commits }: Storage): Promise<void> {
    const { minutes, hours } = this.#parts.retention.statistics ?? statsOption('stats');
    const before = {
      minutesBefore: startOf('hour', this.#parts.clock.now() - minutes),
      hoursBefore: startOf('day', this.#parts.clock.now() - hours),
    };
    while (!this.#stopped && reader.hasOldStatistics(before.minutesBefore, before.hoursBefore)) {
      await commits.submit<'dropStatistics'>({
        kind: 'dropStatistics',
        ...before,
        limit: steps.statistics,
      });
      await this.#pause();
    }
    if (this.#parts.clock.now() < this.#nextPartitions || !reader.hasDroppedHours()) return;
    this.#nextPartitions = this.#parts.clock.now() + intervals.partitions;
    for (let after: number | null = 0; after !== null && !this.#stopped; ) {
      after = await commits.submit<'dropPartitions'>({
        kind: 'dropPartitions',
        after,
        limit: steps.partitions,
      });
      await this.#pause();
    }
  }
}
