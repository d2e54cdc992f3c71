import type { TaskSource } from '../tasks/source.js';
import { type Figures, taskStatuses } from '../tasks/types.js';

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

const endings = taskStatuses.slice(2);
const quantiles = { p50: '0.5', p95: '0.95', p99: '0.99' } as const;

/** The figures of the tasks as Prometheus takes them. Series are by function and by queue, never by task. */
export async function prometheusText(tasks: TaskSource): Promise<string> {
  const [now, ever, { queues: states }, workers] = await Promise.all([
    tasks.aggregate('metrics', { series: false }),
    tasks.aggregate('metrics', { from: new Date(0), series: false }),
    tasks.describe(),
    tasks.aggregate('workers'),
  ]);
  return [
    family(
      'tasks',
      'gauge',
      'Tasks kept, by state.',
      now.functions.flatMap(({ name, counts }) => taskStatuses.map((status): Sample => [{ function: name, status }, counts[status]])),
    ),
    family(
      'queue_tasks',
      'gauge',
      'Tasks of a queue that have not ended.',
      now.queues.flatMap(({ name, counts }) =>
        (['pending', 'running'] as const).map((status): Sample => [{ queue: name, status }, counts[status]]),
      ),
    ),
    family(
      'queue_paused',
      'gauge',
      'Whether a queue is paused.',
      states.map(({ name, paused }): Sample => [{ queue: name }, Number(paused)]),
    ),
    family(
      'ended_total',
      'counter',
      'Tasks that ended, deleted ones too.',
      ever.functions.flatMap(({ name, counts }) => endings.map((status): Sample => [{ function: name, status }, counts[status]])),
    ),
    family('attempt_duration_seconds', 'gauge', 'How long attempts ran, within 2.2 %.', ever.functions.flatMap(durationSamples)),
    family('workers', 'gauge', 'Processes that have the tasks open.', [[{}, workers.length]]),
    family('worker_slots', 'gauge', 'Tasks that they may run at once.', [[{}, workers.reduce((sum, { slots }) => sum + (slots ?? 0), 0)]]),
    family('worker_slots_stuck', 'gauge', 'Slots held by handlers that did not stop when their attempt was given up.', [
      [{}, workers.reduce((sum, { stuck }) => sum + (stuck ?? 0), 0)],
    ]),
  ].join('');
}

function durationSamples({ name, durations }: Figures & { name: string }): Sample[] {
  return Object.entries(quantiles).flatMap(([key, quantile]): Sample[] => {
    const value = durations[key as keyof typeof quantiles];
    return value === null ? [] : [[{ function: name, quantile }, value]];
  });
}

function family(name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string {
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
