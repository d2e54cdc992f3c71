import type { TaskFilter, TaskPage, TaskQuery } from '../../tasks/engine.js';
import { type Pulse, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import { successRate } from '../figures.js';
import type { Follower } from './follower.js';
import { keyOf, partsOf } from './job-ids.js';
import { isJobState, toMirrored } from './jobs.js';
import type { JobMirror } from './mirror.js';

/** States of which the mirror may hold only the newest tasks. */
const endedStates = ['success', 'failed'] as const;
/** Jobs that are read at once. */
const stepSize = 200;

/**
 * Lists and counts of attached queues: those of the mirror, with what Redis has beyond it. An older job is read when it is asked
 * for by its id.
 */
export class AttachedLists {
  readonly #mirror: JobMirror;
  readonly #followers: ReadonlyMap<string, Follower>;

  constructor(mirror: JobMirror, followers: ReadonlyMap<string, Follower>) {
    this.#mirror = mirror;
    this.#followers = followers;
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    const { text } = query;
    if (text !== undefined && query.after === undefined) {
      const named = (await this.#byId(text)).filter((task) => isWanted(task, query));
      if (named.length > 0) return { items: named, next: null, total: named.length, totalRelation: 'eq' };
    }
    const page = this.#mirror.find(query);
    const beyond = this.#beyond(query);
    if (beyond === 0) return page;
    const limits = { ...page, limited: true as const, searched: this.#mirror.count({}).n };
    // Other conditions may match some of the jobs that are not here.
    return isCounted(query) && query.counted !== false ? { ...limits, total: page.total + beyond } : { ...limits, totalRelation: 'gte' };
  }

  count(filter: TaskFilter): { n: number; more: boolean; limited?: boolean } {
    const counted = this.#mirror.count(filter);
    return this.#beyond(filter) === 0 ? counted : { ...counted, more: true, limited: true };
  }

  /** Brings jobs that are older than the mirror into it. */
  async load(keys: readonly string[]): Promise<void> {
    const known = new Set(this.#mirror.summaries(keys).map(({ id }) => id));
    const missing = keys.filter((key) => !known.has(key));
    for (const [queue, { reads, beyond }] of this.#followers) {
      const ids = missing.map(partsOf).flatMap((parts) => (parts.queue === queue && parts.jobId !== '' ? [parts.jobId] : []));
      for (let from = 0; from < ids.length; from += stepSize) {
        const some = ids.slice(from, from + stepSize);
        const jobs = await reads.jobs(some);
        for (const [n, id] of some.entries()) {
          const job = jobs[n];
          const state = job && (await reads.queue.getJobState(id));
          // An event may have brought it in meanwhile, in a later state.
          if (!job || !isJobState(state) || this.#mirror.summary(keyOf(queue, id))) continue;
          const task = toMirrored(queue, job, state);
          await this.#mirror.put([task]);
          if (task.status === 'success' || task.status === 'failed') beyond[task.status] = Math.max(0, beyond[task.status] - 1);
        }
      }
    }
  }

  async pulse(): Promise<Pulse> {
    const pulse = await this.#mirror.aggregate('pulse', []);
    const counts = { ...pulse.counts };
    for (const state of endedStates) counts[state] += this.#beyond({ status: [state] });
    return { ...pulse, counts, successRate: successRate(counts) };
  }

  /** A text that is the id of a job, with its queue or without. */
  async #byId(text: string): Promise<TaskSummary[]> {
    const keys = [text, ...[...this.#followers.keys()].map((queue) => keyOf(queue, text))];
    await this.load(keys);
    return this.#mirror.summaries(keys);
  }

  /** How many tasks of these queues and states Redis has that are not in the mirror. */
  #beyond({ queue, status = taskStatuses }: TaskFilter): number {
    let sum = 0;
    for (const [name, { beyond }] of this.#followers)
      if (queue === undefined || queue === name) for (const state of endedStates) if (status.includes(state)) sum += beyond[state];
    return sum;
  }
}

/** Whether a filter has no other conditions than those by which BullMQ keeps jobs apart. */
function isCounted({ name, tags, fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && (tags ?? []).length === 0;
}

/** Whether a job that was found by its id is one of those that are asked for. */
function isWanted({ status, name, queue, createdAt }: TaskSummary, query: TaskQuery): boolean {
  const at = Date.parse(createdAt);
  return (
    (query.status === undefined || query.status.includes(status)) &&
    (query.name === undefined || query.name === name) &&
    (query.queue === undefined || query.queue === queue) &&
    at >= (query.from ?? 0) &&
    at < (query.to ?? Number.POSITIVE_INFINITY) &&
    (query.tags ?? []).length === 0
  );
}
