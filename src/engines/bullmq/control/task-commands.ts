import { setTimeout as wait } from 'node:timers/promises';
import type { Command, CommandBy, CommandResult, Outcome, TransitionObserver } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { type BulkParts, commandTasks, type TasksCommand } from '../../bulk.js';
import { allowedStates } from '../../embedded/bulk-parts.js';
import { memberOf } from '../change-notes.js';
import { type JobState, statusOf, summaryOf } from '../job-view.js';
import type { CatalogEntry } from '../queue-catalog.js';
import type { ReadModel } from '../read/read-model.js';
import { type Ask, commanding } from '../redis-calls.js';
import type { EndedTask } from '../statistics/statistics.js';
import type { JobPlace, JobSteps, StepAnswer } from './job-steps.js';
import type { Reruns } from './reruns.js';
import type { StoredTasks } from './stored-tasks.js';

interface TaskCommandsParts {
  steps: JobSteps;
  reruns: Reruns;
  /** The queues of some jobs. */
  queuesOf(ids: readonly string[]): Promise<ReadonlyMap<string, CatalogEntry>>;
  /** For filters that only the read model knows. */
  reader: ReadModel;
  /** For filters that BullMQ's sets know. */
  stored: StoredTasks;
  ask: Ask;
  observer(): TransitionObserver | undefined;
  /** Called for each task that a command ended. */
  ended(task: EndedTask): void;
  /** Called with running jobs that are to be cancelled, by their names; this process may run some of them. */
  cancelling(members: ReadonlySet<string>): void;
}

/** Milliseconds that a command waits until the read model has read what it can hold. */
const longestFill = 10_000;
/** Tasks that are read in one go. */
const readAtOnce = 200;

/** One command as it is done to each job. */
interface JobCommand {
  act(place: JobPlace, n: number): Promise<StepAnswer>;
  /** The state of a job afterwards; for a job that waits, any state that stands for `pending`. */
  after(before: JobState): JobState;
}

/** Commands to tasks, by id or by filter. */
export class TaskCommands {
  readonly #parts: TaskCommandsParts;

  constructor(parts: TaskCommandsParts) {
    this.#parts = parts;
  }

  async control(command: TasksCommand | Extract<Command, { action: 'rerun' }>, by: CommandBy): Promise<Outcome> {
    if (command.action === 'rerun') return { results: await this.#parts.reruns.rerun(command) };
    const outcome = await commandTasks(this.#bulkParts(by), command, by);
    if (!by.dryRun && command.action !== 'delete') this.#tell(outcome.results);
    return outcome;
  }

  #bulkParts(by: CommandBy): BulkParts {
    const { ask, reader, stored } = this.#parts;
    return {
      oldest: (filter, limit) => ask(() => stored.oldest(filter, limit)),
      find: async (query) => {
        // Only before the first page: what comes after it is a matter of moments.
        if (query.after === undefined) await Promise.race([reader.filled(), wait(longestFill, undefined, { ref: false })]);
        return ask(() => reader.find(query));
      },
      count: (filter) => ask(() => reader.count(filter)),
      summaries: (ids) => this.#summaries(ids),
      allowed: (action, status) => allowedStates[action](status),
      act: ({ action }, ids, delays) => ask((sending) => this.#act(this.#commandOf(action, by, delays), ids, sending), commanding),
    };
  }

  #commandOf(action: TasksCommand['action'], by: CommandBy, delays: readonly number[] | undefined): JobCommand {
    const { steps } = this.#parts;
    const at = Date.now();
    switch (action) {
      case 'cancel': {
        const who = JSON.stringify({ by: by.actor, at, reason: by.reason ?? null });
        return { act: (place) => steps.cancel(place, at, who), after: (before) => (before === 'active' ? before : 'failed') };
      }
      case 'retry':
        return { act: (place, n) => steps.retry(place, at, delays?.[n] ?? 0), after: () => 'waiting' };
      case 'run':
        return { act: (place) => this.#runNow(place, at), after: () => 'waiting' };
      case 'delete':
        return { act: (place) => steps.remove(place, at), after: (before) => before };
    }
  }

  /** A job that waits for its turn alone is due already. */
  async #runNow(place: JobPlace, at: number): Promise<StepAnswer> {
    const answer = await this.#parts.steps.run(place, at);
    return answer.state === 'waiting' || answer.state === 'prioritized' ? { ...answer, done: true } : answer;
  }

  /** Does the command to a few jobs, in two round trips. */
  async #act(command: JobCommand, ids: readonly string[], sending: () => void): Promise<CommandResult[]> {
    const at = Date.now();
    const entries = await this.#parts.queuesOf(ids);
    sending();
    const cancelling = new Set<string>();
    const results = await Promise.all(
      ids.map(async (id, n): Promise<CommandResult> => {
        const entry = entries.get(id);
        if (!entry) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const place = { queue: entry.queue, jobId: id };
        const { done, state, job } = await command.act(place, n);
        if (state === 'gone' || !job) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        if (!done) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status: statusOf(job, state) };
        const after = command.after(state);
        if (after === 'active') cancelling.add(memberOf(place));
        const status = statusOf(job, after);
        if (status === 'cancelled' && state !== after) this.#parts.ended({ id, name: job.json.name, queue: entry.label, status, at });
        return { id, ok: true, task: summaryOf(job, entry.label, status) };
      }),
    );
    if (cancelling.size > 0) this.#parts.cancelling(cancelling);
    return results;
  }

  async #summaries(ids: readonly string[]): Promise<TaskSummary[]> {
    const found: TaskSummary[] = [];
    for (let from = 0; from < ids.length; from += readAtOnce)
      found.push(...(await this.#parts.ask(() => this.#summariesOf(ids.slice(from, from + readAtOnce)))));
    return found;
  }

  async #summariesOf(ids: readonly string[]): Promise<TaskSummary[]> {
    const entries = await this.#parts.queuesOf(ids);
    const found = await Promise.all(
      [...entries].map(async ([id, { queue, label }]): Promise<TaskSummary[]> => {
        const { state, job } = await this.#parts.steps.look({ queue, jobId: id });
        return state === 'gone' || !job ? [] : [summaryOf(job, label, statusOf(job, state))];
      }),
    );
    return found.flat();
  }

  #tell(results: readonly CommandResult[]): void {
    const observer = this.#parts.observer();
    // A running task that is to be cancelled has made no transition yet.
    for (const result of results)
      if (result.ok && result.task.status !== 'running' && observer?.wants(result.task.status)) observer.tell(result.task);
  }
}
