import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { DurationHistogram, MetricsRange } from '../../../tasks/engine-queries.js';
import { type Metrics, type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import {
  addEnded,
  type EndedStats,
  emptyStats,
  type Level,
  levels,
  startOf,
} from '../../ended-stats.js';
import { histogramsOf, type Live, metricsOf, type Summed } from '../../metrics.js';
import { levelFor } from '../../tables/read/metrics.js';
import { RedisWork } from '../connection/connections.js';
import { send } from '../connection/pipelines.js';
import { isObject, storedObject } from '../connection/stored-object.js';
import type { EngineKeys } from '../keys.js';
import { type Failure, FailureGroups } from './failure-groups.js';
import { mergeStats } from './merge-scripts.js';
import { type Merge, Merges } from './merges.js';
import { countsOf, isCount, isNumber } from './stored-numbers.js';

/** A task that has ended. */
export interface EndedTask {
  id: string;
  name: string;
  /** The queue as users know it. */
  queue: string;
  status: TaskStatus;
  /** Unix milliseconds. */
  at: number;
  /** Milliseconds that its last attempt ran. Undefined if the task never ran. */
  ms?: number | undefined;
  /** The failure, if it failed for good. */
  failure?: Failure | undefined;
}

/** Milliseconds for which statistics are kept. */
export interface KeptStatistics {
  minutes: number;
  hours: number;
}

interface StatisticsDeps {
  redis: Redis;
  keys: EngineKeys;
  logger: Logger;
  kept: KeptStatistics;
}

/**
 * Milliseconds for which ends of tasks are gathered. If the process is killed, the ends that it has
 * gathered are not counted.
 */
const gatherTime = 1000;
/** Milliseconds for which the sums of days are kept. */
const keptDays = 3650 * levels.day;
/** Separates the task from the queue in the name of a field. Neither can contain it. */
const separator = '\0';

/**
 * Counts ended tasks in Redis, so that rates, durations and groups of failures can be shown without
 * reading the history. Each process gathers ends for a second, and adds them to the hashes of the
 * minute, hour and day in one step. Redis applies each step once, even if its answer is lost and
 * the process sends it again. Call `flush` before a read that must include the ends of this
 * process.
 */
export class Statistics {
  readonly #deps: StatisticsDeps;
  /** Groups of failures. */
  readonly failures: FailureGroups;
  readonly #writing: Background;
  readonly #merges: Merges;
  /** The sums that were not sent yet, by minute, then by task and queue. */
  readonly #gathered = new Map<number, Map<string, EndedStats>>();
  /** The flush that runs, and the one that begins after it. */
  #flushing: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: StatisticsDeps) {
    this.#deps = deps;
    this.failures = new FailureGroups(deps.redis, deps.keys);
    this.#writing = new RedisWork(deps.logger, 'counting ended tasks');
    this.#merges = new Merges(deps.redis, deps.keys.lastMerge);
  }

  /** Counts a task that has ended. */
  ended({ id, name, queue, status, at, ms, failure }: EndedTask): void {
    addEnded(this.#stats(startOf('minute', at), `${name}${separator}${queue}`), status, ms);
    if (failure) this.failures.add(failure, { id, name, at });
    this.#flushLater();
  }

  #flushLater(): void {
    const flush = (): void => this.#writing.run(() => this.flush());
    this.#timer ??= runInEmptyContext(() => setTimeout(flush, gatherTime).unref());
  }

  /** Returns the sums of a task and queue that are gathered for a minute. */
  #stats(minute: number, field: string): EndedStats {
    const fields = this.#gathered.get(minute) ?? new Map<string, EndedStats>();
    this.#gathered.set(minute, fields);
    const stats = fields.get(field) ?? emptyStats();
    fields.set(field, stats);
    return stats;
  }

  /**
   * Writes what was gathered before the call. After an error it stays here, and the next call
   * sends it again.
   */
  flush(): Promise<void> {
    this.#next ??= this.#flushing.then(() => {
      this.#next = undefined;
      return this.#flush();
    });
    this.#flushing = this.#next.catch(() => undefined);
    return this.#next;
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      // Until Redis has the merges of an earlier flush, later ends are summed up here.
      await this.#merges.send(this.#replaced);
      for (const merge of this.#take()) this.#merges.add(merge);
      await this.#merges.send(this.#replaced);
    } catch (error) {
      if (this.#deps.redis.status !== 'end') this.#flushLater();
      throw error;
    }
  }

  readonly #replaced = (entries: number): void => {
    this.#deps.logger.error({ entries }, 'statistics that Redis could not read were replaced');
  };

  /** Returns the calls that store what was gathered since the last call. */
  #take(): Merge[] {
    const { keys, kept } = this.#deps;
    const times = [kept.minutes, kept.hours, keptDays, 0];
    const merges = [...this.#gathered].map(([minute, fields]): Merge => {
      const names = (['minute', 'hour', 'day', 'all'] as const).map((level) =>
        keys.statistics(level, startOf(level, minute)),
      );
      const sums = [...fields].flatMap(([field, stats]) => [field, JSON.stringify(stats)]);
      return { script: mergeStats, keys: names, args: [...times, ...sums] };
    });
    this.#gathered.clear();
    const failures = this.failures.take();
    return failures ? [...merges, failures] : merges;
  }

  /** Returns the metrics of a range, or of all time. `live`: the tasks in each state now. */
  async metrics(
    { from, to, step, series = true }: MetricsRange,
    live: readonly Live[],
    now: number,
  ): Promise<Metrics> {
    const ranged = from !== undefined || to !== undefined;
    const end = to ?? now;
    const ever = to === undefined && (from === undefined || from <= 0);
    const seriesFrom = from ?? end - levels.day;
    const span = step === undefined ? end - seriesFrom : step * 60_000;
    const level = this.#keptLevel(levelFor(span), seriesFrom, now);
    const points = ever && !series ? [] : await this.#sums(level, seriesFrom, end);
    const sums = ever
      ? await this.#sums('all', 0, 0)
      : from === undefined
        ? await this.#sums('day', 0, end)
        : points;
    const size = series ? (step ?? levels[level] / 1000) * 1000 : undefined;
    const metrics = metricsOf({ sums, live, points, step: size, ranged });
    // Sums without a name belong to no function.
    return { ...metrics, functions: metrics.functions.filter(({ name }) => name !== '') };
  }

  /**
   * Returns the level to read: a longer one than `level` if the sums of that level are no longer
   * kept for such an early time.
   */
  #keptLevel(level: Exclude<Level, 'all'>, from: number, now: number): Exclude<Level, 'all'> {
    const { minutes, hours } = this.#deps.kept;
    if (level === 'minute' && now - from > minutes) return this.#keptLevel('hour', from, now);
    return level === 'hour' && now - from > hours ? 'day' : level;
  }

  /** Returns how many attempts of each task took at most each number of seconds, over all time. */
  async histograms(bounds: readonly number[]): Promise<DurationHistogram[]> {
    return histogramsOf(await this.#sums('all', 0, 0), bounds);
  }

  /** Returns the sums of a level between two times. */
  async #sums(level: Level, from: number, to: number): Promise<Summed[]> {
    const { redis, keys } = this.#deps;
    const first = Math.max(startOf(level, from), startOf(level, to) - maxStretches * levels[level]);
    const times: number[] = [];
    for (let at = first; at <= to; at += levels[level] || 1) times.push(at);
    const answers = await send(
      redis,
      times.map((at) => ['hgetall', keys.statistics(level, at)]),
    );
    return answers.flatMap((fields, n) =>
      Object.entries(fields as Record<string, string>).flatMap(([field, text]) =>
        summedOf(field, text, times[n] ?? 0),
      ),
    );
  }
}

/** Maximum number of sums per read: ten years of days, or the minutes of two and a half days. */
const maxStretches = 3660;

/**
 * Parses a stored sum. Leaves out the counts and the durations that cannot be read, and returns
 * none if nothing can be read.
 */
function summedOf(field: string, text: string, at: number): Summed[] {
  const [name = '', queue = ''] = field.split(separator);
  const stored = storedObject(text);
  const counts = countsOf(stored.ended);
  const ended = Object.fromEntries(
    taskStatuses.flatMap((status) => (counts[status] ? [[status, counts[status]]] : [])),
  );
  const durations = areDurations(stored) ? stored : undefined;
  if (!durations && Object.keys(ended).length === 0) return [];
  return [{ name, queue, at, stats: { ...emptyStats(), ...durations, ended } }];
}

/** The durations of a stored sum are one part, as in {@link mergeStats}. */
function areDurations(stored: object): stored is Omit<EndedStats, 'ended'> {
  const { ran, total, min, max, buckets } = stored as Partial<Record<keyof EndedStats, unknown>>;
  return (
    isCount(ran) &&
    [total, min, max].every(isNumber) &&
    isObject(buckets) &&
    Object.values(buckets).every(isCount)
  );
}
