import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { DurationHistogram, MetricsRange } from '../../../tasks/engine.js';
import type { Metrics, TaskStatus } from '../../../tasks/types.js';
import { levelFor } from '../../embedded/metrics.js';
import { addEnded, type Figures, type Level, levels, noFigures, startOf } from '../../embedded/rollup.js';
import { histogramsOf, type Live, metricsOf, type Summed } from '../../figures.js';
import { RedisWork } from '../connection/connections.js';
import { runScript } from '../connection/redis-script.js';
import type { EngineKeys } from '../keys.js';
import { type Failure, FailureGroups } from './failure-groups.js';
import { mergeFigures } from './merge-scripts.js';

/** A task that has ended. */
export interface EndedTask {
  id: string;
  name: string;
  /** The queue as users know it. */
  queue: string;
  status: TaskStatus;
  /** Unix milliseconds. */
  at: number;
  /** Milliseconds that its last attempt ran; absent for a task that never ran. */
  ms?: number | undefined;
  /** The failure, if it failed for good. */
  failure?: Failure | undefined;
}

/** Milliseconds for which statistics are kept. */
export interface KeptStatistics {
  minutes: number;
  hours: number;
}

interface StatisticsParts {
  redis: Redis;
  keys: EngineKeys;
  logger: Logger;
  kept: KeptStatistics;
}

/** Milliseconds for which ends of tasks are gathered. Ends that a process has gathered when it is killed are not counted. */
const gatherTime = 1000;
/** Milliseconds for which the sums of days are kept. */
const keptDays = 3650 * levels.day;
/** Separates the task from the queue in the name of a field. Neither can contain it. */
const separator = '\0';

/**
 * Counts ended tasks in Redis, so that rates, durations and groups of failures can be shown without reading the history. Each
 * process gathers ends for a second, and adds them to the hashes of the minute, hour and day in one step.
 */
export class Statistics {
  readonly #parts: StatisticsParts;
  readonly #failures: FailureGroups;
  readonly #writing: Background;
  /** By minute, then by task and queue. */
  #gathered = new Map<number, Map<string, Figures>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: StatisticsParts) {
    this.#parts = parts;
    this.#failures = new FailureGroups(parts.redis, parts.keys);
    this.#writing = new RedisWork(parts.logger, 'counting ended tasks');
  }

  /** Groups of failures. */
  get failures(): FailureGroups {
    return this.#failures;
  }

  /** Counts a task that has ended. */
  ended({ id, name, queue, status, at, ms, failure }: EndedTask): void {
    const minute = startOf('minute', at);
    const fields = this.#gathered.get(minute) ?? new Map<string, Figures>();
    this.#gathered.set(minute, fields);
    const field = `${name}${separator}${queue}`;
    const figures = fields.get(field) ?? noFigures();
    fields.set(field, figures);
    addEnded(figures, status, ms);
    if (failure) this.#failures.add(failure, { id, name, at });
    this.#timer ??= runInEmptyContext(() => setTimeout(() => this.#writing.run(() => this.flush()), gatherTime).unref());
  }

  /** Writes the sums that were gathered. Those that cannot be written now are kept for the next time. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const gathered = this.#gathered;
    this.#gathered = new Map();
    try {
      for (const [minute, fields] of gathered) {
        await this.#merge(minute, fields);
        gathered.delete(minute);
      }
      await this.#failures.flush();
    } catch (error) {
      // Sums that were gathered since are added to them.
      for (const [minute, fields] of this.#gathered) gathered.set(minute, new Map([...(gathered.get(minute) ?? []), ...fields]));
      this.#gathered = gathered;
      throw error;
    }
  }

  async #merge(minute: number, fields: ReadonlyMap<string, Figures>): Promise<void> {
    const { redis, keys, kept } = this.#parts;
    const names = (['minute', 'hour', 'day', 'all'] as const).map((level) => keys.statistics(level, startOf(level, minute)));
    const times = [kept.minutes, kept.hours, keptDays, 0];
    const sums = [...fields].flatMap(([field, figures]) => [field, JSON.stringify(figures)]);
    await runScript(redis, mergeFigures, names, [...times, ...sums]);
  }

  /** The metrics of a range, or of all time. `live`: how many tasks are in each state now. */
  async metrics({ from, to, step, series = true }: MetricsRange, live: readonly Live[], now: number): Promise<Metrics> {
    await this.flush();
    const ranged = from !== undefined || to !== undefined;
    const end = to ?? now;
    const ever = to === undefined && (from === undefined || from <= 0);
    const seriesFrom = from ?? end - levels.day;
    const level = this.#keptLevel(step === undefined ? levelFor(end - seriesFrom) : levelFor(step * 60_000), seriesFrom, now);
    const points = ever && !series ? [] : await this.sums(level, seriesFrom, end);
    const sums = ever ? await this.sums('all', 0, 0) : from === undefined ? await this.sums('day', 0, end) : points;
    const size = series ? (step ?? levels[level] / 1000) * 1000 : undefined;
    const metrics = metricsOf({ sums, live, points, step: size, ranged });
    // Sums without a name belong to no function.
    return { ...metrics, functions: metrics.functions.filter(({ name }) => name !== '') };
  }

  /** Returns the level to read: a longer one if the wanted one is no longer kept for such an early time. */
  #keptLevel(level: Exclude<Level, 'all'>, from: number, now: number): Exclude<Level, 'all'> {
    const { minutes, hours } = this.#parts.kept;
    if (level === 'minute' && now - from > minutes) return this.#keptLevel('hour', from, now);
    return level === 'hour' && now - from > hours ? 'day' : level;
  }

  async histograms(bounds: readonly number[]): Promise<DurationHistogram[]> {
    await this.flush();
    return histogramsOf(await this.sums('all', 0, 0), bounds);
  }

  /** Tasks that ended within the last minute. */
  async perMinute(now: number): Promise<number> {
    const minute = startOf('minute', now);
    const share = 1 - (now - minute) / levels.minute;
    let ended = 0;
    for (const { at, figures } of await this.sums('minute', minute - levels.minute, minute)) {
      const count = Object.values(figures.ended).reduce((sum, n) => sum + n, 0);
      ended += at === minute ? count : count * share;
    }
    return Math.round(ended);
  }

  /** Returns the sums of a level between two times. */
  async sums(level: Level, from: number, to: number): Promise<Summed[]> {
    const { redis, keys } = this.#parts;
    const oldest = level === 'all' ? 0 : Math.max(startOf(level, from), startOf(level, to) - mostStretches * levels[level]);
    const times: number[] = [];
    for (let at = oldest; at <= to && times.length <= mostStretches; at += levels[level] || 1) times.push(at);
    if (level === 'all') times.splice(1);
    const answers = (await redis.pipeline(times.map((at) => ['hgetall', keys.statistics(level, at)])).exec()) ?? [];
    return answers.flatMap(([error, fields], n) => {
      if (error) throw error;
      return Object.entries(fields as Record<string, string>).map(([field, text]) => summedOf(field, text, times[n] ?? 0));
    });
  }
}

/** Most sums that are read at once. 3,660 are ten years of days, or the minutes of two and a half days. */
const mostStretches = 3660;

function summedOf(field: string, text: string, at: number): Summed {
  const [name = '', queue = ''] = field.split(separator);
  return { name, queue, at, figures: JSON.parse(text) as Figures };
}
