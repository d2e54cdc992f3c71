import { partlyDone, TaskflowError } from '../../../errors.js';
import type { Command, CommandResult } from '../../../tasks/commands.js';
import type { NewTask } from '../../../tasks/new-task.js';
import { isEnded } from '../../../tasks/states.js';
import { newTaskId, timeOfTaskId } from '../../../tasks/task-id.js';
import type { JobRef } from '../jobs/job-ids.js';
import { pendingSummary, statusOf } from '../jobs/job-view.js';
import { notesOfJob, type TaskJob, taskPriority } from '../jobs/task-job.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { CommandDeps } from './command-deps.js';
import { stepEach } from './each-job.js';
import type { StepAnswer } from './job-steps.js';

/** Maximum number of tasks that are read and stored per step. */
const stepSize = 200;

/** An ended task, and the new one that repeats it. */
interface Rerun {
  id: string;
  place: JobRef;
  task: NewTask;
}

/** Creates new tasks that repeat ended ones. */
export async function rerunTasks(
  deps: CommandDeps,
  { ids, args }: Extract<Command, { action: 'rerun' }>,
): Promise<CommandResult[]> {
  const results: CommandResult[] = [];
  for (let from = 0; from < ids.length; from += stepSize) {
    try {
      results.push(...(await rerunSome(deps, ids.slice(from, from + stepSize), args)));
    } catch (error) {
      throw from > 0 ? partlyDone(error) : error;
    }
  }
  return results;
}

async function rerunSome(
  deps: CommandDeps,
  ids: readonly string[],
  args: string | undefined,
): Promise<CommandResult[]> {
  const { ask, enqueue, steps } = deps;
  const prepared = await ask(() => prepare(deps, ids, args));
  const reruns = prepared.filter((each) => 'place' in each);
  await enqueue(reruns.map(({ task }) => task));
  // The new tasks are already stored. If Redis fails before the old tasks are linked to them,
  // the command still succeeds, so that the caller does not repeat it.
  const linked = ask(() =>
    Promise.all(reruns.map(({ place, task }) => steps.noteRerun(place, task.id))),
  );
  await linked.catch(unlessUnavailable);
  return prepared.map((each) => ('place' in each ? resultOf(each) : each));
}

function prepare(
  deps: CommandDeps,
  ids: readonly string[],
  args: string | undefined,
): Promise<(Rerun | CommandResult)[]> {
  const { redis, keys, steps } = deps;
  const look = async (place: JobRef): Promise<StepAnswer & { data: string | null }> => {
    const key = keys.ofQueue(place.queue, place.jobId);
    const [answer, data] = await Promise.all([steps.look(place, 'rerun'), redis.hget(key, 'data')]);
    return { ...answer, data };
  };
  return stepEach(deps, ids, look, ({ id, place, state, job, data }): Rerun | CommandResult => {
    const status = statusOf(job, state);
    if (!isEnded(status)) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status };
    return { id, place, task: { ...copyOf(job, place, args ?? data ?? '[]'), rerunOf: id } };
  });
}

function unlessUnavailable(error: unknown): void {
  if (!(error instanceof TaskflowError) || error.code !== 'ENGINE_UNAVAILABLE') throw error;
}

function resultOf({ id, task }: Rerun): CommandResult {
  return { id, ok: true, task: pendingSummary(task) };
}

/** Returns a new task like that of a job. Its deadline leaves as much time as that of the job. */
function copyOf(job: TaskJob, { label, concurrency }: CatalogEntry, args: string): NewTask {
  const { json } = job;
  const { attempts = 1, delay = 0, backoff } = json.opts ?? {};
  const { tags = {}, interrupts = 0, deadline } = notesOfJob(job);
  const id = newTaskId();
  const now = Date.now();
  return {
    id,
    name: json.name,
    args,
    queue: label,
    priority: taskPriority(json.priority),
    tags,
    source: 'manual',
    createdAt: timeOfTaskId(id),
    runAt: now,
    attempts,
    interrupts,
    concurrency,
    ...(deadline !== undefined && { deadlineAt: now + deadline - json.timestamp - delay }),
    ...(typeof backoff === 'object' && {
      retryDelay: { milliseconds: backoff.delay ?? 0, doubling: backoff.type === 'exponential' },
    }),
  };
}
