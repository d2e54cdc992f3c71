import type { DurationHistogram, MetricsRange } from '../../tasks/engine.js';
import { type Counts, type Durations, type Metrics, type Pulse, type TaskStatus, taskStatuses } from '../../tasks/types.js';
import type { Database } from './database.js';
import { addFigures, bucketOf, type Figures, type Level, levels, noFigures, percentile, readFigures, startOf } from './rollup.js';
import { stateOf, toPause } from './rows.js';
import { keptFrom, noQueue } from './statistics.js';

interface Summed {
  name: string;
  queue: string;
  at: number;
  figures: Figures;
}

interface Live {
  name: string;
  queue: string;
  status: TaskStatus;
  n: number;
}

/** What is summed up for a name, for a queue, or for all tasks. */
interface Group {
  figures: Figures;
  live: Counts;
}

const hour = 3_600_000;

/** The small numbers the stream sends: two short reads, however many tasks there are. */
export function readPulse(database: Database, now: number): Pulse {
  const counts = noCounts();
  for (const { status, n } of database.all('SELECT status, sum(n) AS n FROM tally GROUP BY status')) counts[stateOf(status)] = Number(n);
  const minute = startOf('minute', now);
  const ended = new Map(
    database
      .all(
        `SELECT at, sum((SELECT sum(value) FROM json_each(figures, '$.ended'))) AS n FROM rollup
         WHERE level = 'minute' AND at >= ? AND at <= ? GROUP BY at`,
        minute - levels.minute,
        minute,
      )
      .map(({ at, n }) => [Number(at), Number(n)]),
  );
  // The part of the last whole minute that lies within the past sixty seconds, and what has ended since.
  const share = 1 - (now - minute) / levels.minute;
  const perMinute = Math.round((ended.get(minute - levels.minute) ?? 0) * share + (ended.get(minute) ?? 0));
  return {
    counts,
    successRate: successRate(counts),
    running: counts.running,
    pending: counts.pending,
    perMinute,
    paused: readPaused(database),
  };
}

function readPaused(database: Database): Pulse['paused'] {
  return database.all('SELECT * FROM paused ORDER BY queue').map((row) => ({ queue: String(row.queue), ...toPause(row) }));
}

/** All figures of a range, or of all time, from sums that were kept as tasks ended. */
export function readMetrics(database: Database, { from, to, step, series = true }: MetricsRange, now: number): Metrics {
  const live = readLive(database);
  const ranged = from !== undefined || to !== undefined;
  const end = to ?? now;
  // Since the beginning of time: one sum has it, however many days there are.
  const ever = to === undefined && (from === undefined || from <= 0);
  const seriesFrom = from ?? end - 24 * hour;
  const level = step === undefined ? levelFor(end - seriesFrom) : levelFor(step * 1000 * 60);
  const points = ever && !series ? [] : readKept(database, level, startOf(level, seriesFrom), end);
  const sums = ever ? readSums(database, 'all', 0, 0) : from === undefined ? readSums(database, 'day', 0, end) : points;
  const figures = (group: Group): Pick<Metrics, 'counts' | 'successRate' | 'durations'> => figuresOf(group, ranged);
  const total = groupBy(() => '', sums, live).get('') ?? noGroup();
  const grouped = (key: 'name' | 'queue'): Metrics['functions'] =>
    [...groupBy((row) => row[key], sums, live)]
      .filter(([name]) => name !== noQueue)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, group]) => ({ name, ...figures(group) }));
  return {
    ...figures(total),
    functions: grouped('name'),
    queues: grouped('queue'),
    series: !series ? [] : seriesOf(points, (step ?? levels[level] / 1000) * 1000),
  };
}

/** Returns how many attempts of each name, of all time, took at most each number of seconds. */
export function readHistograms(database: Database, bounds: readonly number[]): DurationHistogram[] {
  const last = bounds.map((seconds) => bucketOf(seconds * 1000));
  return [...groupBy(({ name }) => name, readSums(database, 'all', 0, 0), [])]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { figures }]) => {
      const buckets = Object.entries(figures.buckets).map(([bucket, n]) => [Number(bucket), n] as const);
      const within = (bucket: number): number => buckets.reduce((sum, [each, n]) => (each <= bucket ? sum + n : sum), 0);
      return { name, counts: last.map(within), count: figures.ran, sum: figures.total / 1000 };
    });
}

