import { useEffect } from 'preact/hooks';
import type { FunctionList } from '../../client/client.js';
import { Coverage } from '../kit/coverage.js';
import { duration, percent, whole } from '../kit/formats.js';
import { When } from '../kit/states.js';
import { Heads } from '../kit/table.js';
import { loaded } from '../live/loaded.js';
import { client, may } from '../state/bootstrap.js';
import { FunctionLink, PageLink } from '../state/links.js';
import { page, view } from '../state/view.js';
import { retryFailedSince } from './failures/retry-failed.js';
import { RangeChoice, stretchOf } from './range.js';
import { Strip } from './run-history.js';

const functions = loaded(
  (signal) => client.functions({ from: stretchOf(view.peek().range).range }, signal),
  () => page.peek() === 'functions',
);
const runsOfStrip = 50;

type Item = FunctionList['items'][number];

/** What of its settings is not as usual. */
function settingsOf({ settings }: Item): string[] {
  if (!settings) return ['not defined in this process'];
  const { handled, queue, priority, retries, delay, backoff, timeout, concurrency, requeueOnInterrupt } = settings;
  return [
    handled ? '' : 'runs in another process',
    queue === 'default' ? '' : `queue ${queue}`,
    priority === 0 ? '' : `priority ${priority}`,
    retries === 0 ? 'no retry' : `${retries} ${retries === 1 ? 'retry' : 'retries'}`,
    retries > 0 && delay > 0 ? `after ${duration(delay)}` : '',
    retries > 0 && backoff !== 1 ? (backoff === 'function' ? 'by a function' : `× ${backoff}`) : '',
    timeout === null ? '' : `timeout ${duration(timeout)}`,
    concurrency === null ? '' : `${concurrency} at once`,
    requeueOnInterrupt ? 'runs again after a crash' : '',
  ].filter((text) => text !== '');
}

function FunctionRow({ item }: { item: Item }) {
  const { name, counts, durations, successRate } = item;
  const { range, seconds, words } = stretchOf(view.value.range);
  const ended = counts.success + counts.failed + counts.interrupted + counts.cancelled;
  return (
    <tr>
      <th scope="row">
        <FunctionLink name={name} />
        <span class="under faint">{settingsOf(item).join(' · ')}</span>
      </th>
      <td data-label="Ended">{whole(ended)}</td>
      <td data-label="Failed">
        {counts.failed > 0 ? (
          <PageLink to={{ view: 'tasks', name, status: ['failed'], from: range }} class="bad">
            {whole(counts.failed)}
          </PageLink>
        ) : (
          '0'
        )}
      </td>
      <td data-label="Success">{percent(successRate)}</td>
      <td data-label="Waiting">{whole(counts.pending)}</td>
      <td data-label="Running">{whole(counts.running)}</td>
      <td data-label="p50">{duration(durations.p50) || '—'}</td>
      <td data-label="p95">{duration(durations.p95) || '—'}</td>
      <td data-label="p99">{duration(durations.p99) || '—'}</td>
      <td data-label="Last runs">
        <Strip name={name} most={runsOfStrip} />
      </td>
      <td class="row-actions">
        {may('retry') && counts.failed > 0 && (
          <button type="button" onClick={() => void retryFailedSince(seconds, `in the last ${words}`, name)}>
            Retry failed…
          </button>
        )}
      </td>
    </tr>
  );
}

/** The functions, how they do, and how they are set. */
export function FunctionsPage() {
  const { range, words } = stretchOf(view.value.range);
  useEffect(() => void functions.load(), [range]);
  return (
    <>
      <div class="filters">
        <RangeChoice />
      </div>
      <When source={functions} what="The functions">
        {({ items, completeSince }) =>
          items.length === 0 ? (
            <p class="empty">No function is known yet.</p>
          ) : (
            <>
              <Coverage since={completeSince} />
              <table>
                <caption>Functions, with the figures of the last {words}</caption>
                <Heads names={['Function', 'Ended', 'Failed', 'Success', 'Waiting', 'Running', 'p50', 'p95', 'p99', 'Last runs', '']} />
                <tbody>
                  {items.map((item) => (
                    <FunctionRow key={item.name} item={item} />
                  ))}
                </tbody>
              </table>
            </>
          )
        }
      </When>
    </>
  );
}
