import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { TaskSummary } from '../../../client/client.js';
import { Badge } from '../../kit/badge.js';
import { now, zoneLabel } from '../../kit/clock.js';
import { duration, percent, plural, whole } from '../../kit/formats.js';
import { Failure, Skeleton } from '../../kit/states.js';
import { Time } from '../../kit/time.js';
import { isFiltered, noFilter, type Sort } from '../../state/address.js';
import { bootstrap, may } from '../../state/bootstrap.js';
import { ChangeLink } from '../../state/links.js';
import { filterBy, pagesBefore, show, view } from '../../state/view.js';
import {
  listError,
  loading,
  loadList,
  nextPage,
  pageBefore,
  showUnseenRows,
  type TableRow,
  table,
  unseenRows,
} from './list.js';
import { matches } from './matches.js';
import { selected, toggle, toggleAll } from './selection.js';

/** Seconds an attempt has run so far, or ran. */
export function ranFor(task: TaskSummary): number | null {
  if (task.status === 'running' && task.startedAt)
    return (now.value - Date.parse(task.startedAt)) / 1000;
  return task.duration;
}

const order = (): string[] => (table.peek()?.rows ?? []).map(({ id }) => id);

function Ran({ task }: { task: TaskSummary }) {
  if (task.status !== 'running') return <>{duration(task.duration)}</>;
  return (
    <>
      {duration(ranFor(task))}
      {task.progress !== null && ` · ${percent(task.progress)}`}
    </>
  );
}

function What({ task }: { task: TaskSummary }) {
  if (task.error) return <>{`${task.error.name}: ${task.error.message}`}</>;
  return <>{task.progressText}</>;
}

function Row({ row, choosable }: { row: TableRow; choosable: boolean }) {
  const task = row.task.value;
  const removed = row.removed.value;
  const chosen = selected.value.has(task.id);
  const stays = !removed && matches(task, view.value, now.peek());
  const onClick = (event: MouseEvent): void => {
    const target = event.target as Element;
    // A whole row is easy to hit; a text that is being selected in it is not meant.
    if (target.closest('a, button, input, label') || getSelection()?.isCollapsed === false) return;
    show({ task: task.id, tab: 'summary', attempt: undefined });
  };
  return (
    <tr
      class={`${view.value.task === task.id ? 'open ' : ''}${stays ? '' : 'gone'}`}
      data-task={task.id}
      onClick={onClick}
      title={
        removed ? 'Removed from the history' : stays ? undefined : 'No longer matches the filters'
      }
    >
      {choosable && (
        <td class="choose">
          <input
            type="checkbox"
            aria-label={`Select ${task.name} ${task.id.slice(-4)}`}
            checked={chosen}
            disabled={removed}
            onClick={(event) => {
              toggle(task.id, order(), event.shiftKey);
              event.currentTarget.checked = selected.peek().has(task.id);
            }}
          />
        </td>
      )}
      <td class="state">
        <Badge task={task} />
      </td>
      <th scope="row">
        <ChangeLink change={{ task: task.id, tab: 'summary', attempt: undefined }}>
          {task.name}
        </ChangeLink>
        {task.source === 'scheduled' && <span class="pill">scheduled</span>}
      </th>
      <td data-label="Queue">{task.queue}</td>
      <td data-label="Tags" class="tags">
        {Object.entries(task.tags)
          .map(([key, value]) => `${key}:${value}`)
          .join(' ')}
      </td>
      <td data-label="Created">
        <Time at={task.createdAt} />
      </td>
      <td data-label="Started">
        {task.startedAt ? (
          <Time at={task.startedAt} />
        ) : (
          task.status === 'pending' && isLater(task) && <Time at={task.runAt} form="relative" />
        )}
      </td>
      <td data-label="Duration">
        <Ran task={task} />
      </td>
      <td data-label="Try">{task.attempt > 0 && `${task.attempt}/${task.maxAttempts}`}</td>
      <td class={`error-or-progress ${task.error ? 'failed' : ''}`} title={task.error?.message}>
        <What task={task} />
      </td>
    </tr>
  );
}

const isLater = ({ runAt }: TaskSummary): boolean => Date.parse(runAt) > now.value;

/** Columns with what each is sorted by; times and lengths begin with the largest. */
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

/** The sort after a press on the head of its column. */
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

