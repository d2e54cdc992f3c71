import { noStats } from '../tasks/no-stats.js';
import type { ScheduleState } from '../tasks/queue-state.js';
import type { RangeQuery, TaskSource } from '../tasks/source.js';
import type {
  Coverage,
  FailureGroup,
  Metrics,
  ProcessInfo,
  Stats,
  WorkerTotals,
} from '../tasks/types.js';
import type { Answer } from './row.js';

/** How many next runs of a schedule are listed. */
const maxRuns = 5;

/** Returns the functions that have a definition in this process or tasks, with their stats. */
export async function listFunctions(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<Answer<'functionList'>> {
  const metrics = await tasks.aggregate('metrics', { ...range, series: false });
  const settings = new Map(
    (tasks.definitions?.().functions ?? []).map(({ name, ...rest }) => [name, rest]),
  );
  const stats = byName(metrics.functions);
  const names = [...new Set([...settings.keys(), ...stats.keys()])].sort();
  return {
    items: names.map((name) => ({
      name,
      settings: settings.get(name) ?? null,
      ...(stats.get(name) ?? noStats),
    })),
    ...coverageOf(metrics),
  };
}

/** Returns the metrics of a range with the present totals of the processes. */
export async function readMetrics(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<Answer<'metrics'>> {
  const [metrics, workers] = await Promise.all([
    tasks.aggregate('metrics', range),
    tasks.aggregate('workers'),
  ]);
  return { ...metrics, workers: totalsOf(workers) };
}

/** Sums over processes. What an engine does not know counts as 0. */
export function totalsOf(workers: readonly ProcessInfo[]): WorkerTotals {
  const sum = (of: (worker: ProcessInfo) => number | null): number =>
    workers.reduce((total, worker) => total + (of(worker) ?? 0), 0);
  return {
    count: workers.length,
    slots: sum(({ slots }) => slots),
    stuck: sum(({ stuck }) => stuck),
  };
}

/** Returns the known queues with their state and their stats. */
export async function listQueues(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<Answer<'queueList'>> {
  const [metrics, described, waits] = await Promise.all([
    tasks.aggregate('metrics', { ...range, series: false }),
    tasks.describe(),
    tasks.aggregate('waits'),
  ]);
  const oldest = new Map(waits.map(({ queue, since }) => [queue, since]));
  const stats = byName(metrics.queues);
  return {
    items: described.queues.map((queue) => ({
      ...queue,
      oldestReadyAt: oldest.get(queue.name) ?? null,
      ...(stats.get(queue.name) ?? noStats),
    })),
    ...coverageOf(metrics),
  };
}

/** Returns the schedules with their next runs. */
export async function listSchedules(tasks: TaskSource): Promise<Answer<'scheduleList'>> {
  const { schedules } = await tasks.describe();
  return {
    items: schedules.map((schedule) => ({ ...schedule, nextRuns: nextRuns(tasks, schedule) })),
  };
}

function nextRuns(tasks: TaskSource, { name, nextRunAt }: ScheduleState): string[] {
  if (nextRunAt === null) return [];
  const later = tasks.definitions?.().runsAfter(name, Date.parse(nextRunAt), maxRuns - 1) ?? [];
  return [nextRunAt, ...later.map((at) => new Date(at).toISOString())];
}

/** Failure groups that the overview shows. */
const failuresShown = 5;

/** All parts of the dashboard's overview, so that the page needs no request for each. */
export interface Overview {
  /** Statistics of the last hour, by the minute. */
  hour: Metrics;
  failures: readonly FailureGroup[];
  queues: Answer<'queueList'>['items'];
  workers: readonly ProcessInfo[];
  schedules: readonly ScheduleState[];
}

/** Reads all parts of the overview. */
export async function readOverview(tasks: TaskSource): Promise<Overview> {
  const [hour, { items: failures }, { items: queues }, workers, { schedules }] = await Promise.all([
    tasks.aggregate('metrics', { from: '-1h', step: 60 }),
    tasks.aggregate('failures', { from: '-24h', limit: failuresShown }),
    listQueues(tasks, { from: '-1h' }),
    tasks.aggregate('workers'),
    tasks.describe(),
  ]);
  return { hour, failures, queues, workers, schedules };
}

function coverageOf({ completeSince }: Coverage): Coverage {
  return completeSince === undefined ? {} : { completeSince };
}

function byName(list: readonly (Stats & { name: string })[]): Map<string, Stats> {
  return new Map(list.map(({ name, ...stats }) => [name, stats]));
}
