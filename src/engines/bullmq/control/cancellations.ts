import { hasCode } from '../connection/redis-errors.js';
import { storedObject } from '../connection/stored-object.js';
import { partsOf } from '../jobs/job-ids.js';
import { summaryOf } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import { entryOf } from '../read/source.js';
import type { CommandDeps } from './command-deps.js';
import type { StepAnswer } from './job-steps.js';

/**
 * Milliseconds that the process that runs a job has to cancel it. After that, any process checks
 * what became of the job.
 */
const reaction = 2000;

/**
 * Cancels the running jobs that are to be cancelled here. Resolves to whether requests are still
 * open that may soon have an effect.
 *
 * The command adds an entry to a hash. The process that runs the job finds the entry and cancels
 * the attempt, and its last step removes the entry. If the job ended in another way, its entry
 * remains, so each process that runs tasks removes such entries. If the job waits for its next
 * attempt by then, it is cancelled while it waits. If it waits for other jobs in its flow, its
 * entry stays until the job runs again or ends.
 */
export async function cancelRequested(deps: CommandDeps): Promise<boolean> {
  const entries = await deps.redis.hgetall(deps.keys.cancelling);
  const members = Object.keys(entries);
  if (members.length === 0) return false;
  deps.cancelHere(new Set(members));
  const now = Date.now();
  // The clock of the process that wrote an entry may be ahead by any time.
  const old = members.filter((member) => Math.abs(now - timeOf(entries[member])) > reaction);
  const open = await Promise.all(old.map((member) => settle(deps, member, entries[member] ?? '')));
  return old.length < members.length || open.includes(true);
}

/**
 * Removes an old request if it can have no more effect. Resolves to whether it may soon have one.
 */
async function settle(deps: CommandDeps, member: string, by: string): Promise<boolean> {
  const { redis, keys, steps } = deps;
  const place = partsOf(member);
  const forget = async (): Promise<false> => {
    await redis.hdel(keys.cancelling, member);
    return false;
  };
  if (place.queue === '') return forget();
  let state: StepAnswer['state'];
  try {
    ({ state } = await steps.forgetCancel(place));
  } catch (error) {
    // Another program stores something other than a job under this name.
    if (hasCode(error, 'WRONGTYPE')) return forget();
    throw error;
  }
  if (state !== 'waiting' && state !== 'prioritized' && state !== 'delayed')
    return state === 'active';
  const { done, state: before, job } = await steps.cancel(place, Date.now(), by);
  if (done && job && before !== 'active') cancelled(deps, place.queue, job);
  return before === 'active';
}

/** Reports that a waiting job was cancelled. */
function cancelled({ catalog, ended, observer }: CommandDeps, queue: string, job: TaskJob): void {
  const task = summaryOf(job, entryOf(catalog, queue), 'cancelled');
  ended({ ...task, at: Date.now() });
  if (observer()?.wants(task.status)) observer()?.tell(task);
}

/** Returns when an entry was written, or 0 if it has no time. */
function timeOf(entry: string | undefined): number {
  const { at } = storedObject(entry);
  return typeof at === 'number' ? at : 0;
}
