import type { MetricsRange } from '../../tasks/engine.js';
import { type Counts, type Durations, type Metrics, type Pulse, type TaskStatus, taskStatuses } from '../../tasks/types.js';
import type { Database } from './database.js';
import { addFigures, type Figures, type Level, levels, noFigures, percentile, readFigures, startOf } from './rollup.js';
import { stateOf, toPause } from './rows.js';

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

const hour = 3_600_000;

/** The small numbers the stream sends: two short reads, however many tasks there are. */
export function readPulse(database: Database, now: number): Pulse {
  const counts = countsOf(readLive(database));
  const minute = startOf('minute', now);
  const [last, current] = [minute - levels.minute, minute].map((at) => sumUp(readSums(database, 'minute', at, at)));
  // The part of the last whole minute that lies within the past sixty seconds, and what has ended since.
  const share = 1 - (now - minute) / levels.minute;
  const perMinute = Math.round(endedIn(last ?? noFigures()) * share + endedIn(current ?? noFigures()));
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
  const points = ever && !series ? [] : readSums(database, level, startOf(level, seriesFrom), end);
  const sums = ever ? readSums(database, 'all', 0, 0) : from === undefined ? readSums(database, 'day', 0, end) : points;
  return {
    ...figuresOf(sums, live, ranged),
    functions: grouped('name', sums, live, ranged),
    queues: grouped('queue', sums, live, ranged),
    series: !series ? [] : seriesOf(points, (step ?? levels[level] / 1000) * 1000),
  };
}

/** The finest sums that keep a range short to read. */
function levelFor(range: number): Exclude<Level, 'all'> {
  if (range > 14 * 24 * hour) return 'day';
  return range > 6 * hour ? 'hour' : 'minute';
}

function readLive(database: Database): Live[] {
  return database
    .all('SELECT name, queue, status, n FROM tally JOIN lane ON lane.id = tally.lane WHERE n <> 0')
    .map((row) => ({ name: String(row.name), queue: String(row.queue), status: stateOf(row.status), n: Number(row.n) }));
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

function sumUp(sums: readonly Summed[]): Figures {
  const total = noFigures();
  for (const { figures } of sums) addFigures(total, figures);
  return total;
}

function endedIn({ ended }: Figures): number {
  return Object.values(ended).reduce((sum, n) => sum + n, 0);
}

function countsOf(live: readonly Live[]): Counts {
  const counts = Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Counts;
  for (const { status, n } of live) counts[status] += n;
  return counts;
}

/** Over all time the live counts are the truth; within a range, what ended in it, beside what waits and runs now. */
function figuresOf(sums: readonly Summed[], live: readonly Live[], ranged: boolean): Pick<Metrics, 'counts' | 'successRate' | 'durations'> {
  const total = sumUp(sums);
  const now = countsOf(live);
  const counts = ranged ? { ...countsOf([]), pending: now.pending, running: now.running, ...total.ended } : now;
  return { counts, successRate: successRate(counts), durations: durationsOf(total) };
}

function grouped(key: 'name' | 'queue', sums: readonly Summed[], live: readonly Live[], ranged: boolean): Metrics['functions'] {
  const names = [...new Set([...live.map((row) => row[key]), ...sums.map((sum) => sum[key])])].sort();
  return names.map((name) => ({
    name,
    ...figuresOf(
      sums.filter((sum) => sum[key] === name),
      live.filter((row) => row[key] === name),
      ranged,
    ),
  }));
}

function seriesOf(points: readonly Summed[], step: number): Metrics['series'] {
  const byTime = new Map<number, Summed[]>();
  for (const point of points) {
    const at = point.at - (point.at % step);
    byTime.set(at, [...(byTime.get(at) ?? []), point]);
  }
  return [...byTime.entries()]
    .sort(([a], [b]) => a - b)
    .map(([at, sums]) => {
      const total = sumUp(sums);
      return {
        at: new Date(at).toISOString(),
        success: total.ended.success ?? 0,
        failed: total.ended.failed ?? 0,
        p95: inSeconds(percentile(total, 0.95)),
      };
    });
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
