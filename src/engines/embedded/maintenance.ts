import { Background } from '../../background.js';
import { startOf } from '../ended-stats.js';
import { statsOption } from '../stats-option.js';
import type { Timer } from './clock.js';
import { restartFutureDelays } from './run/clock-set-back.js';
import type { Shared, Tables } from './shared.js';

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

interface MaintenanceDeps extends Pick<Shared, 'clock' | 'logger' | 'wake'> {
  retention: Retention;
}

/**
 * Creates the maintenance of a database: repeated jobs, each in small steps. A job reads whether
 * there is work, submits one short write, pauses so that other writes can run, and repeats this
 * until nothing is left. The writes are in `tables/write/maintenance.ts` and `statistics.ts`.
 */
export function createMaintenance({ clock, logger, retention, wake }: MaintenanceDeps) {
  const { age, count, statistics = statsOption('stats') } = retention;
  const timers: Timer[] = [];
  let stopped = false;
  /** When partitions are checked again, in Unix milliseconds. */
  let nextPartitions = 0;

  /** Runs a job at an interval, but never twice at the same time. */
  const repeat = (milliseconds: number, work: () => Promise<void>): void => {
    const job = new Background(logger, 'the maintenance of the task database');
    let busy = false;
    const turn = async (): Promise<void> => {
      if (busy || stopped) return;
      busy = true;
      try {
        await work();
        job.worked();
      } catch (err) {
        if (!stopped) job.failed(err);
      } finally {
        busy = false;
      }
    };
    timers.push(clock.every(milliseconds, () => void turn()));
    void turn();
  };

  /** Repeats a write while there is work for it, with a pause after each. */
  const inSteps = async (hasWork: () => boolean, write: () => Promise<unknown>): Promise<void> => {
    while (!stopped && hasWork()) {
      await write();
      await new Promise<void>((resolve) => clock.after(steps.pause, resolve));
    }
  };

  const prune = ({ commits }: Tables): Promise<void> => {
    const limit = steps.prune;
    let deleted = limit;
    return inSteps(
      () => deleted === limit,
      async () => {
        const endedBefore = age === undefined ? null : clock.now() - age;
        deleted = await commits.submit({ kind: 'prune', endedBefore, keep: count ?? null, limit });
      },
    );
  };

  /**
   * Drops old rollups. From time to time it also drops partitions without tasks and recent rollups.
   */
  const dropStatistics = async ({ reader, commits }: Tables): Promise<void> => {
    const minutesBefore = startOf('hour', clock.now() - statistics.minutes);
    const hoursBefore = startOf('day', clock.now() - statistics.hours);
    const limit = steps.statistics;
    await inSteps(
      () => reader.hasOldStatistics(minutesBefore, hoursBefore),
      () => commits.submit({ kind: 'dropStatistics', minutesBefore, hoursBefore, limit }),
    );
    if (clock.now() < nextPartitions || !reader.hasDroppedHours()) return;
    nextPartitions = clock.now() + intervals.partitions;
    let after: number | null = 0;
    await inSteps(
      () => after !== null,
      async () => {
        const limit = steps.partitions;
        after = await commits.submit({ kind: 'dropPartitions', after: after ?? 0, limit });
      },
    );
  };

  return {
    start(tables: Tables): void {
      const { reader, commits } = tables;
      repeat(intervals.search, () =>
        inSteps(
          () => reader.hasUnsearchable(),
          () => commits.submit({ kind: 'makeSearchable', limit: steps.search }),
        ),
      );
      repeat(intervals.delays, async () => {
        if (await restartFutureDelays(tables, clock)) wake();
      });
      if (age !== undefined || count !== undefined) repeat(intervals.prune, () => prune(tables));
      repeat(intervals.prune, () =>
        inSteps(
          () => reader.hasExpired(clock.now()),
          () => commits.submit({ kind: 'dropExpired', limit: steps.expired, at: clock.now() }),
        ),
      );
      repeat(intervals.prune, () => dropStatistics(tables));
    },

    stop(): void {
      stopped = true;
      for (const timer of timers) timer.clear();
    },
  };
}
