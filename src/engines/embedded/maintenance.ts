import { Background } from '../../background.js';
import type { Logger } from '../../options.js';
import { startOf } from '../ended-stats.js';
import { statsOption } from '../stats-option.js';
import type { Reader } from '../tables/read/reader.js';
import type { Clock, Timer } from './clock.js';
import type { GroupCommit } from './group-commit.js';
import { restartFutureDelays } from './run/clock-set-back.js';

/** How long ended tasks and their statistics are kept. */
export interface Retention {
  /** Milliseconds that a task is kept after its end. Absent: forever. */
  age: number | undefined;
  /** Maximum number of ended tasks that are kept. Absent: all. */
  count: number | undefined;
  /** Milliseconds that rollups of minutes and hours are kept. Default 7 and 400 days. */
  statistics?: { minutes: number; hours: number };
}

/**
 * Milliseconds between two runs of each job: indexing failures for search, restarting delays after
 * the clock was set back, deleting what is past its retention, dropping empty partitions.
 */
const intervals = { search: 1000, delays: 1000, prune: 60_000, partitions: 3_600_000 };
/**
 * Maximum number of rows in one commit, so that each commit is short. `pause`: milliseconds between
 * two commits, so that other writes can run in between.
 */
const steps = { search: 100, prune: 100, statistics: 500, expired: 500, partitions: 100, pause: 5 };

interface MaintenanceDeps {
  clock: Clock;
  logger: Logger;
  retention: Retention;
  /** Called when delayed tasks may be due earlier than before. */
  dueEarlier?(): void;
}

interface Storage {
  reader: Reader;
  commits: GroupCommit;
}

/**
 * Runs the maintenance of a database: repeated jobs, each in small steps. A job reads whether there
 * is work, submits one short write, pauses so that other writes can run, and repeats this until
 * nothing is left. The writes are in `tables/write/maintenance.ts` and `statistics.ts`.
 */
export class Maintenance {
  readonly #deps: MaintenanceDeps;
  #timers: Timer[] = [];
  #stopped = false;
  /** When partitions are checked again, in Unix milliseconds. */
  #nextPartitions = 0;

  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
  }

  start(storage: Storage): void {
    this.#repeat(intervals.search, () => this.#makeSearchable(storage));
    this.#repeat(intervals.delays, () => this.#restartDelays(storage));
    const { age, count } = this.#deps.retention;
    if (age !== undefined || count !== undefined)
      this.#repeat(intervals.prune, () => this.#prune(storage));
    this.#repeat(intervals.prune, () => this.#dropExpired(storage));
    this.#repeat(intervals.prune, () => this.#dropStatistics(storage));
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.clear();
  }

  /** Runs a job at an interval, but never twice at the same time. */
  #repeat(milliseconds: number, work: () => Promise<void>): void {
    const job = new Background(this.#deps.logger, 'the maintenance of the task database');
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
    this.#timers.push(this.#deps.clock.every(milliseconds, () => void turn()));
    void turn();
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(steps.pause, resolve));
  }

  async #makeSearchable({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasUnsearchable()) {
      await commits.submit({ kind: 'makeSearchable', limit: steps.search });
      await this.#pause();
    }
  }

  async #restartDelays(storage: Storage): Promise<void> {
    if (await restartFutureDelays({ ...storage, clock: this.#deps.clock }))
      this.#deps.dueEarlier?.();
  }

  async #prune({ commits }: Storage): Promise<void> {
    const { age, count } = this.#deps.retention;
    let deleted = steps.prune;
    while (!this.#stopped && deleted === steps.prune) {
      const endedBefore = age === undefined ? null : this.#deps.clock.now() - age;
      deleted = await commits.submit({
        kind: 'prune',
        endedBefore,
        keep: count ?? null,
        limit: steps.prune,
      });
      await this.#pause();
    }
  }

  async #dropExpired({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasExpired(this.#deps.clock.now())) {
      await commits.submit({
        kind: 'dropExpired',
        limit: steps.expired,
        at: this.#deps.clock.now(),
      });
      await this.#pause();
    }
  }

  /**
   * Drops old rollups. From time to time it also drops partitions without tasks and recent rollups.
   */
  async #dropStatistics({ reader, commits }: Storage): Promise<void> {
    const { minutes, hours } = this.#deps.retention.statistics ?? statsOption('stats');
    const before = {
      minutesBefore: startOf('hour', this.#deps.clock.now() - minutes),
      hoursBefore: startOf('day', this.#deps.clock.now() - hours),
    };
    while (!this.#stopped && reader.hasOldStatistics(before.minutesBefore, before.hoursBefore)) {
      await commits.submit({
        kind: 'dropStatistics',
        ...before,
        limit: steps.statistics,
      });
      await this.#pause();
    }
    if (this.#deps.clock.now() < this.#nextPartitions || !reader.hasDroppedHours()) return;
    this.#nextPartitions = this.#deps.clock.now() + intervals.partitions;
    for (let after: number | null = 0; after !== null && !this.#stopped; ) {
      after = await commits.submit({
        kind: 'dropPartitions',
        after,
        limit: steps.partitions,
      });
      await this.#pause();
    }
  }
}
