import { partlyDone, TaskflowError } from '../../../errors.js';
import type { CommandResult } from '../../../tasks/commands.js';
import type { NewTask } from '../../../tasks/new-task.js';
import { isEnded } from '../../../tasks/states.js';
import { newTaskId, timeOfTaskId } from '../../../tasks/task-id.js';
import type { Ask } from '../connection/redis-calls.js';
import type { JobRef } from '../jobs/job-ids.js';
import { pendingSummary, statusOf } from '../jobs/job-view.js';
import { notesOfJob, type TaskJob, taskPriority } from '../jobs/task-job.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { LocatedJob } from '../read/stored-jobs.js';
import type { JobSteps } from './job-steps.js';

/** Maximum number of tasks that are read and stored per step. */
const stepSize = 200;

interface RerunsDeps {
  steps: JobSteps;
  jobsOf(ids: readonly string[]): Promise<ReadonlyMap<string, LocatedJob>>;
  /** Returns the arguments of a job as JSON text. */
  argumentsOf(place: JobRef): Promise<string | null>;
  ask: Ask;
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
}

/** An ended task, and the new one that repeats it. */
interface Rerun {
  id: string;
  place: JobRef;
  task: NewTask;
}

/** Creates new tasks that repeat ended ones. */
export class Reruns {
  readonly #deps: RerunsDeps;

  constructor(deps: RerunsDeps) {
    this.#deps = deps;
  }

  async rerun({
    ids,
    args,
  }: {
    ids: readonly string[];
    args?: string | undefined;
  }): Promise<CommandResult[]> {
    const results: CommandResult[] = [];
    for (let from = 0; from < ids.length; from += stepSize) {
      try {
        results.push(...(await this.#step(ids.slice(from, from + stepSize), args)));
      } catch (error) {
        throw from > 0 ? partlyDone(error) : error;
      }
    }
    return results;
  }

  async #step(ids: readonly string[], args: string | undefined): Promise<CommandResult[]> {
    const { ask, enqueue, steps } = this.#deps;
    const prepared = await ask(() => this.#prepare(ids, args));
    const reruns = prepared.filter((each): each is Rerun => 'place' in each);
    await enqueue(reruns.map(({ task }) => task));
    // The new tasks are already stored. If Redis fails before the old tasks are linked to them,
    // the command still succeeds, so that the caller does not repeat it.
    const linked = ask(() =>
      Promise.all(reruns.map(({ place, task }) => steps.noteRerun(place, task.id))),
    );
    await linked.catch(unlessUnavailable);
    return prepared.map((each) => ('place' in each ? resultOf(each) : each));
  }

  async #prepare(
    ids: readonly string[],
    args: string | undefined,
  ): Promise<(Rerun | CommandResult)[]> {
    const found = await this.#deps.jobsOf(ids);
    return Promise.all(
      ids.map(async (id): Promise<Rerun | CommandResult> => {
        const place = found.get(id);
        if (!place) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const [{ state, job }, stored] = await Promise.all([
          this.#deps.steps.look(place),
          this.#deps.argumentsOf(place),
        ]);
        if (state === 'gone' || !job) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const status = statusOf(job, state);
        if (!isEnded(status)) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status };
        return { id, place, task: { ...copyOf(job, place, args ?? stored ?? '[]'), rerunOf: id } };
      }),
    );
  }
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
    ...{
      id,
      name: json.name,
      args,
      queue: label,
      priority: taskPriority(json.priority),
      tags,
      source: 'manual',
    },
    ...{ createdAt: timeOfTaskId(id), runAt: now, attempts, interrupts, concurrency },
    ...(deadline !== undefined && { deadlineAt: now + deadline - json.timestamp - delay }),
    ...(typeof backoff === 'object' && {
      retryDelay: { milliseconds: backoff.delay ?? 0, doubling: backoff.type === 'exponential' },
    }),
  };
}
