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
          To include them,{' '}
          <ChangeLink change={{ sort: '-endedAt', cursor: undefined }}>sort by end time</ChangeLink>
          .
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
