import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Overview } from '../../../client/client.js';
import { type Bar, fill, OutcomeBars } from '../../kit/charts/bars.js';
import { Sparkline } from '../../kit/charts/sparkline.js';
import { now, serverNow } from '../../kit/clock.js';
import { Coverage } from '../../kit/coverage.js';
import { age, count, duration, percent, plural, stuckText, whole } from '../../kit/formats.js';
import { Failure, Skeleton, When } from '../../kit/states.js';
import { Time } from '../../kit/time.js';
import { stats } from '../../live/connection.js';
import { type Loaded, loaded } from '../../live/loaded.js';
import type { View } from '../../state/address.js';
import { bootstrap, client, may } from '../../state/bootstrap.js';
import { FunctionLink, PageLink } from '../../state/links.js';
import { goTo, linkToPage, page, view } from '../../state/view.js';
import { FailureGroups } from '../failures/failure-groups.js';
import { retryFailedSince } from '../failures/retry-failed.js';
import { RangeChoice, stretchOf } from '../range.js';
import { TaskList } from '../task-list/tasks.js';
import { healthOf } from './health.js';

const isShown = (): boolean => page.peek() === 'overview';

/** The overview. Its first value came with the page, and it is loaded again as tasks change. */
const overview: Loaded<Overview> = loaded(loadOverview, isShown, {
  first: bootstrap.overview ?? undefined,
  changesAlone: ({ workers }) => workers.some(({ stuck }) => Boolean(stuck)),
});

const chart = loaded((signal) => {
  const { range, step } = stretchOf(view.peek().range);
  return client.metrics({ from: range, step }, signal);
}, isShown);

async function loadOverview(signal: AbortSignal): Promise<Overview> {
  const [hour, { items: failures }, { items: queues }, { items: workers }, { items: schedules }] =
    await Promise.all([
      client.metrics({ from: '-1h', step: 60 }, signal),
      client.failures({ from: '-24h', limit: 5 }, signal),
      client.queues({ from: '-1h' }, signal),
      client.workers(signal),
      client.schedules(signal),
    ]);
  return { hour, failures, queues, workers, schedules };
}

function HealthSentence({ hour }: { hour: Overview['hour'] }) {
  const { tone, failed, ended, worst, since } = healthOf(hour, now.value);
  if (tone !== 'bad')
    return (
      <p class={`health ${tone}`}>
        <span aria-hidden="true">{tone === 'good' ? '✓' : '◷'}</span>{' '}
        {tone === 'good'
          ? `All is well: ${plural(ended, 'task')} ended in the last 15 min, none failed.`
          : 'Quiet: no task has ended in the last 15 min.'}
      </p>
    );
  const at = since === undefined ? undefined : new Date(since).toISOString();
  return (
    <div class="health bad">
      <p>
        <span aria-hidden="true">✕</span> <strong>{plural(failed, 'failure')}</strong> in the last
        15 min
        {worst && (
          <>
            , {worst.share === 1 ? 'all' : percent(worst.share)} from{' '}
            <FunctionLink name={worst.name} status={['failed']} />
          </>
        )}
        .{' '}
        {at && (
          <>
            Started <Time at={at} form="minute" /> (<Time at={at} form="relative" />
            ).
          </>
        )}
      </p>
      <div class="actions">
        <PageLink to={{ view: 'failures', range: '-1h' }} class="button primary">
          Show failures
        </PageLink>
        {may('retry') && (
          <button type="button" onClick={() => void retryFailedSince(900, 'in the last 15 min')}>
            Retry these…
          </button>
        )}
      </div>
    </div>
  );
}

interface CardProps {
  label: string;
  value: string;
  title?: string | undefined;
  note?: ComponentChildren;
  tone?: string;
  to: Partial<View>;
  values?: readonly number[];
}