/** The finest sums that keep a range short to read. */
function levelFor(range: number): Exclude<Level, 'all'> {
  if (range > 14 * 24 * hour) return 'day';
  return range > 6 * hour ? 'hour' : 'minute';
}

function readLive(database: Database): Live[] {
  return database
    .all('SELECT name, queue, status, n FROM tally JOIN lane ON lane.id = tally.lane')
    .map((row) => ({ name: String(row.name), queue: String(row.queue), status: stateOf(row.status), n: Number(row.n) }));
}

/** Returns the sums of a level as far back as they are kept, and before that the sums of the next longer level. */
function readKept(database: Database, level: Exclude<Level, 'all'>, from: number, to: number): Summed[] {
  const kept = keptFrom(database, level);
  if (level === 'day' || from >= kept) return readSums(database, level, from, to);
  const longer = level === 'minute' ? 'hour' : 'day';
  const before = readKept(database, longer, startOf(longer, from), Math.min(to, kept - 1));
  return to < kept ? before : [...before, ...readSums(database, level, kept, to)];
}

function readSums(database: Database, level: Level, from: number, to: number): Summed[] {
  return database
    .all(
      'SELECT name, queue, at, figures FROM rollup JOIN lane ON lane.id = rollup.lane WHERE level = ? AND at >= ? AND at <= ?',
      level,
      from,
      to,
    )
    .map((row) => ({ name: String(row.name), queue: String(row.queue), at: Number(row.at), figures: readFigures(row) }));
}

function noCounts(): Counts {
  return Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Counts;
}

function noGroup(): Group {
  return { figures: noFigures(), live: noCounts() };
}

/** Groups the sums by a key. */
function groupBy(
  keyOf: (row: { name: string; queue: string }) => string,
  sums: readonly Summed[],
  live: readonly Live[],
): Map<string, Group> {
  const groups = new Map<string, Group>();
  const groupOf = (row: { name: string; queue: string }): Group => {
    const key = keyOf(row);
    const group = groups.get(key) ?? noGroup();
    groups.set(key, group);
    return group;
  };
  for (const sum of sums) addFigures(groupOf(sum).figures, sum.figures);
  for (const row of live) groupOf(row).live[row.status] += row.n;
  return groups;
}

/** Over all time the live counts are the truth; within a range, what ended in it, beside what waits and runs now. */
function figuresOf({ figures, live }: Group, ranged: boolean): Pick<Metrics, 'counts' | 'successRate' | 'durations'> {
  const counts = ranged ? { ...noCounts(), pending: live.pending, running: live.running, ...figures.ended } : live;
  return { counts, successRate: successRate(counts), durations: durationsOf(figures) };
}

function seriesOf(points: readonly Summed[], step: number): Metrics['series'] {
  const byTime = new Map<number, Figures>();
  for (const point of points) {
    const at = point.at - (point.at % step);
    const total = byTime.get(at) ?? noFigures();
    byTime.set(at, total);
    addFigures(total, point.figures);
  }
  return [...byTime]
    .sort(([a], [b]) => a - b)
    .map(([at, figures]) => ({
      at: new Date(at).toISOString(),
      success: figures.ended.success ?? 0,
      failed: figures.ended.failed ?? 0,
      p95: inSeconds(percentile(figures, 0.95)),
    }));
}

function successRate({ success, failed, interrupted }: Counts): number | null {
  const ended = success + failed + interrupted;
  return ended === 0 ? null : success / ended;
}

function durationsOf(figures: Figures): Durations {
  const { ran, total, min, max } = figures;
  return {
    avg: inSeconds(ran === 0 ? null : total / ran),
    min: inSeconds(ran === 0 ? null : min),
    max: inSeconds(ran === 0 ? null : max),
    p50: inSeconds(percentile(figures, 0.5)),
    p95: inSeconds(percentile(figures, 0.95)),
    p99: inSeconds(percentile(figures, 0.99)),
  };
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms) / 1000;
}
