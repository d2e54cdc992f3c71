import type { TaskSummary } from '../../client/client.js';
import { signs } from './statuses.js';

/** A task's state: sign, word and colour. */
export function Badge({ task }: { task: Pick<TaskSummary, 'status' | 'engineState'> }) {
  return (
    <span class={`badge ${task.status}`} data-sign={signs[task.status]}>
      {task.engineState ?? task.status}
    </span>
  );
}
