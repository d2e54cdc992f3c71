import type { CommandResult } from '../../../tasks/engine.js';
import type { TasksCommand } from '../../bulk.js';
import { ofScheduler, partsOf } from '../jobs/job-ids.js';
import type { QueueReads } from '../queues/queue-reads.js';

/**
 * Returns why BullMQ would reject an action on each of some jobs. KEYS: the key prefix of the
 * queue. ARGV: the action, then the ids of the jobs. The answer for a job is one of these:
 * - empty: BullMQ would not reject it
 * - `gone`: the job does not exist
 * - `scheduler`: it is the next run of a job scheduler
 * - `locked`: a worker runs it or one of its children
 * - `state`: its state does not allow the action
 */
export const rejectionsScript = `
local base, action, answer = KEYS[1], ARGV[1], {}
local function isLocked(key)
  if redis.call('EXISTS', key .. ':lock') == 1 then return true end
  for _, child in ipairs(redis.call('SMEMBERS', key .. ':dependencies')) do
    if isLocked(child) then return true end
  end
  return false
end
local function rejectionOf(id)
  local key = base .. id
  -- An id may be the name of one of BullMQ's own keys, which is not a job.
  local name = redis.pcall('HGET', key, 'name')
  if not name or type(name) == 'table' then return 'gone' end
  if action == 'retry' then return redis.call('ZSCORE', base .. 'failed', id) and '' or 'state' end
  if action == 'run' then return redis.call('ZSCORE', base .. 'waiting-children', id) and 'state' or '' end
  local scheduler = redis.call('HGET', key, 'rjk')
  local next = scheduler and redis.call('ZSCORE', base .. 'repeat', scheduler)
  if next and id == 'repeat:' .. scheduler .. ':' .. next then return 'scheduler' end
  return isLocked(key) and 'locked' or ''
end
for n = 2, #ARGV do answer[#answer + 1] = rejectionOf(ARGV[n]) end
return answer
`;

/** What {@link rejectionsScript} answers for a job. */
export type Rejection = '' | 'gone' | 'scheduler' | 'locked' | 'state';

/** Maximum number of jobs per script call. */
const atOnce = 200;

const details: Partial<Record<Rejection, string>> = {
  scheduler: ofScheduler,
  locked: 'A worker runs it, or a child of it.',
};

/** Rejects in a preview what BullMQ would reject, so that previews, counts and commands agree. */
export async function withRejections(
  queues: ReadonlyMap<string, QueueReads>,
  action: TasksCommand['action'],
  results: readonly CommandResult[],
): Promise<CommandResult[]> {
  const found = new Map<string, Rejection>();
  for (const [queue, reads] of queues) {
    const ids = results.flatMap(({ id, ok }) => (ok && partsOf(id).queue === queue ? [partsOf(id).jobId] : []));
    for (let from = 0; from < ids.length; from += atOnce) {
      const some = ids.slice(from, from + atOnce);
      for (const [n, rejection] of (await reads.rejections(action, some)).entries()) found.set(`${queue}:${some[n]}`, rejection);
    }
  }
  return results.map((result) => (result.ok ? refused(result, action, found.get(result.id) ?? 'gone') : result));
}

function refused(result: Extract<CommandResult, { ok: true }>, action: TasksCommand['action'], rejection: Rejection): CommandResult {
  const { id, task } = result;
  // A job that BullMQ has removed is still in lists. A deletion only has to drop it from the lists.
  if (rejection === '' || (rejection === 'gone' && action === 'delete')) return result;
  if (rejection === 'gone') return { id, ok: false, code: 'TASK_NOT_FOUND' };
  const detail = details[rejection];
  return { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status, ...(detail && { detail }) };
}
