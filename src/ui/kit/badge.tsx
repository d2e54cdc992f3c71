import type { TaskSummary } from '../../client/client.js';
import { symbols } from './statuses.js';

/** The state of a task: symbol, word and colour. */
export function Badge({ task }: { task: Pick<TaskSummary, 'status' | 'engineState'> }) {
  return (
    <span class={`badge ${task.status}`} data-sign={symbols[task.status]}>
      {task.engineState ?? task.status}
    </span>
  );
}
