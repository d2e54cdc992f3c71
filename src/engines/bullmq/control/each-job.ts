import type { CommandResult } from '../../../tasks/commands.js';
import { allSteps } from '../connection/redis-calls.js';
import type { JobRef } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import { findJobs, type LocatedJob } from '../read/stored-jobs.js';
import type { CommandDeps } from './command-deps.js';
import type { StepAnswer } from './job-steps.js';

/** The job of a task, as a step has found it. */
export interface SteppedJob extends StepAnswer {
  id: string;
  place: LocatedJob;
  state: JobState;
  job: TaskJob;
}

/**
 * Runs a step on the jobs of some tasks, and returns what `use` makes of each. A task whose job
 * does not exist is not found.
 */
export async function stepEach<A extends StepAnswer, T>(
  deps: CommandDeps,
  ids: readonly string[],
  step: (place: JobRef, n: number) => Promise<A>,
  use: (stepped: A & SteppedJob) => T,
): Promise<(T | CommandResult)[]> {
  const places = await findJobs(deps, ids);
  return allSteps(
    ids.map(async (id, n): Promise<T | CommandResult> => {
      const place = places.get(id);
      const answer = place && (await step(place, n));
      if (!answer || answer.state === 'gone' || !answer.job)
        return { id, ok: false, code: 'TASK_NOT_FOUND' };
      const { state, job } = answer;
      return use({ ...answer, id, place, state, job });
    }),
  );
}
