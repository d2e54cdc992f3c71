import type { FailureGroup } from '../../../client/client.js';
import { Sparkline } from '../../kit/charts/sparkline.js';
import { serverNow } from '../../kit/clock.js';
import { plural, whole } from '../../kit/formats.js';
import { actionsColumn, type Column, DataTable } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { may } from '../../state/bootstrap.js';
import { ChangeLink, FunctionLink, PageLink } from '../../state/links.js';
import { actOnFilter } from '../task-list/bulk-actions.js';

/** Milliseconds during which a failure group counts as new. */
const newFor = 3_600_000;

/** Retries all failed tasks of a group. */
function retryGroup({ fingerprint, name, error }: FailureGroup): Promise<void> {
  return actOnFilter(
    'retry',
    { fingerprint, status: ['failed'] },
    `${name} that failed with ${error.name}`,
  );
}

const columns: readonly Column<FailureGroup>[] = [
  {
    header: 'Error',
    isRowHeader: true,
    class: 'failure-group',
    cell: ({ lastTaskId, error, first }) => (
      <>
        <ChangeLink change={{ task: lastTaskId }} title="Open the last task">
          <strong>{error.name}</strong>: {error.message.slice(0, 300)}
        </ChangeLink>
        {serverNow() - Date.parse(first) < newFor && <span class="pill new">new</span>}
      </>
    ),
  },
  { header: 'Function', cell: ({ name }) => <FunctionLink name={name} status={['failed']} /> },
  {
    header: 'Times',
    cell: ({ count }) => (
      <>
        {whole(count)}
        <span class="unseen"> times</span>
      </>
    ),
  },
  {
    header: 'Failed now',
    cell: ({ fingerprint, failed }) => (
      <PageLink to={{ view: 'tasks', fingerprint, status: ['failed'] }}>{whole(failed)}</PageLink>
    ),
  },
  {
    header: '24 h',
    cell: ({ trend }) => (
      <>
        <Sparkline values={trend} tone="failed" />
        <span class="unseen">{`${plural(sum(trend), 'time')} in 24 hours`}</span>
      </>
    ),
  },
  { header: 'First', cell: ({ first }) => <Time at={first} /> },
  { header: 'Last', cell: ({ last }) => <Time at={last} form="relative" /> },
  actionsColumn((group) =>
    may('retry') && group.failed > 0 ? (
      <button type="button" onClick={() => void retryGroup(group)}>
        Retry {whole(group.failed)}…
      </button>
    ) : null,
  ),
];

const sum = (values: readonly number[]): number => values.reduce((total, n) => total + n, 0);

/** Failures grouped by error. */
export function FailureGroups({
  groups,
  caption,
}: {
  groups: readonly FailureGroup[];
  caption: string;
}) {
  return (
    <DataTable
      caption={caption}
      columns={columns}
      rows={groups}
      keyOf={({ fingerprint }) => fingerprint}
    />
  );
}
