import { useEffect } from 'preact/hooks';
import type { QueueList, WorkerList } from '../../../client/client.js';
import { now } from '../../kit/clock.js';
import { Coverage } from '../../kit/coverage.js';
import { age, duration, percent, stuckText, whole } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { stats } from '../../live/connection.js';
import { loaded } from '../../live/loaded.js';
import { client } from '../../state/bootstrap.js';
import { ChangeLink, PageLink } from '../../state/links.js';
import { page } from '../../state/view.js';
import { PauseButton, PauseNote } from '../pausing.js';
import { pauseQueue, resumeQueue } from './actions.js';

const isShown = (): boolean => page.peek() === 'queues';
const queues = loaded((signal) => client.queues({ from: '-1h' }, signal), isShown);
const workers = loaded((signal) => client.workers(signal), isShown, {
  // If a handler returns after its attempt has ended, it frees its slot without a change of a task.
  changesAlone: ({ items }) => items.some(({ stuck }) => Boolean(stuck)),
});
/** Seconds without a heartbeat after which a process is shown as possibly stuck. */
const stale = 30;

type Queue = QueueList['items'][number];

/** Returns the number of tasks that ended per minute in the last hour. */
const perMinute = ({ counts: { success, failed, interrupted, cancelled } }: Queue): number =>
  (success + failed + interrupted + cancelled) / 60;

/** Says when a queue will be empty at its present rate. */
function doneIn(queue: Queue): string {
  const { paused, counts } = queue;
  const rate = perMinute(queue);
  return paused || rate === 0 || counts.pending === 0
    ? '—'
    : `≈ ${age((counts.pending / rate) * 60)}`;
}

const queueColumns: readonly Column<Queue>[] = [
  {
    header: 'Queue',
    isRowHeader: true,
    cell: ({ name, pause }) => (
      <>
        <PageLink to={{ view: 'tasks', queue: name }}>{name}</PageLink>
        <PauseNote pause={pause} />
      </>
    ),
  },
  {
    header: 'Waiting',
    cell: ({ name, counts }) => (
      <PageLink to={{ view: 'tasks', queue: name, status: ['pending'], sort: 'createdAt' }}>
        {whole(counts.pending)}
      </PageLink>
    ),
  },
  {
    header: 'Oldest',
    cell: ({ oldestReadyAt }) =>
      oldestReadyAt ? age((now.value - Date.parse(oldestReadyAt)) / 1000) : '—',
  },
  {
    header: 'Running',
    cell: ({ name, counts }) => (
      <PageLink to={{ view: 'tasks', queue: name, status: ['running'] }}>
        {whole(counts.running)}
      </PageLink>
    ),
  },
  {
    header: 'Ended per minute',
    cell: (queue) => {
      const rate = perMinute(queue);
      return rate < 10 ? rate.toFixed(1) : whole(Math.round(rate));
    },
  },
  { header: 'Done in', cell: doneIn },
  { header: 'Success, 1 h', cell: ({ successRate }) => percent(successRate) },
  { header: 'p95', cell: ({ durations }) => duration(durations.p95) || '—' },
  actionsColumn(({ name, paused, counts }) => (
    <PauseButton
      paused={paused}
      pause={() => void pauseQueue(name, counts.running).then(queues.load)}
      resume={() => void resumeQueue(name).then(queues.load)}
    />
  )),
];

type Worker = WorkerList['items'][number];

/**
 * Shows the slots of a process that are occupied by handlers which did not stop, with links to
 * their tasks.
 */
function StuckNote({ worker: { stuck, slots, stuckAttempts } }: { worker: Worker }) {
  if (!stuck) return null;
  const more = stuck - stuckAttempts.length;
  return (
    <details class="stuck">
      <summary class="stale">{stuckText(stuck, slots)}</summary>
      <ul>
        {stuckAttempts.map(({ id, name, attempt, since }) => (
          <li key={`${id} ${attempt}`}>
            <ChangeLink change={{ task: id }}>{name}</ChangeLink>, attempt {attempt}, given up{' '}
            <Time at={since} form="relative" />
          </li>
        ))}
        {more > 0 && <li>and {whole(more)} more</li>}
      </ul>
    </details>
  );
}

const workerColumns: readonly Column<Worker>[] = [
  {
    header: 'Process',
    isRowHeader: true,
    cell: ({ host, pid }) => (pid === null ? host : `${host}:${pid}`),
  },
  {
    header: 'Running',
    cell: (worker) => {
      const { slots, running, queue } = worker;
      return (
        <>
          {slots === null
            ? `jobs of ${queue}`
            : slots === 0
              ? 'none: runs no tasks'
              : `${running} of ${slots}`}
          <StuckNote worker={worker} />
        </>
      );
    },
  },
  {
    header: 'Last seen',
    class: ({ lastSign }) => (lastSign > stale ? 'stale' : ''),
    cell: ({ lastSign }) =>
      (lastSign < 1 ? 'now' : `${age(lastSign)} ago`) +
      (lastSign > stale ? ' — busy or stuck' : ''),
  },
  { header: 'Up since', cell: ({ startedAt }) => <Time at={startedAt} /> },
  { header: 'Version', cell: ({ version }) => version },
];

/** The page with the queues, their throughput, and the processes that run their tasks. */
export function QueuesPage() {
  const paused = JSON.stringify(stats.value?.paused);
  useEffect(() => void queues.load(), [paused]);
  useEffect(() => void workers.load(), []);
  return (
    <>
      <When source={queues} what="The queues">
        {({ items, completeSince }) =>
          items.length === 0 ? (
            <p class="empty">There is no queue yet. The first task creates one.</p>
          ) : (
            <>
              <Coverage since={completeSince} />
              <DataTable
                caption="Queues, with the counts of the last hour"
                columns={queueColumns}
                rows={items}
                keyOf={({ name }) => name}
              />
            </>
          )
        }
      </When>
      <h2>Processes</h2>
      <When source={workers} what="The processes">
        {({ items }) => (
          <DataTable
            caption="Processes that use these tasks"
            columns={workerColumns}
            rows={items}
            keyOf={({ id }) => id}
          />
        )}
      </When>
    </>
  );
}
