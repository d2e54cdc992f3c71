import { setTimeout as wait } from 'node:timers/promises';
import type { Command, CommandBy, CommandResult, Outcome } from '../../../tasks/commands.js';
import type { TransitionObserver } from '../../../tasks/engine.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { allowedStates, type BulkDeps, commandTasks, type TasksCommand } from '../../bulk.js';
import { type Ask, commanding } from '../connection/redis-calls.js';
import { type JobRef, keyOf, ofScheduler } from '../jobs/job-ids.js';
import { type JobState, statusOf, summaryOf } from '../jobs/job-view.js';
import type { LocatedJob } from '../read/stored-jobs.js';
import type { WindowModel } from '../read/window-model.js';
import type { EndedTask } from '../statistics/statistics.js';
import type { Bond, JobSteps, StepAnswer } from './job-steps.js';
import type { Reruns } from './reruns.js';
import type { StoredTasks } from './stored-tasks.js';

interface TaskCommandsDeps {
  steps: JobSteps;
  reruns: Reruns;
  /** Finds the jobs of some tasks. */
  jobsOf(ids: readonly string[]): Promise<ReadonlyMap<string, LocatedJob>>;
  /** For filters that BullMQ's sets cannot answer. */
  reader(): Promise<WindowModel>;
  /** For filters that BullMQ's sets can answer. */
  stored: StoredTasks;
  ask: Ask;
  observer(): TransitionObserver | undefined;
  /** Called for each task that a command ended. */
  ended(task: EndedTask): void;
  /** Called with the names of running jobs to cancel. This process may run some of them. */
  cancelling(members: ReadonlySet<string>): void;
}

/** Maximum milliseconds that a command waits for the read model to be filled. */
const longestFill = 10_000;
/** Maximum number of tasks that are read per step. */
const readAtOnce = 200;

/** A command in the form that is applied to each job. */
interface JobCommand {
  act(place: JobRef, n: number): Promise<StepAnswer>;
  /** Returns the state of a job after the command. A waiting job may have any waiting state. */
  after(before: JobState): JobState;
}

/** Whether a step refuses the action because of what the job belongs to. */
function isForbidden(action: TasksCommand['action'], { state, bond }: StepAnswer): boolean {
  if (action === 'retry') return bond === 'duplicate' || bond === 'unfinished';
  if (action === 'run') return state === 'waiting-children';
  return action === 'delete' ? bond === 'scheduler' : state !== 'active' && bond !== undefined;
}

const ofFlow = 'This job is part of a BullMQ flow. The flow would wait for it forever.';
const bonds: Record<Bond, string> = {
  scheduler: ofScheduler,
  parent: ofFlow,
  children: ofFlow,
  duplicate: 'A newer task has the same idempotencyKey.',
  unfinished: 'A child of this job in its BullMQ flow has not succeeded. Retry the child first.',
};

function conflict(id: string, status: TaskStatus, bond?: Bond): CommandResult {
  return {
    id,
    ok: false,
    code: 'TASK_STATE_CONFLICT',
    status,
    ...(bond && { detail: bonds[bond] }),
  };
}

/**
 * Runs commands on tasks, by id or by filter. A filter is answered from BullMQ's sets
 * (`StoredTasks`) if they can answer it, and from the window of this process otherwise. `JobSteps`
 * then changes each job, and `Reruns` adds the job of a rerun. A running job is only marked: the
 * process that runs it, which `Cancellations` reaches, ends it.
 */
export class TaskCommands {
  readonly #deps: TaskCommandsDeps;

  constructor(deps: TaskCommandsDeps) {
    this.#deps = deps;
  }