/** A number with its history over the last hour, as a link to its tasks. */
function Card({ label, value, title, note, tone = '', to, values }: CardProps) {
  return (
    <PageLink to={to} class={`card ${tone}`}>
      <span class="label">{label}</span>
      <strong title={title}>{value}</strong>
      <span class="note">{note}</span>
      {values && <Sparkline values={values} tone={tone} />}
    </PageLink>
  );
}

function Cards({ data }: { data: Overview }) {
  const { counts } = stats.value ?? data.hour;
  const minutes = fill(data.hour.series, 3600, 60);
  const { failed } = healthOf(data.hour, now.value);
  const waiting = data.queues.flatMap(({ name, oldestReadyAt }) =>
    oldestReadyAt ? [{ name, at: oldestReadyAt }] : [],
  );
  const [oldest] = waiting.sort((a, b) => (a.at < b.at ? -1 : 1));
  const slots = data.workers.reduce((sum, worker) => sum + (worker.slots ?? 0), 0);
  const { durations, successRate } = data.hour;
  const day = chart.value.value?.successRate;
  return (
    <section class="cards" aria-label="Numbers">
      <Card
        label="Failed, 15 min"
        value={count(failed)}
        note={`${count(counts.failed)} failed in all`}
        tone={failed > 0 ? 'failed' : ''}
        to={{ view: 'tasks', status: ['failed'] }}
        values={minutes.map((bar) => bar.failed)}
      />
      <Card
        label="Oldest waiting"
        value={oldest ? age((now.value - Date.parse(oldest.at)) / 1000) : '—'}
        note={oldest ? `queue ${oldest.name}` : 'nothing waits'}
        tone="pending"
        to={{ view: 'tasks', status: ['pending'], sort: 'createdAt', queue: oldest?.name }}
      />
      <Card
        label="Waiting"
        value={count(counts.pending)}
        title={whole(counts.pending)}
        tone="pending"
        to={{ view: 'tasks', status: ['pending'] }}
        note="pending"
      />
      <Card
        label="Running"
        value={slots > 0 ? `${count(counts.running)}/${count(slots)}` : count(counts.running)}
        note={plural(data.workers.length, 'process').replace('processs', 'processes')}
        tone="running"
        to={{ view: 'tasks', status: ['running'] }}
      />
      <Card
        label="Success, 1 h"
        value={percent(successRate)}
        note={
          day === undefined || day === null
            ? ''
            : `${percent(day)} in ${stretchOf(view.value.range).words}`
        }
        tone="success"
        to={{ view: 'tasks', status: ['success'] }}
        values={minutes.map((bar) => bar.success)}
      />
      <Card
        label="p95, 1 h"
        value={duration(durations.p95) || '—'}
        note={durations.p50 === null ? '' : `median ${duration(durations.p50)}`}
        to={{ view: 'tasks', sort: '-duration', from: '-1h' }}
        values={minutes.map((bar) => bar.p95 ?? 0)}
      />
    </section>
  );
}

function Throughput() {
  const { range, seconds, step } = stretchOf(view.value.range);
  useEffect(() => void chart.load(), [range]);
  const data = chart.value.value;
  const error = chart.error.value;
  const within = (first: Bar, last: Bar): Partial<View> => ({
    view: 'tasks',
    from: first.at,
    to: new Date(Date.parse(last.at) + step * 1000).toISOString(),
  });
  return (
    <section class="frame" aria-labelledby="throughput">
      <div class="frame-head">
        <h2 id="throughput">Ended tasks</h2>
        <RangeChoice />
        <span class="legend">
          <span class="key success">succeeded</span> <span class="key failed">failed</span>
        </span>
      </div>
      <Coverage since={data?.completeSince} />
      {error !== undefined && (
        <Failure error={error} what="The chart" again={() => void chart.load()} />
      )}
      {data ? (
        <OutcomeBars
          bars={fill(data.series, seconds, step)}
          step={step}
          href={(first, last) => linkToPage(within(first, last))}
          choose={(first, last) => goTo(within(first, last))}
        />
      ) : (
        <div class="bars-place" />
      )}
    </section>
  );
}

