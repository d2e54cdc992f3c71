import type { TaskSummary } from '../client/client.js';
import { Badge } from './badge.js';
import { duration, fullTime, time } from './format.js';
import { now } from './live.js';
import { functions, loading, matches, newer, showNewer, type TableRow, table } from './tasks.js';
import { show, view, viewQuery } from './view.js';

/** Seconds an attempt has run so far, or ran. */
export function ranFor(task: TaskSummary): number | null {
  if (task.status === 'running' && task.startedAt) return (now.value - Date.parse(task.startedAt)) / 1000;
  return task.duration;
}

function Row({ row }: { row: TableRow }) {
  const task = row.task.value;
  const open = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show({ task: task.id });
  };
  const gone = matches(task, view.value) ? '' : ' gone';
  return (
    <tr class={(view.value.task === task.id ? 'chosen' : '') + gone} data-task={task.id}>
      <td>
        <Badge task={task} />
      </td>
      <th scope="row">
        <a href={viewQuery({ ...view.value, task: task.id })} onClick={open}>
          {task.name}
        </a>
        {task.source === 'scheduled' && <span class="pill">scheduled</span>}
      </th>
      <td data-label="Queue">{task.queue}</td>
      <td data-label="Created">
        <time dateTime={task.createdAt} title={fullTime(task.createdAt)}>
          {time(task.createdAt, now.value)}
        </time>
      </td>
      <td data-label="Duration">{duration(ranFor(task))}</td>
      <td data-label="Try">
        {task.attempt}/{task.maxAttempts}
      </td>
      <td class="error-text" title={task.error?.message}>
        {task.error && `${task.error.name}: ${task.error.message}`}
      </td>
    </tr>
  );
}

export function Filters() {
  const { name, status } = view.value;
  const names = name !== undefined && !functions.value.includes(name) ? [name, ...functions.value] : functions.value;
  return (
    <div class="filters">
      <label>
        Function
        <select value={name ?? ''} onChange={(event) => show({ name: event.currentTarget.value || undefined, cursor: undefined })}>
          <option value="">all functions</option>
          {names.map((each) => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      </label>
      {(name !== undefined || status.length > 0) && (
        <button type="button" class="quiet" onClick={() => show({ name: undefined, status: [], cursor: undefined })}>
          Clear filters
        </button>
      )}
      {newer.value.length > 0 && (
        <button
          type="button"
          class="news"
          onClick={() => {
            showNewer();
            window.scrollTo({ top: 0 });
          }}
        >
          {newer.value.length} new ↑
        </button>
      )}
    </div>
  );
}

function Empty() {
  const { name, status } = view.value;
  if (name === undefined && status.length === 0) {
    return (
      <div class="empty">
        <p>No task has been enqueued yet. Three lines make the first one:</p>
        <pre>
          {"const hello = tasks.task('hello', async (name: string) => name.length);\nawait tasks.start();\nawait hello.enqueue('world');"}
        </pre>
      </div>
    );
  }
  return <p class="empty">No task matches these filters.</p>;
}

export function TaskTable() {
  const loaded = table.value;
  if (!loaded) return <p class="empty">{loading.value ? 'Loading…' : ''}</p>;
  const { rows, total, totalRelation, nextCursor } = loaded;
  const amount = `${rows.length} of ${totalRelation === 'gte' ? 'more than ' : ''}${total.toLocaleString()} tasks`;
  return (
    <>
      {rows.length === 0 ? (
        <Empty />
      ) : (
        <table class={loading.value ? 'loading' : ''}>
          <caption>{amount}, newest first</caption>
          <thead>
            <tr>
              {['State', 'Function', 'Queue', 'Created', 'Duration', 'Try', 'Error'].map((head) => (
                <th key={head} scope="col">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={row.id} row={row} />
            ))}
          </tbody>
        </table>
      )}
      <nav class="pages" aria-label="Pages">
        {view.value.cursor !== undefined && (
          <button type="button" onClick={() => show({ cursor: undefined })}>
            ⇤ newest
          </button>
        )}
        {nextCursor !== null && (
          <button type="button" onClick={() => show({ cursor: nextCursor })}>
            older ›
          </button>
        )}
      </nav>
    </>
  );
}