  async control(
    command: TasksCommand | Extract<Command, { action: 'rerun' }>,
    by: CommandBy,
  ): Promise<Outcome> {
    if (command.action === 'rerun') return { results: await this.#deps.reruns.rerun(command) };
    const outcome = await commandTasks(this.#bulkDeps(by), command, by);
    if (!by.dryRun && command.action !== 'delete') this.#notify(outcome.results);
    return outcome;
  }

  #bulkDeps(by: CommandBy): BulkDeps {
    const { ask, reader, stored } = this.#deps;
    return {
      oldest: (filter, limit) => ask(() => stored.oldest(filter, limit)),
      find: async (query) => {
        // It waits only before the first page, because the next pages follow within moments.
        if (query.after === undefined)
          await Promise.race([
            reader().then((window) => window.filled()),
            wait(longestFill, undefined, { ref: false }),
          ]);
        return ask(async () => (await reader()).find(query));
      },
      count: (filter) => ask(async () => (await reader()).count(filter)),
      preview: (action, ids) => this.#preview(action, ids),
      allowed: (action, status) => allowedStates[action](status),
      act: ({ action }, ids, delays) =>
        ask((sending) => this.#act(this.#commandOf(action, by, delays), ids, sending), commanding),
    };
  }

  #commandOf(
    action: TasksCommand['action'],
    by: CommandBy,
    delays: readonly number[] | undefined,
  ): JobCommand {
    const { steps } = this.#deps;
    const at = Date.now();
    switch (action) {
      case 'cancel': {
        const who = JSON.stringify({ by: by.actor, at, reason: by.reason ?? null });
        return {
          act: (place) => steps.cancel(place, at, who),
          after: (before) => (before === 'active' ? before : 'failed'),
        };
      }
      case 'retry':
        return {
          act: (place, n) => steps.retry(place, at, delays?.[n] ?? 0),
          after: () => 'waiting',
        };
      case 'run':
        return { act: (place) => this.#runNow(place, at), after: () => 'waiting' };
      case 'delete':
        return { act: (place) => steps.remove(place), after: (before) => before };
    }
  }

  /** Ends the delay of a job. A job that waits only for its turn is already due. */
  async #runNow(place: JobRef, at: number): Promise<StepAnswer> {
    const answer = await this.#deps.steps.run(place, at);
    return answer.state === 'waiting' || answer.state === 'prioritized'
      ? { ...answer, done: true }
      : answer;
  }

  /** Applies a command to a few jobs, in two round trips. */
  async #act(
    command: JobCommand,
    ids: readonly string[],
    sending: () => void,
  ): Promise<CommandResult[]> {
    const at = Date.now();
    const found = await this.#deps.jobsOf(ids);
    sending();
    const cancelling = new Set<string>();
    const results = await Promise.all(
      ids.map(async (id, n): Promise<CommandResult> => {
        const place = found.get(id);
        if (!place) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const { done, state, job, bond } = await command.act(place, n);
        if (state === 'gone' || !job) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        if (!done) return conflict(id, statusOf(job, state), bond);
        const after = command.after(state);
        if (after === 'active') cancelling.add(keyOf(place.queue, place.jobId));
        const status = statusOf(job, after);
        if (status === 'cancelled' && state !== after)
          this.#deps.ended({ id, name: job.json.name, queue: place.label, status, at });
        return { id, ok: true, task: summaryOf(job, place, status) };
      }),
    );
    if (cancelling.size > 0) this.#deps.cancelling(cancelling);
    return results;
  }

  async #preview(action: TasksCommand['action'], ids: readonly string[]): Promise<CommandResult[]> {
    const results: CommandResult[] = [];
    for (let from = 0; from < ids.length; from += readAtOnce)
      results.push(
        ...(await this.#deps.ask(() =>
          this.#previewSome(action, ids.slice(from, from + readAtOnce)),
        )),
      );
    return results;
  }

  async #previewSome(
    action: TasksCommand['action'],
    ids: readonly string[],
  ): Promise<CommandResult[]> {
    const places = await this.#deps.jobsOf(ids);
    return Promise.all(
      ids.map(async (id): Promise<CommandResult> => {
        const place = places.get(id);
        const found = place && (await this.#deps.steps.look(place));
        if (!found || found.state === 'gone' || !found.job)
          return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const { state, job, bond } = found;
        const status = statusOf(job, state);
        if (!allowedStates[action](status)) return conflict(id, status);
        return isForbidden(action, found)
          ? conflict(id, status, bond)
          : { id, ok: true, task: summaryOf(job, place, status) };
      }),
    );
  }

  #notify(results: readonly CommandResult[]): void {
    const observer = this.#deps.observer();
    // A running task that is being cancelled has not changed its state yet.
    for (const result of results)
      if (result.ok && result.task.status !== 'running' && observer?.wants(result.task.status))
        observer.tell(result.task);
  }
}
