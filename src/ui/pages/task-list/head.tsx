import { zoneLabel } from '../../kit/clock.js';
import type { Sort } from '../../state/address.js';
import { filterBy, view } from '../../state/view.js';
import { table } from './list.js';
import { order } from './row.js';
import { selected, toggleAll } from './selection.js';

/**
 * The columns and their sort keys. The first sort by a time or a duration is in descending order.
 */
const columns: readonly {
  head: string;
  key?: 'status' | 'name' | 'createdAt' | 'startedAt' | 'duration';
  time?: true;
}[] = [
  { head: 'State', key: 'status' },
  { head: 'Function', key: 'name' },
  { head: 'Queue' },
  { head: 'Tags' },
  { head: 'Created', key: 'createdAt', time: true },
  { head: 'Started', key: 'startedAt', time: true },
  { head: 'Duration', key: 'duration' },
  { head: 'Try' },
  { head: 'Error' },
];

const descendsFirst = ['createdAt', 'startedAt', 'endedAt', 'duration'];

/** Returns the sort order after the user presses a column header. */
function nextSort(key: string, present: Sort): Sort {
  const other =
    present === key
      ? `-${key}`
      : present === `-${key}`
        ? key
        : descendsFirst.includes(key)
          ? `-${key}`
          : key;
  return other as Sort;
}

function Head({
  head,
  sortKey,
  time,
}: {
  head: string;
  sortKey: string | undefined;
  time: boolean;
}) {
  const { sort } = view.value;
  const direction =
    sort === sortKey ? 'ascending' : sort === `-${sortKey}` ? 'descending' : undefined;
  const label = time ? `${head}, ${zoneLabel.value}` : head;
  if (sortKey === undefined)
    return (
      <th scope="col" data-label={head}>
        {label}
      </th>
    );
  return (
    <th scope="col" data-label={head} aria-sort={direction ?? 'none'}>
      <button
        type="button"
        class="sort"
        onClick={() => filterBy({ sort: nextSort(sortKey, sort) }, { replace: true })}
      >
        {label}
        <span aria-hidden="true">
          {direction === 'ascending' ? ' ↑' : direction === 'descending' ? ' ↓' : ''}
        </span>
      </button>
    </th>
  );
}

/** The table header, whose buttons sort the list. */
export function HeadRow({ choosable }: { choosable: boolean }) {
  const rows = table.value?.rows ?? [];
  const chosen = rows.filter(({ id }) => selected.value.has(id)).length;
  return (
    <tr>
      {choosable && (
        <th scope="col" class="choose">
          <input
            type="checkbox"
            aria-label="Select all on this page"
            checked={rows.length > 0 && chosen === rows.length}
            ref={(box) => {
              if (box) box.indeterminate = chosen > 0 && chosen < rows.length;
            }}
            onClick={() => toggleAll(order())}
          />
        </th>
      )}
      {columns.map(({ head, key, time }) => (
        <Head key={head} head={head} sortKey={key} time={time ?? false} />
      ))}
    </tr>
  );
}
