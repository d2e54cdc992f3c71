import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { plural, whole } from '../../kit/formats.js';
import { Failure, Skeleton } from '../../kit/states.js';
import { bootstrap, may } from '../../state/bootstrap.js';
import { ChangeLink } from '../../state/links.js';
import { pagesBefore, show, view } from '../../state/view.js';
import { Empty } from './empty.js';
import { HeadRow } from './head.js';
import {
  listError,
  loading,
  loadList,
  nextPage,
  pageBefore,
  showUnseenRows,
  table,
  unseenRows,
} from './list.js';
import { Row } from './row.js';

function UnseenRows() {
  const n = unseenRows.value.size;
  // The placeholder takes no room, so that nothing moves when the button appears.
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
 * Returns how many tasks are shown, and of how many. The text is the caption of the table and is
 * announced when it changes.
 */
export function amount(): string {
  const { rows, total, totalRelation } = table.value ?? { rows: [], total: 0, totalRelation: 'eq' };
  return (
    `${whole(rows.length)} of ` +
    `${totalRelation === 'gte' ? 'more than ' : ''}${plural(total, 'task')}`
  );
}

/** Explains that the list covers only the newest tasks. Shows nothing if this page is complete. */
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
          To include them,{' '}
          <ChangeLink change={{ sort: '-endedAt', cursor: undefined }}>sort by end time</ChangeLink>
          .
        </>
      )}
    </p>
  );
}

/** Heights of a row and of the area above the first row, in pixels. */
const heights = { row: 41, above: { overview: 1000, tasks: 180 } };
/**
 * Number of rows in the first paint: about as many as fit into the window. The other rows follow
 * after it.
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
 * Milliseconds that the browser needs to show the first paint. More work at the same time would
 * delay it.
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
  // The list is busy until all its rows are on the page.
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
