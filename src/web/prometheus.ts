import type { DurationHistogram } from '../tasks/engine-queries.js';
import type { TaskSource } from '../tasks/source.js';
import { isEnded } from '../tasks/states.js';
import { taskStatuses } from '../tasks/types.js';
import { totalsOf } from './overview.js';

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

const endings = taskStatuses.filter(isEnded);
/** Bounds of the histogram, in seconds. */
const bounds = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
] as const;
/**
 * Functions and queues that have series of their own. The limit keeps an app with a queue for each
 * customer from overloading Prometheus.
 */
const maxNames = 500;

/**
 * Returns the statistics of the tasks in the format of Prometheus. Series are by function and by
 * queue, never by task, for at most the first 500 functions and queues by name.
 */
export async function prometheusText(tasks: TaskSource): Promise<string> {
  const [now, ever, { queues: states }, workers, histograms] = await Promise.all([
    tasks.aggregate('metrics', { series: false }),
    tasks.aggregate('metrics', { from: new Date(0), series: false }),
    tasks.describe(),
    tasks.aggregate('workers'),
    tasks.aggregate('histograms', bounds),
  ]);
  const totals = totalsOf(workers);
  return [
    family(
      'tasks',
      'gauge',
      'Tasks kept, by state.',
      first(now.functions).flatMap(({ name, counts }) =>
        taskStatuses.map((status): Sample => [{ function: name, status }, counts[status]]),
      ),
    ),
    family(
      'queue_tasks',
      'gauge',
      'Tasks of a queue that have not ended.',
      first(now.queues).flatMap(({ name, counts }) =>
        (['pending', 'running'] as const).map(
          (status): Sample => [{ queue: name, status }, counts[status]],
        ),
      ),
    ),
    family(
      'queue_paused',
      'gauge',
      'Whether a queue is paused.',
      first(states).map(({ name, paused }): Sample => [{ queue: name }, Number(paused)]),
    ),
    family(
      'ended_total',
      'counter',
      'Ended tasks, including deleted ones.',
      first(ever.functions).flatMap(({ name, counts }) =>
        endings.map((status): Sample => [{ function: name, status }, counts[status]]),
      ),
    ),
    histogram(
      'attempt_duration_seconds',
      'Durations of attempts in seconds, exact to 4.5 %.',
      first(histograms),
    ),
    family('workers', 'gauge', 'Processes that have the tasks open.', [[{}, totals.count]]),
    family('worker_slots', 'gauge', 'Tasks that these processes can run at once.', [
      [{}, totals.slots],
    ]),
    family(
      'worker_slots_stuck',
      'gauge',
      'Slots held by handlers that did not stop when their attempt was given up.',
      [[{}, totals.stuck]],
    ),
  ].join('');
}

function first<T extends { name: string }>(items: readonly T[]): readonly T[] {
  return items.slice(0, maxNames);
}

function histogram(name: string, help: string, histograms: readonly DurationHistogram[]): string {
  const full = `koa_taskflow_${name}`;
  const lines = histograms.flatMap(({ name: of, counts, count, sum }) => [
    ...bounds.map(
      (bound, n) =>
        `${full}_bucket${labelText({ function: of, le: String(bound) })} ${counts[n] ?? 0}\n`,
    ),
    `${full}_bucket${labelText({ function: of, le: '+Inf' })} ${count}\n`,
    `${full}_sum${labelText({ function: of })} ${sum}\n`,
    `${full}_count${labelText({ function: of })} ${count}\n`,
  ]);
  return `# HELP ${full} ${help}\n# TYPE ${full} histogram\n${lines.join('')}`;
}

function family(
  name: string,
  type: 'gauge' | 'counter',
  help: string,
  samples: readonly Sample[],
): string {
  const full = `koa_taskflow_${name}`;
  const lines = samples.map(([labels, value]) => `${full}${labelText(labels)} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
