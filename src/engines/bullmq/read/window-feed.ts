import { type JobRef, keyOf } from '../jobs/job-ids.js';
import { isJobState, type JobState } from '../jobs/job-view.js';
import { type EndedGroup, type Group, groupOf } from './groups.js';
import { addHint, hintSince } from './job-hint.js';
import {
  findStates,
  type JobNote,
  type JobSource,
  type QueueCommand,
  type ReadJob,
} from './source.js';
import type { Window } from './window.js';
import type { WindowTask } from './window-rows.js';
import { type Naming, taskOf } from './window-task.js';

/** What a {@link WindowFeed} uses. */
interface FeedDeps extends Naming {
  source: JobSource;
  limits: WindowLimits;
  window: Window;
}

/** The parts of a read model. */
export interface ModelDeps extends FeedDeps {
  feed: WindowFeed;
}

/** The limits of a window: how many ended tasks in total, and how many waiting tasks. */
export interface WindowLimits {
  ended: number;
  pending: number;
  /**
   * How many of the newest ended tasks of each queue and group are read when the window is opened.
   * Default: as many as the window holds.
   */
  history?: number;
}

/** A job that changed and has not been read since. */
interface Noted extends JobNote {
  /** The number of notes since the last read. */
  changes: number;
}

/** Maximum number of jobs that are read per step. */
const stepSize = 250;
/** Limits per catch-up: reads of notes, and passes over jobs that change during the read. */
const most = { reads: 40, passes: 3 };

/**
 * Writes changed jobs to the window. All work is done in turns, one after the other. A job is read
 * after the note of its change, and new notes are read after the job, in the same pipeline. If one
 * of them is about the same job, the job is read again.
 */
