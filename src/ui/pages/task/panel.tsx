import { useEffect, useRef } from 'preact/hooks';
import { canCancel, canRetry, ProblemError, type ShownTask } from '../../../client/client.js';
import { Badge } from '../../kit/badge.js';
import { now, timeZone } from '../../kit/clock.js';
import { copy } from '../../kit/copy.js';
import { fullTime, shortId } from '../../kit/formats.js';
import { Failure, Skeleton } from '../../kit/states.js';
import { type Tab, tabs } from '../../state/address.js';
import { client, may } from '../../state/bootstrap.js';
import { ChangeLink, FunctionLink } from '../../state/links.js';
import { panelWidth } from '../../state/preferences.js';
import { linkTo, show, view } from '../../state/view.js';
import { loadLazy } from '../load-lazy.js';
import { acting, cancelTask, retryTask, runTask } from '../task-list/actions.js';
import { table } from '../task-list/list.js';
import { Data } from './data.js';
import { Facts } from './facts-tab.js';
import { lineCount, openLog } from './log.js';
import { Logs } from './logs.js';
import { openError, opened, reloadTask, removedAt } from './opened.js';
import { Summary } from './summary.js';
import { toggleWatch, watched } from './watched.js';

/** Closes the panel, and moves the focus to the row of the task or to the first row. */
export function closePanel(): void {
  const id = view.peek().task ?? '';
  show({ task: undefined, tab: 'summary', attempt: undefined });
  requestAnimationFrame(() => {
    const row =
      document.querySelector<HTMLElement>(`tr[data-task="${CSS.escape(id)}"] a`) ??
      document.querySelector<HTMLElement>('tr[data-task] a');
    row?.focus();
  });
}

/** Opens the task of the next or previous row. */
export function step(by: 1 | -1): void {
  const rows = table.peek()?.rows ?? [];
  const at = rows.findIndex(({ id }) => id === view.peek().task);
  const next = rows[at + by];
  if (at >= 0 && next) show({ task: next.id, attempt: undefined }, { replace: true });
}

function Actions({ task }: { task: ShownTask }) {
  const busy = acting.value.has(task.id);
  const cancelling = task.engineState === 'cancelling';
  return (
    <div class="actions">
      {may('retry') && canRetry(task.status) && (
        <button type="button" class="primary" disabled={busy} onClick={() => void retryTask(task)}>
          {busy ? 'Retrying…' : 'Retry'}
        </button>
      )}
      {may('run') && task.status === 'pending' && Date.parse(task.runAt) > now.value && (
        <button type="button" disabled={busy} onClick={() => void runTask(task)}>
          Run now
        </button>
      )}
      {may('cancel') && canCancel(task.status) && (
        <button type="button" disabled={busy || cancelling} onClick={() => void cancelTask(task)}>
          {busy || cancelling ? 'Cancelling…' : 'Cancel'}
        </button>
      )}
      {may('rerun') && task.endedAt !== null && (
        <button
          type="button"
          onClick={() => void loadLazy().then((loaded) => loaded?.rerunTask(task))}
        >
          Edit & retry…
        </button>
      )}
      {task.endedAt === null && (
        <button
          type="button"
          aria-pressed={watched.value.has(task.id)}
          onClick={() => void toggleWatch(task)}
        >
          {watched.value.has(task.id) ? 'Watched' : 'Watch'}
        </button>
      )}
      <button type="button" class="quiet" onClick={() => copy(task.id, 'Id')}>
        Copy id
      </button>
      <button
        type="button"
        class="quiet"
        onClick={() => copy(location.origin + linkTo({}), 'Link')}
      >
        Copy link
      </button>
      <a
        class="button quiet"
        href={client.url(`/${encodeURIComponent(task.id)}`)}
        target="_blank"
        rel="noreferrer"
      >
        JSON
      </a>
    </div>
  );
}

const tabNames: Record<Tab, string> = {
  summary: 'Summary',
  logs: 'Logs',
  data: 'Data',
  facts: 'Facts',
};

