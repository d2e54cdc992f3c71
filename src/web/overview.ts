import type { z } from 'zod';
import type { MetricsRange, ScheduleState, TaskSource } from '../tasks/engine.js';
import { type Durations, type Figures, taskStatuses } from '../tasks/types.js';
import type * as Answers from './answers.js';

/** Runs of a schedule that are told. */
const runsTold = 5;

/** The functions that are known, by their definitions here or their tasks, with their figures. */
export async function listFunctions(tasks: TaskSource, range: MetricsRange): Promise<z.output<typeof Answers.functionList>> {
  const { functions } = await tasks.aggregate('metrics', { ...range, series: false });
  const settings = new Map((tasks.definitions?.().functions ?? []).map(({ name, ...rest }) => [name, rest]));
  const figures = byName(functions);
  const names = [...new Set([...settings.keys(), ...figures.keys()])].sort();
  return {
    items: names.map((name) => {
      const { tags, ...own } = settings.get(name) ?? { tags: {} };
      return { name, settings: 'handled' in own ? { ...own, tags: { ...tags } } : null, ...figuresOf(figures, name) };
    }),
  };
}

/** The queues that are known, whether each is paused, with their figures. */
export async function listQueues(tasks: TaskSource, range: MetricsRange): Promise<z.output<typeof Answers.queueList>> {
  const [{ queues }, described] = await Promise.all([tasks.aggregate('metrics', { ...range, series: false }), tasks.describe()]);
  const figures = byName(queues);
  return { items: described.queues.map(({ name, paused }) => ({ name, paused, ...figuresOf(figures, name) })) };
}

/** The schedules, with their next runs. */
export async function listSchedules(tasks: TaskSource): Promise<z.output<typeof Answers.scheduleList>> {
  const { schedules } = await tasks.describe();
  return { items: schedules.map((schedule) => ({ ...schedule, nextRuns: nextRuns(tasks, schedule) })) };
}

function nextRuns(tasks: TaskSource, { name, nextRunAt }: ScheduleState): string[] {
  if (nextRunAt === null) return [];
  const later = tasks.definitions?.().runsAfter(name, Date.parse(nextRunAt), runsTold - 1) ?? [];
  return [nextRunAt, ...later.map((at) => new Date(at).toISOString())];
}

function byName(list: readonly (Figures & { name: string })[]): Map<string, Figures> {
  return new Map(list.map(({ name, ...figures }) => [name, figures]));
}

const none: Figures = {
  counts: Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Figures['counts'],
  successRate: null,
  durations: Object.fromEntries(['avg', 'min', 'max', 'p50', 'p95', 'p99'].map((key) => [key, null])) as unknown as Durations,
};

function figuresOf(figures: Map<string, Figures>, name: string): Figures {
  return figures.get(name) ?? none;
}
