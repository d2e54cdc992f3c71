import type { z } from 'zod';
import type { ScheduleState } from '../tasks/engine.js';
import type { RangeQuery, TaskSource } from '../tasks/source.js';
import {
  type Coverage,
  type Durations,
  type FailureGroup,
  type Metrics,
  type ProcessInfo,
  type Stats,
  taskStatuses,
  type WorkerTotals,
} from '../tasks/types.js';
import type * as Answers from './answers.js';
import { readListQuery } from './query.js';

/** Runs of a schedule that are told. */
const runsTold = 5;

/** The tasks that a query string asks for. @throws TaskflowError INVALID_INPUT or INVALID_CURSOR naming what is wrong in it. */
export async function listTasks(
  tasks: TaskSource,
  querystring: string,
): Promise<z.output<typeof Answers.taskList>> {
  const { items, ...page } = await tasks.find(await readListQuery(querystring));
  return { items: [...items], ...page };
}

/** The functions that are known, by their definitions here or their tasks, with their figures. */
export async function listFunctions(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<z.output<typeof Answers.functionList>> {
  const metrics = await tasks.aggregate('metrics', { ...range, series: false });
  const settings = new Map(
    (tasks.definitions?.().functions ?? []).map(({ name, ...rest }) => [name, rest]),
  );
  const figures = byName(metrics.functions);
  const names = [...new Set([...settings.keys(), ...figures.keys()])].sort();
  return {
    items: names.map((name) => {
      const { tags, ...own } = settings.get(name) ?? { tags: {} };
      return {
        name,
        settings: 'handled' in own ? { ...own, tags: { ...tags } } : null,
        ...figuresOf(figures, name),
      };
    }),
    ...coverageOf(metrics),
  };
}

/** Returns the metrics of a range with the present totals of the processes. */
export async function readMetrics(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<z.output<typeof Answers.metrics>> {
  const [metrics, workers] = await Promise.all([
    tasks.aggregate('metrics', range),
    tasks.aggregate('workers'),
  ]);
  const { functions, queues, series, ...figures } = metrics;
  return {
    ...figures,
    functions: [...functions],
    queues: [...queues],
    series: [...series],
    workers: totalsOf(workers),
  };
}

/** Sums over processes; what an engine does not know counts as 0. */
export function totalsOf(workers: readonly ProcessInfo[]): WorkerTotals {
  const sum = (of: (worker: ProcessInfo) => number | null): number =>
    workers.reduce((total, worker) => total + (of(worker) ?? 0), 0);
  return {
    count: workers.length,
    slots: sum(({ slots }) => slots),
    stuck: sum(({ stuck }) => stuck),
  };
}

/** The queues that are known, whether each is paused, with their figures. */
export async function listQueues(
  tasks: TaskSource,
  range: RangeQuery,
): Promise<z.output<typeof Answers.queueList>> {
  const [metrics, described, waits] = await Promise.all([
    tasks.aggregate('metrics', { ...range, series: false }),
    tasks.describe(),
    tasks.aggregate('waits'),
  ]);
  const oldest = new Map(waits.map(({ queue, since }) => [queue, since]));
  const figures = byName(metrics.queues);
  return {
    items: described.queues.map((queue) => ({
      ...queue,
      oldestReadyAt: oldest.get(queue.name) ?? null,
      ...figuresOf(figures, queue.name),
    })),
    ...coverageOf(metrics),
  };
}

/** The schedules, with their next runs. */
export async function listSchedules(
  tasks: TaskSource,
): Promise<z.output<typeof Answers.scheduleList>> {
  const { schedules } = await tasks.describe();
  return {
    items: schedules.map((schedule) => ({ ...schedule, nextRuns: nextRuns(tasks, schedule) })),
  };
}

function nextRuns(tasks: TaskSource, { name, nextRunAt }: ScheduleState): string[] {
  if (nextRunAt === null) return [];
  const later = tasks.definitions?.().runsAfter(name, Date.parse(nextRunAt), runsTold - 1) ?? [];
  return [nextRunAt, ...later.map((at) => new Date(at).toISOString())];
}

/** Failure groups that the overview shows. */
const failuresShown = 5;

/** What the first page shows beside its list and its chart, so that it need not ask for each part. */
export interface Overview {
  /** Figures of the last hour, by the minute. */
  hour: Metrics;
  failures: readonly FailureGroup[];
  queues: z.output<typeof Answers.queueList>['items'];
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
  return new Map(list.map(({ name, ...figures }) => [name, figures]));
}

const none: Stats = {
  counts: Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Stats['counts'],
  successRate: null,
  durations: Object.fromEntries(
    ['avg', 'min', 'max', 'p50', 'p95', 'p99'].map((key) => [key, null]),
  ) as unknown as Durations,
};

function figuresOf(figures: Map<string, Stats>, name: string): Stats {
  return figures.get(name) ?? none;
}
