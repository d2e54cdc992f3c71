import { useEffect } from 'preact/hooks';
import type { QueueList, WorkerList } from '../../../client/client.js';
import { now } from '../../kit/clock.js';
import { Coverage } from '../../kit/coverage.js';
import { age, duration, percent, stuckText, whole } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { Heads } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { pulse } from '../../live/connection.js';
import { loaded } from '../../live/loaded.js';
import { client } from '../../state/bootstrap.js';
import { ChangeLink, PageLink } from '../../state/links.js';
import { page } from '../../state/view.js';
import { PauseButton, PauseNote } from '../pausing.js';
import { pauseQueue, resumeQueue } from './actions.js';

const isShown = (): boolean => page.peek() === 'queues';
const queues = loaded((signal) => client.queues({ from: '-1h' }, signal), isShown);
const workers = loaded((signal) => client.workers(signal), isShown, {
  // A handler that returns after its attempt was given up frees its slot and changes no task.
  changesAlone: ({ items }) => items.some(({ stuck }) => Boolean(stuck)),
});
/** Seconds without a sign after which a process is shown as one that may be stuck. */
const stale = 30;

type Queue = QueueList['items'][number];

function QueueRow({ queue }: { queue: Queue }) {
  const { name, counts, paused, pause, oldestReadyAt, durations, successRate } = queue;
  const perMinute = (counts.success + counts.failed + counts.interrupted + counts.cancelled) / 60;
  const left = perMinute > 0 && counts.pending > 0 ? (counts.pending / perMinute) * 60 : undefined;
  return (
    <tr>
      <th scope="row">
        <PageLink to={{ view: 'tasks', queue: name }}>{name}</PageLink>
        <PauseNote pause={pause} />
      </th>
      <td data-label="Waiting">
        <PageLink to={{ view: 'tasks', queue: name, status: ['pending'], sort: 'createdAt' }}>{whole(counts.pending)}</PageLink>
      </td>
      <td data-label="Oldest">{oldestReadyAt ? age((now.value - Date.parse(oldestReadyAt)) / 1000) : '—'}</td>
      <td data-label="Running">
        <PageLink to={{ view: 'tasks', queue: name, status: ['running'] }}>{whole(counts.running)}</PageLink>
      </td>
      <td data-label="Ended a minute">{perMinute < 10 ? perMinute.toFixed(1) : whole(Math.round(perMinute))}</td>
      <td data-label="Done in">{paused || left === undefined ? '—' : `≈ ${age(left)}`}</td>
      <td data-label="Success, 1 h">{percent(successRate)}</td>
      <td data-label="p95">{duration(durations.p95) || '—'}</td>
      <td class="row-actions">
        <PauseButton
          paused={paused}
          pause={() => void pauseQueue(name, counts.running).then(queues.load)}
          resume={() => void resumeQueue(name).then(queues.load)}
        />
      </td>
    </tr>
  );
}

type Worker = WorkerList['items'][number];

/** The slots of a process that are held by handlers which did not stop, with links to their tasks. */
function StuckNote({ worker: { stuck, slots, stuckAttempts } }: { worker: Worker }) {
  if (!stuck) return null;
  const more = stuck - stuckAttempts.length;
  return (
    <details class="stuck">
      <summary class="stale">{stuckText(stuck, slots)}</summary>
      <ul>
        {stuckAttempts.map(({ id, name, attempt, since }) => (
          <li key={`${id} ${attempt}`}>
            <ChangeLink change={{ task: id }}>{name}</ChangeLink>, attempt {attempt}, given up <Time at={since} form="relative" />
          </li>
        ))}
        {more > 0 && <li>and {whole(more)} more</li>}
      </ul>
    </details>
  );
}

function WorkerRow({ worker }: { worker: Worker }) {
  const { host, pid, version, slots, running, queue, startedAt, lastSign } = worker;
  return (
    <tr>
      <th scope="row">{pid === null ? host : `${host}:${pid}`}</th>
      <td data-label="Running">
        {slots === null ? `jobs of ${queue}` : slots === 0 ? 'none: it only shows' : `${running} of ${slots}`}
        <StuckNote worker={worker} />
      </td>
      <td data-label="Last sign" class={lastSign > stale ? 'stale' : ''}>
        {lastSign < 1 ? 'now' : `${age(lastSign)} ago`}
        {lastSign > stale && ' — busy or stuck'}
      </td>
      <td data-label="Up since">
        <Time at={startedAt} />
      </td>
      <td data-label="Version">{version}</td>
    </tr>
  );
}

/** The queues, how fast they move, and the processes that work on them. */
export function QueuesPage() {
  const paused = JSON.stringify(pulse.value?.paused);
  useEffect(() => void queues.load(), [paused]);
  useEffect(() => void workers.load(), []);
  return (
    <>
      <When source={queues} what="The queues">
        {({ items, completeSince }) =>
          items.length === 0 ? (
            <p class="empty">There is no queue yet: the first task makes one.</p>
          ) : (
            <>
              <Coverage since={completeSince} />
              <table>
                <caption>Queues, with the figures of the last hour</caption>
                <Heads names={['Queue', 'Waiting', 'Oldest', 'Running', 'Ended a minute', 'Done in', 'Success, 1 h', 'p95', '']} />
                <tbody>
                  {items.map((queue) => (
                    <QueueRow key={queue.name} queue={queue} />
                  ))}
                </tbody>
              </table>
            </>
          )
        }
      </When>
      <h2>Processes</h2>
      <When source={workers} what="The processes">
        {({ items }) => (
          <table>
            <caption>Processes that have the tasks open</caption>
            <Heads names={['Process', 'Running', 'Last sign', 'Up since', 'Version']} />
            <tbody>
              {items.map((worker) => (
                <WorkerRow key={worker.id} worker={worker} />
              ))}
            </tbody>
          </table>
        )}
      </When>
    </>
  );
}
