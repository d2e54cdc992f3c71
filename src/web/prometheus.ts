import type { StrategyHealth } from '../http/access.js';
import type { DurationHistogram } from '../tasks/engine-queries.js';
import type { TaskSource } from '../tasks/source.js';
import { isEnded } from '../tasks/states.js';
import { type Metrics, type TaskStatus, taskStatuses } from '../tasks/types.js';
import { totalsOf } from './overview.js';

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
/** A line. The suffix follows the name of the family. */
type Sample = readonly [labels: Labels, value: number, suffix?: '_bucket' | '_sum' | '_count'];

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
export async function prometheusText(
  tasks: TaskSource,
  strategies: readonly StrategyHealth[] = [],
): Promise<string> {
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
      byState('function', now.functions, taskStatuses),
    ),
    family(
      'queue_tasks',
      'gauge',
      'Tasks of a queue that have not ended.',
      byState('queue', now.queues, ['pending', 'running']),
    ),
    family(
      'queue_paused',
      'gauge',
      'Whether a queue is paused.',
      first(states).map(({ name, paused }) => [{ queue: name }, Number(paused)]),
    ),
    family(
      'ended_total',
      'counter',
      'Ended tasks, including deleted ones.',
      byState('function', ever.functions, taskStatuses.filter(isEnded)),
    ),
    family(
      'attempt_duration_seconds',
      'histogram',
      'Durations of attempts in seconds, exact to 4.5 %.',
      first(histograms).flatMap(samplesOf),
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
    ...loginFamilies(strategies),
  ].join('');
}

/** Returns the families of the login; none if it does not report its health. */
function loginFamilies(strategies: readonly StrategyHealth[]): string[] {
  if (strategies.length === 0) return [];
  const known = strategies.filter(({ state }) => state !== 'unknown');
  return [
    family(
      'login_strategy_up',
      'gauge',
      'Whether a strategy of the login last answered.',
      known.map(({ name, state }) => [{ strategy: name }, Number(state === 'up')]),
    ),
    family(
      'login_attempts_total',
      'counter',
      'Logins of this process, by strategy and outcome.',
      strategies.flatMap(({ name: strategy, logins, rejected, errors }): Sample[] => [
        [{ strategy, outcome: 'accepted' }, logins],
        [{ strategy, outcome: 'rejected' }, rejected],
        [{ strategy, outcome: 'failed' }, errors],
      ]),
    ),
  ];
}

function first<T extends { name: string }>(items: readonly T[]): readonly T[] {
  return items.slice(0, maxNames);
}

function byState(
  label: 'function' | 'queue',
  stats: Metrics['functions'],
  statuses: readonly TaskStatus[],
): Sample[] {
  return first(stats).flatMap(({ name, counts }) =>
    statuses.map((status): Sample => [{ [label]: name, status }, counts[status]]),
  );
}

function samplesOf({ name, counts, count, sum }: DurationHistogram): Sample[] {
  const labels = { function: name };
  return [
    ...bounds.map((le, n): Sample => [{ ...labels, le: String(le) }, counts[n] ?? 0, '_bucket']),
    [{ ...labels, le: '+Inf' }, count, '_bucket'],
    [labels, sum, '_sum'],
    [labels, count, '_count'],
  ];
}

function family(
  name: string,
  type: 'gauge' | 'counter' | 'histogram',
  help: string,
  samples: readonly Sample[],
): string {
  const full = `koa_taskflow_${name}`;
  const lines = samples.map(
    ([labels, value, suffix = '']) => `${full}${suffix}${labelText(labels)} ${value}\n`,
  );
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
