import type { FailureKind } from '../../../client/client.js';
import { Sparkline } from '../../kit/charts/sparkline.js';
import { serverNow } from '../../kit/clock.js';
import { plural, whole } from '../../kit/formats.js';
import { Heads } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { may } from '../../state/bootstrap.js';
import { ChangeLink, FunctionLink, PageLink } from '../../state/links.js';
import { actOnFilter } from '../task-list/actions.js';

/** What happened first within so many milliseconds is new. */
const news = 3_600_000;

/** Retries all tasks that are failed in one way. */
function retryKind({ fingerprint, name, error }: FailureKind): Promise<void> {
  return actOnFilter('retry', { fingerprint, status: ['failed'] }, `${name} that failed with ${error.name}`);
}

/** One kind of failure, in a list. */
function KindRow({ kind }: { kind: FailureKind }) {
  const isNew = serverNow() - Date.parse(kind.first) < news;
  return (
    <tr>
      <th scope="row" class="kind">
        <ChangeLink change={{ task: kind.lastTaskId }} title="Open the last one">
          <strong>{kind.error.name}</strong>: {kind.error.message.slice(0, 300)}
        </ChangeLink>
        {isNew && <span class="pill new">new</span>}
      </th>
      <td data-label="Function">
        <FunctionLink name={kind.name} status={['failed']} />
      </td>
      <td data-label="Times">
        {whole(kind.count)}
        <span class="unseen"> times</span>
      </td>
      <td data-label="Failed now">
        <PageLink to={{ view: 'tasks', fingerprint: kind.fingerprint, status: ['failed'] }}>{whole(kind.failed)}</PageLink>
      </td>
      <td data-label="24 h">
        <Sparkline values={kind.trend} tone="failed" />
        <span class="unseen">
          {plural(
            kind.trend.reduce((sum, n) => sum + n, 0),
            'time',
          )}{' '}
          in 24 hours
        </span>
      </td>
      <td data-label="First">
        <Time at={kind.first} />
      </td>
      <td data-label="Last">
        <Time at={kind.last} form="relative" />
      </td>
      <td class="row-actions">
        {may('retry') && kind.failed > 0 && (
          <button type="button" onClick={() => void retryKind(kind)}>
            Retry {whole(kind.failed)}…
          </button>
        )}
      </td>
    </tr>
  );
}

/** Failures by their cause. */
export function KindTable({ kinds, caption }: { kinds: readonly FailureKind[]; caption: string }) {
  return (
    <table>
      <caption>{caption}</caption>
      <Heads names={['Error', 'Function', 'Times', 'Failed now', '24 h', 'First', 'Last', '']} />
      <tbody>
        {kinds.map((kind) => (
          <KindRow key={kind.fingerprint} kind={kind} />
        ))}
      </tbody>
    </table>
  );
}