function HeadRow({ choosable }: { choosable: boolean }) {
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

const firstTask = `const hello = tasks.task('hello', async (name: string) => name.length);
await tasks.start();
await hello.enqueue('world');`;

function Empty() {
  const shown = view.value;
  if (!isFiltered(shown) && shown.cursor === undefined) {
    return (
      <div class="empty">
        <p>No task has been enqueued yet. Three lines make the first one:</p>
        <pre tabIndex={0}>{firstTask}</pre>
      </div>
    );
  }
  const names = (Object.keys(noFilter) as (keyof typeof noFilter)[]).filter(
    (name) => shown[name]?.length,
  );
  return (
    <div class="empty">
      <p>No task matches these filters.</p>
      <div class="actions">
        {names.map((name) => (
          <button key={name} type="button" onClick={() => filterBy({ [name]: noFilter[name] })}>
            Clear {filterWords[name]}
          </button>
        ))}
        {names.length > 1 && (
          <button type="button" onClick={() => filterBy(noFilter)}>
            Clear all
          </button>
        )}
        {shown.from !== undefined && shown.from !== '-7d' && (
          <button type="button" onClick={() => filterBy({ from: '-7d', to: undefined })}>
            Widen to 7 days
          </button>
        )}
      </div>
    </div>
  );
}

/** The name of each filter in the interface. */
export const filterWords: Record<keyof typeof noFilter, string> = {
  status: 'state',
  name: 'function',
  queue: 'queue',
  tag: 'tag',
  fingerprint: 'failure group',
  schedule: 'schedule',
  q: 'search',
  from: 'from',
  to: 'until',
};

function UnseenRows() {
  const n = unseenRows.value.size;
  // Its place takes no room, so that nothing moves when it comes.
  if (n === 0) return <div class="unseen-rows-place" />;
  return (
    <div class="unseen-rows-place">
      <button
        type="button"
        class="unseen-rows"
        onClick={() => {
          showUnseenRows();
          document.querySelector('.list-top')?.scrollIntoView({ block: 'start' });
        }}
      >
        {whole(n)} new ↑
      </button>
    </div>
  );
}

function Pages() {
  const more = table.value?.nextCursor ?? null;
  const { cursor } = view.value;
  return (
    <nav class="pages" aria-label="Pages">
      {cursor !== undefined && pagesBefore.value.length > 1 && (
        <button type="button" onClick={() => show({ cursor: undefined }, { before: [] })}>
          ⇤ first
        </button>
      )}
      {cursor !== undefined && (
        <button type="button" onClick={pageBefore}>
          ‹ newer
        </button>
      )}
      {more !== null && (
        <button type="button" onClick={nextPage}>
          older ›
        </button>
      )}
    </nav>
  );
}

/**
 * How many tasks are shown, and of how many. It is the caption of the table and is announced when
 * it changes.
 */
export function amount(): string {
  const { rows, total, totalRelation } = table.value ?? { rows: [], total: 0, totalRelation: 'eq' };
  return (
    `${whole(rows.length)} of ` +
    `${totalRelation === 'gte' ? 'more than ' : ''}${plural(total, 'task')}`
  );
}

/**
 * Says that the list covers the newest tasks only, unless each task that it can have on this page
 * is there.
 */
function Coverage() {
  const { limited, searched = 0, nextCursor } = table.value ?? { nextCursor: null };
  const { status, sort, name, tag, fingerprint, schedule, q, from, to } = view.value;
  const isSearch = [name, fingerprint, schedule, q, from, to, tag[0]].some(
    (condition) => condition !== undefined,
  );
  if (!limited || (!isSearch && sort === '-createdAt' && nextCursor !== null)) return null;
  const [state, ...others] = status;
  const hasMore =
    !isSearch &&
    others.length === 0 &&
    state !== undefined &&
    state !== 'pending' &&
    state !== 'running';
  return (
    <p class="coverage">
      This list covers only the newest {plural(searched, 'task')}. Older tasks are not included.
      {hasMore && (
        <>
          {' '}
          <ChangeLink change={{ sort: '-endedAt', cursor: undefined }}>Sort by end time</ChangeLink>{' '}
          to include them.
        </>
      )}
    </p>
  );
}

/** Height of a row and of what is above the first one, in pixels. */
const heights = { row: 41, above: { overview: 1000, tasks: 180 } };
/**
 * Rows that are drawn at once, as many as the window may show and some: the others follow when
 * these are seen.
 */
const rowsOfFirstPaint = (): number =>
  Math.max(
    4,
    Math.ceil(
      (innerHeight - heights.above[view.peek().view === 'tasks' ? 'tasks' : 'overview']) /
        heights.row,
    ),
  );
const wasSeen = signal(false);

/**
 * Milliseconds for the browser to bring to the screen what it has painted: more work at once would
 * hold that up.
 */
const toScreen = 60;

function afterPaint(then: () => void): void {
  requestAnimationFrame(() => void setTimeout(then, toScreen));
}

/** The list of tasks. */
export function TaskTable() {
  const loadedPage = table.value;
  const choosable = bootstrap.mayAct && (may('retry') || may('cancel') || may('delete'));
  const error = listError.value;
  const rows = wasSeen.value ? loadedPage?.rows : loadedPage?.rows.slice(0, rowsOfFirstPaint());
  // Busy until every row that the address asks for is on the page.
  const complete =
    error !== undefined || (rows !== undefined && rows.length === loadedPage?.rows.length);
  useEffect(() => {
    if (rows) afterPaint(() => (wasSeen.value = true));
  }, [rows === undefined]);
  return (
    <div class="list-top" aria-busy={loading.value || !complete}>
      <UnseenRows />
      {error !== undefined && (
        <Failure error={error} what="The tasks" again={() => void loadList()} />
      )}
      <Coverage />
      {!rows ? (
        error === undefined && <Skeleton rows={12} />
      ) : rows.length === 0 ? (
        <Empty />
      ) : (
        <table class={`tasks ${loading.value ? 'loading' : ''}`}>
          <caption>{amount()}</caption>
          <thead>
            <HeadRow choosable={choosable} />
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={row.elements} row={row} choosable={choosable} />
            ))}
          </tbody>
        </table>
      )}
      <Pages />
    </div>
  );
}
