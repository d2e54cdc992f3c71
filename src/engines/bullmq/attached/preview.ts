import type { CommandResult } from '../../../tasks/commands.js';
import type { TasksCommand } from '../../bulk.js';
import { ofScheduler, partsOf } from '../jobs/job-ids.js';
import type { QueueReads } from '../queues/queue-reads.js';
import type { Rejection } from '../queues/read-scripts.js';

/** Maximum number of jobs per script call. */
const atOnce = 200;

const details: Partial<Record<Rejection, string>> = {
  scheduler: ofScheduler,
  locked: 'A worker is running this job or one of its children.',
};

/** Rejects in a preview what BullMQ would reject, so that previews, counts and commands agree. */
export async function withRejections(
  queues: ReadonlyMap<string, QueueReads>,
  action: TasksCommand['action'],
  results: readonly CommandResult[],
): Promise<CommandResult[]> {
  const found = new Map<string, Rejection>();
  for (const [queue, reads] of queues) {
    const ids = results.flatMap(({ id, ok }) =>
      ok && partsOf(id).queue === queue ? [partsOf(id).jobId] : [],
    );
    for (let from = 0; from < ids.length; from += atOnce) {
      const some = ids.slice(from, from + atOnce);
      for (const [n, rejection] of (await reads.rejections(action, some)).entries())
        found.set(`${queue}:${some[n]}`, rejection);
    }
  }
  return results.map((result) =>
    result.ok ? refused(result, action, found.get(result.id) ?? 'gone') : result,
  );
}

function refused(
  result: Extract<CommandResult, { ok: true }>,
  action: TasksCommand['action'],
  rejection: Rejection,
): CommandResult {
  const { id, task } = result;
  // A job that BullMQ has removed is still in lists. A deletion only has to drop it from the lists.
  if (rejection === '' || (rejection === 'gone' && action === 'delete')) return result;
  if (rejection === 'gone') return { id, ok: false, code: 'TASK_NOT_FOUND' };
  const detail = details[rejection];
  return {
    id,
    ok: false,
    code: 'TASK_STATE_CONFLICT',
    status: task.status,
    ...(detail && { detail }),
  };
}
