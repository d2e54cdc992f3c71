import type { TaskSummary } from '../../../client/client.js';
import { Badge } from '../../kit/badge.js';
import { now } from '../../kit/clock.js';
import { duration, percent } from '../../kit/formats.js';
import { Time } from '../../kit/time.js';
import { ChangeLink } from '../../state/links.js';
import { show, view } from '../../state/view.js';
import { type TableRow, table } from './list.js';
import { matches } from './matches.js';
import { selected, toggle } from './selection.js';

/** Returns for how many seconds the last attempt has run. */
export function ranFor(task: TaskSummary): number | null {
  if (task.status === 'running' && task.startedAt)
    return (now.value - Date.parse(task.startedAt)) / 1000;
  return task.duration;
}

/** Returns the ids of the rows in their order. */
export const order = (): string[] => (table.peek()?.rows ?? []).map(({ id }) => id);

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

/** A row of the task list. */
export function Row({ row, choosable }: { row: TableRow; choosable: boolean }) {
  const task = row.task.value;
  const removed = row.removed.value;
  const chosen = selected.value.has(task.id);
  const stays = !removed && matches(task, view.value, now.peek());
  const onClick = (event: MouseEvent): void => {
    const target = event.target as Element;
    // A click anywhere on the row opens the task, unless the user is selecting text.
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