function Tabs() {
  const { tab } = view.value;
  const choose = (next: Tab): void => {
    show({ tab: next }, { replace: true });
    requestAnimationFrame(() => document.getElementById(`tab-${next}`)?.focus());
  };
  const onKey = (event: KeyboardEvent): void => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const next = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
    if (by === 0 || !next) return;
    event.preventDefault();
    choose(next);
  };
  return (
    <div class="tabs" role="tablist" aria-label="Parts of the task" onKeyDown={onKey}>
      {tabs.map((each) => (
        <button
          key={each}
          id={`tab-${each}`}
          type="button"
          role="tab"
          aria-selected={tab === each}
          aria-controls="tab-panel"
          tabIndex={tab === each ? 0 : -1}
          onClick={() => choose(each)}
        >
          {tabNames[each]}
          {each === 'logs' && lineCount.value > 0 && <span class="n">{lineCount.value}</span>}
        </button>
      ))}
    </div>
  );
}

function Content({ task }: { task: ShownTask }) {
  const { tab } = view.value;
  return (
    <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
      {tab === 'summary' && <Summary task={task} />}
      {tab === 'logs' && <Logs task={task} />}
      {tab === 'data' && <Data task={task} />}
      {tab === 'facts' && <Facts task={task} />}
    </div>
  );
}

/** The panel with the open task. */
export function Panel() {
  const { task: id } = view.value;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (id) heading.current?.focus();
  }, [id]);
  if (id === undefined) return null;
  const task = opened.value;
  const error = openError.value;
  const gone = error instanceof ProblemError && error.status === 404;
  return (
    <section class={`panel width-${panelWidth.value}`} aria-labelledby="panel-name">
      <div class="panel-head">
        <h2 id="panel-name" tabIndex={-1} ref={heading}>
          {task ? <FunctionLink name={task.name} /> : 'Task'} {task && <Badge task={task} />}
        </h2>
        <button
          type="button"
          class="quiet"
          aria-label="Task before"
          title="k"
          onClick={() => step(-1)}
        >
          ↑
        </button>
        <button
          type="button"
          class="quiet"
          aria-label="Task after"
          title="j"
          onClick={() => step(1)}
        >
          ↓
        </button>
        <button
          type="button"
          class="quiet wider"
          aria-label={panelWidth.value === 2 ? 'Narrower' : 'Wider'}
          onClick={() => (panelWidth.value = (panelWidth.value + 1) % 3)}
        >
          ⇔
        </button>
        <button type="button" class="quiet" aria-label="Close" title="Esc" onClick={closePanel}>
          ✕
        </button>
      </div>
      <p class="panel-id faint">
        <span class="mono" title={id}>
          {shortId(id)}
        </span>
        {task?.rerunOf && (
          <>
            {' '}
            rerun of{' '}
            <ChangeLink change={{ task: task.rerunOf }}>{shortId(task.rerunOf)}</ChangeLink>
          </>
        )}
        {task?.rerunAs && (
          <>
            {' '}
            retried as{' '}
            <ChangeLink change={{ task: task.rerunAs }}>{shortId(task.rerunAs)}</ChangeLink>
          </>
        )}
      </p>
      {removedAt.value !== undefined && (
        <p class="banner warn" role="status">
          Removed from the history at{' '}
          {fullTime(new Date(removedAt.value).toISOString(), timeZone.value)}. What was loaded stays
          here.
        </p>
      )}
      {error !== undefined &&
        (gone ? (
          <div class="empty">
            <p>
              <strong>There is no such task.</strong>
            </p>
            <p>It may have been removed from the history, or the link is incomplete.</p>
            <button type="button" onClick={closePanel}>
              Back to the list
            </button>
          </div>
        ) : (
          <Failure
            error={error}
            what="The task"
            again={() => {
              reloadTask();
              openLog(id, true);
            }}
          />
        ))}
      {task && (
        <>
          {removedAt.value === undefined && <Actions task={task} />}
          <Tabs />
          <Content task={task} />
        </>
      )}
      {!task && error === undefined && <Skeleton rows={8} />}
    </section>
  );
}
