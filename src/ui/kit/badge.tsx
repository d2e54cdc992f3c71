import type { TaskSummary } from '../../client/client.js';
import { symbols } from './statuses.js';

/** Shows the state of a task with a symbol, a word and a colour. */
export function Badge({ task }: { task: Pick<TaskSummary, 'status' | 'engineState'> }) {
  return (
    <span class={`badge ${task.status}`} data-sign={symbols[task.status]}>
      {task.engineState ?? task.status}
    </span>
  );
}
