import { setTimeout as wait } from 'node:timers/promises';
import { Background } from '../../background.js';
import type { Logger } from '../../options.js';
import { startOf } from '../figures.js';
import { keptStatistics } from '../stats-option.js';
import type { Reader } from '../tables/read/reader.js';
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

const day = 86_400_000;
/**
 * Milliseconds between two runs of each job: indexing failures for search, starting delays again after the clock was set back,
 * dropping what is too old, dropping empty partitions.
 */
const intervals = { search: 1000, delays: 1000, prune: 60_000, partitions: 3_600_000 };
/** Rows of one commit, so that no commit is long, and milliseconds between two commits, so that other writes can come between. */
const steps = { search: 100, prune: 100, statistics: 500, expired: 500, partitions: 100, pause: 5 };

interface UpkeepParts {
  logger: Logger;
  retention: Retention;
  /** Called when waiting tasks may be due earlier than before. */
  dueEarlier?(): void;
}

interface Storage {
  reader: Reader;
  commits: GroupCommit;
}

/** What a database needs from time to time, in small steps. */
export class Upkeep {
  readonly #parts: UpkeepParts;
  #timers: NodeJS.Timeout[] = [];
  #stopped = false;
  /** When partitions are looked at again. */
  #nextPartitions = 0;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  start(storage: Storage): void {
    this.#repeat(intervals.search, () => this.#makeSearchable(storage));
    this.#repeat(intervals.delays, () => this.#restartDelays(storage));
    const { age, count } = this.#parts.retention;
    if (age !== undefined || count !== undefined) this.#repeat(intervals.prune, () => this.#prune(storage));
    this.#repeat(intervals.prune, () => this.#dropExpired(storage));
    this.#repeat(intervals.prune, () => this.#dropStatistics(storage));
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Now and then, never twice at a time. */
  #repeat(milliseconds: number, work: () => Promise<void>): void {
    const job = new Background(this.#parts.logger, 'the upkeep of the task database');
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
    this.#timers.push(setInterval(() => void turn(), milliseconds).unref());
    void turn();
  }

  async #makeSearchable({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasUnsearchable()) {
      await commits.submit<'makeSearchable'>({ kind: 'makeSearchable', limit: steps.search });
      await wait(steps.pause);
    }
  }

  async #restartDelays(storage: Storage): Promise<void> {
    if (await restartFutureDelays(storage)) this.#parts.dueEarlier?.();
  }

  async #prune({ commits }: Storage): Promise<void> {
    const { age, count } = this.#parts.retention;
    let deleted = steps.prune;
    while (!this.#stopped && deleted === steps.prune) {
      const at = Date.now();
      const endedBefore = age === undefined ? null : at - age;
      deleted = await commits.submit<'prune'>({ kind: 'prune', endedBefore, keep: count ?? null, limit: steps.prune, at });
      await wait(steps.pause);
    }
  }

  async #dropExpired({ reader, commits }: Storage): Promise<void> {
    while (!this.#stopped && reader.hasExpired(Date.now())) {
      await commits.submit<'dropExpired'>({ kind: 'dropExpired', limit: steps.expired, at: Date.now() });
      await wait(steps.pause);
    }
  }

  /** Drops old sums. From time to time it also drops partitions that have no task and no recent sum. */
  async #dropStatistics({ reader, commits }: Storage): Promise<void> {
    const { minutes, hours } = this.#parts.retention.statistics ?? {
      minutes: keptStatistics.minuteDays * day,
      hours: keptStatistics.hourDays * day,
    };
    const before = { minutesBefore: startOf('hour', Date.now() - minutes), hoursBefore: startOf('day', Date.now() - hours) };
    while (!this.#stopped && reader.hasOldStatistics(before.minutesBefore, before.hoursBefore)) {
      await commits.submit<'dropStatistics'>({ kind: 'dropStatistics', ...before, limit: steps.statistics });
      await wait(steps.pause);
    }
    if (Date.now() < this.#nextPartitions || !reader.hasDroppedHours()) return;
    this.#nextPartitions = Date.now() + intervals.partitions;
    for (let after: number | null = 0; after !== null && !this.#stopped; ) {
      after = await commits.submit<'dropPartitions'>({ kind: 'dropPartitions', after, limit: steps.partitions });
      await wait(steps.pause);
    }
  }
}