export class WindowFeed {
  readonly #deps: FeedDeps;
  readonly #noted = new Map<string, Noted>();
  /** The groups of queues that may be incomplete, and since which end time they are complete. */
  readonly #partial = new Map<string, number>();
  /**
   * When the last task ended that was left out to stay within the limits, for groups of queues that
   * lose tasks in no other way.
   */
  readonly #leftOut = new Map<string, number>();
  #turn: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;
  /** Whether notes were lost, or may have been lost. */
  isStale = false;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /** Runs work after all turns that were requested before. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Brings the window up to date with every change that was made before the call. */
  catchUp(): Promise<void> {
    this.#next ??= this.inTurn(() => {
      this.#next = undefined;
      return this.apply();
    });
    return this.#next;
  }

  /** Reads the jobs that were noted. Call it only in a turn. */
  async apply(): Promise<void> {
    await this.#readNotes();
    let keys = [...this.#noted.keys()];
    for (let pass = 1; keys.length > 0 && pass <= most.passes; pass++) {
      for (let from = 0; from < keys.length; from += stepSize)
        await this.#applySome(keys.slice(from, from + stepSize), pass === most.passes);
      keys = keys.filter((key) => this.#noted.has(key));
    }
    this.#deps.window.notify();
  }

  /** Sends commands and records the notes that are new after them. Returns the answers. */
  async ask(commands: readonly QueueCommand[]): Promise<unknown[]> {
    const { found, notes } = await this.#deps.source.ask(commands);
    this.note(notes);
    return found;
  }

  /** Reads jobs and records the notes that are new after them. */
  async #read(jobs: readonly JobNote[]): Promise<ReadJob[]> {
    const { found, notes } = await this.#deps.source.read(jobs);
    this.note(notes);
    return found;
  }

  async #readNotes(): Promise<void> {
    for (let reads = 0; reads < most.reads; reads++) {
      const { notes, more, missed } = await this.#deps.source.ask([]);
      this.note(notes);
      if (missed) this.isStale = true;
      if (!more) return;
    }
  }

  /** Records notes. The jobs are read later. */
  note(notes: readonly JobNote[]): void {
    for (const { queue, jobId, state, hint } of notes) {
      const key = keyOf(queue, jobId);
      const before = this.#noted.get(key);
      // The key is deleted first, so that the job that changed last is last in the map: watchers
      // get the changes in this order.
      this.#noted.delete(key);
      this.#noted.set(key, {
        queue,
        jobId,
        state: state === 'changed' ? (before?.state ?? state) : state,
        changes: (before?.changes ?? 0) + 1,
        hint: hint ? addHint(before?.hint, hint) : before?.hint,
      });
    }
  }

  /** Whether a job changed and has not been read since. */
  isNoted({ queue, jobId }: JobRef): boolean {
    return this.#noted.has(keyOf(queue, jobId));
  }

  /** Whether any job changed and has not been read since. */
  get hasNoted(): boolean {
    return this.#noted.size > 0;
  }

  async #applySome(keys: readonly string[], isLast: boolean): Promise<void> {
    const noted = keys.flatMap((key) => this.#noted.get(key) ?? []);
    await this.#knowQueues(noted);
    const found = await this.#read(await this.#withStates(noted));
    const certain = noted.flatMap((job, n) => {
      const read = found[n];
      const key = keyOf(job.queue, job.jobId);
      const now = this.#noted.get(key);
      if (!read || !(isLast || now === job)) return [];
      // A state that was read from BullMQ's sets is taken as it is.
      return [{ key, job, read, now, isOdd: job.state !== 'unknown' && isContradictory(read) }];
    });
    this.#deps.window.write(() => {
      for (const { job, read, isOdd } of certain) if (!isOdd) this.#put(read, job);
    });
    for (const { key, job, now, isOdd } of certain) {
      if (isOdd) this.#noted.set(key, { ...job, state: 'unknown' });
      else if (now === job) this.#noted.delete(key);
      else if (now) {
        const hint = now.hint && hintSince(job.hint, now.hint);
        this.#noted.set(key, { ...now, changes: now.changes - job.changes, hint });
      }
    }
    this.#leaveOut();
  }

  /** Refreshes the catalog if it lacks a queue of these jobs. Lists show the labels of queues. */
  async #knowQueues(jobs: readonly JobRef[]): Promise<void> {
    const { catalog } = this.#deps;
    if (jobs.some(({ queue }) => !catalog.get(queue))) await catalog.refresh();
  }

  /** Returns jobs with their states according to their notes, the window or BullMQ's sets. */
  async #withStates(jobs: readonly Noted[]): Promise<JobNote[]> {
    const { source, window, ids } = this.#deps;
    const groups = window.groupsOf(jobs.filter(({ state }) => state === 'changed'));
    const noted = jobs.map((job): JobNote => {
      if (job.state !== 'changed') return job;
      const group = groups.shift();
      const state = group && (ids.stateOf(job) ?? stateOfGroup[group]);
      return { ...job, state: (state as JobState | undefined) ?? 'unknown' };
    });
    const found = await findStates(
      source,
      noted.filter(({ state }) => state === 'unknown'),
    );
    return noted.map((job) => (job.state === 'unknown' ? (found.shift() ?? job) : job));
  }

  /** Writes a job to the window as it was read. */
  #put(read: ReadJob, noted: Noted): void {
    const { window, ids } = this.#deps;
    const row = ids.of(read);
    const task = taskOf(read, this.#deps) ?? this.#gone(read, noted, row);
    if (task === 'same') return;
    if (task) window.put(task, noted.changes);
    else if (row !== undefined) window.forget(row);
  }

  #gone(
    { job, state }: ReadJob,
    noted: Noted,
    row: string | undefined,
  ): WindowTask | 'same' | undefined {
    const { window, rules } = this.#deps;
    if (job || state === 'removed' || !rules.gone) return undefined;
    // Such a note does not say how the job ended.
    if (noted.state === 'changed' || noted.state === 'unknown') return 'same';
    return rules.gone(noted, row === undefined ? undefined : window.summaries([row])[0]);
  }

  /**
   * Adds jobs that were found in a set, unless they are in the window. A job with a note is
   * skipped, because `apply` reads it. Call it only in a turn.
   */
  async fill(jobs: readonly (JobRef & { state: JobState })[]): Promise<void> {
    const { window } = this.#deps;
    const known = window.groupsOf(jobs);
    const missing = jobs.filter((_, n) => known[n] === undefined);
    for (let from = 0; from < missing.length; from += stepSize) {
      const found = await this.#read(missing.slice(from, from + stepSize));
      const certain = found.filter((each) => !this.isNoted(each) && !isContradictory(each));
      window.write(() => {
        for (const read of certain.sort(byAge)) {
          const task = taskOf(read, this.#deps);
          if (task && !this.#wasLeftOut(task)) window.fill(task);
        }
      });
    }
    this.#leaveOut();
  }

  /**
   * Keeps the window within its limits. Ended tasks are left out of the larger group, so that many
   * successes leave room for failures.
   */
  #leaveOut(): void {
    const { window, limits, rules } = this.#deps;
    const leave = (group: 'pending' | EndedGroup, n: number): void => {
      if (n <= 0) return;
      // If the window does not keep ended tasks that BullMQ removes, the group may become complete
      // again later.
      const isForGood = rules.keepsEnded && group !== 'pending';
      const map = isForGood ? this.#leftOut : this.#partial;
      window.write(() => {
        for (const [queue, endedAt] of window.leaveOut(group, n)) {
          const key = `${group}:${queue}`;
          map.set(key, Math.max(map.get(key) ?? 0, endedAt));
        }
      });
    };
    leave('pending', window.size('pending') - limits.pending);
    const [completed, failed] = [window.size('completed'), window.size('failed')];
    leave(completed >= failed ? 'completed' : 'failed', completed + failed - limits.ended);
  }

  /** Whether a task was left out to stay within the limits. Its end is already counted. */
  #wasLeftOut({ queue, status, endedAt }: WindowTask): boolean {
    const left = this.#leftOut.get(`${groupOf(status)}:${queue}`);
    return left !== undefined && endedAt !== null && endedAt <= left;
  }

  /** Whether the window has all tasks of a group of a queue. */
  isWhole(queue: string, group: Group): boolean {
    const key = `${group}:${queue}`;
    return !this.#partial.has(key) && !this.#leftOut.has(key);
  }

  /** Returns the end time (Unix milliseconds) after which the window has a whole group. */
  wholeAfter(queue: string, group: Group): number {
    const key = `${group}:${queue}`;
    return Math.max(this.#partial.get(key) ?? -1, this.#leftOut.get(key) ?? -1);
  }

  /** Records that the window has a whole group of a queue, or all tasks that ended after a time. */
  setWhole(queue: string, group: Group, after?: number): void {
    if (after === undefined) this.#partial.delete(`${group}:${queue}`);
    else this.#partial.set(`${group}:${queue}`, after);
  }
}

/** BullMQ's state that is assumed for the jobs of a group. */
const stateOfGroup = {
  pending: 'waiting',
  running: 'active',
  completed: 'completed',
  failed: 'failed',
} as const;

/** Whether the fields of a job contradict its noted state: another program moved it since. */
function isContradictory({ job, state }: ReadJob): boolean {
  if (!job || !isJobState(state)) return false;
  return (job.json.finishedOn !== undefined) !== (state === 'completed' || state === 'failed');
}

function byAge(a: ReadJob, b: ReadJob): number {
  return a.jobId < b.jobId ? -1 : 1;
}