function SideTables({ data }: { data: Overview }) {
  const busy = data.queues.filter(
    ({ counts, paused }) => paused || counts.pending + counts.running > 0,
  );
  const [next] = data.schedules
    .filter(({ nextRunAt, paused }) => nextRunAt && !paused)
    .sort((a, b) => ((a.nextRunAt ?? '') < (b.nextRunAt ?? '') ? -1 : 1));
  return (
    <div class="sides">
      <section class="frame" aria-labelledby="o-queues">
        <h2 id="o-queues">
          <PageLink to={{ view: 'queues' }}>Queues</PageLink>
        </h2>
        {busy.length === 0 ? (
          <p class="faint">No task is pending or running.</p>
        ) : (
          <ul class="lines">
            {busy.slice(0, 6).map(({ name, paused, counts, oldestReadyAt }) => (
              <li key={name}>
                <PageLink to={{ view: 'tasks', queue: name, status: ['pending'] }}>{name}</PageLink>
                <span>
                  {count(counts.pending)} waiting, {count(counts.running)} running
                </span>
                <span class="faint">
                  {paused
                    ? 'paused'
                    : oldestReadyAt &&
                      `oldest ${age((now.value - Date.parse(oldestReadyAt)) / 1000)}`}
                </span>
              </li>
            ))}
          </ul>
        )}
      </section>
      <section class="frame" aria-labelledby="o-processes">
        <h2 id="o-processes">Processes</h2>
        <ul class="lines">
          {data.workers
            .slice(0, 6)
            .map(({ id, host, pid, running, slots, stuck, lastSign, queue }) => (
              <li key={id}>
                <span>{pid === null ? host : `${host}:${pid}`}</span>
                <span>
                  {slots === null
                    ? (queue ?? '')
                    : slots === 0
                      ? 'runs nothing'
                      : `${running}/${slots} running`}
                </span>
                {stuck ? (
                  <PageLink to={{ view: 'queues' }} class="stale">
                    {stuckText(stuck, slots)}
                  </PageLink>
                ) : (
                  <span class={lastSign > 30 ? 'stale' : 'faint'}>
                    {lastSign > 30 ? `busy or stuck for ${age(lastSign)}` : 'alive'}
                  </span>
                )}
              </li>
            ))}
        </ul>
        {next?.nextRunAt && (
          <p class="faint">
            Next schedule: <PageLink to={{ view: 'schedules' }}>{next.name}</PageLink>{' '}
            <Time at={next.nextRunAt} form="relative" />
          </p>
        )}
      </section>
    </div>
  );
}

/**
 * The first page. It shows whether tasks fail at present, since when and why, and how much work is
 * done.
 */
export function OverviewPage() {
  useEffect(() => {
    overview.watch();
    // The first value is as old as the page, so an old one is loaded again.
    if (!overview.value.peek() || serverNow() - loadedAt > 5000) void overview.load();
  }, []);
  return (
    <>
      <When source={overview} what="The overview">
        {(data) => (
          <>
            <HealthSentence hour={data.hour} />
            <Cards data={data} />
          </>
        )}
      </When>
      <Throughput />
      {overview.value.value ? (
        <>
          {overview.value.value.failures.length > 0 && (
            <section class="frame" aria-label="Failures of the last day">
              <FailureGroups
                groups={overview.value.value.failures}
                caption="Failures of the last 24 h, grouped by error"
              />
            </section>
          )}
          <SideTables data={overview.value.value} />
        </>
      ) : (
        overview.error.value === undefined && <Skeleton rows={4} />
      )}
      <section class="frame list" aria-labelledby="o-tasks">
        <h2 id="o-tasks">Tasks</h2>
        <TaskList />
      </section>
    </>
  );
}

const loadedAt = serverNow();
