import type { JobState } from '../job-view.js';
import { type Group, groupOf } from './groups.js';
import { findStates, type JobHint, type JobRef, type JobSource, type KeyNames, type ReadJob, type SaidState } from './source.js';
import type { Window } from './window.js';
import type { WindowTask } from './window-rows.js';
import { type Naming, taskOf } from './window-task.js';

/** What a window holds at most: ended tasks in all, and waiting ones. */
export interface WindowLimits {
  ended: number;
  pending: number;
  /** How many of the newest ended tasks of each queue and group are read when it is opened. Default all that it holds. */
  history?: number;
}

/** That a job changed. */
export interface NotedChange extends JobRef {
  /** `unknown`: the sets of BullMQ are to be asked. */
  state: SaidState | 'unknown';
  hint?: JobHint;
}

/** A job that changed and was not read since. */
interface Noted extends NotedChange {
  /** How many notes came. */
  changes: number;
}

interface FeedParts extends Naming {
  source: JobSource;
  keys: KeyNames;
  window: Window;
  limits: WindowLimits;
}

/** Jobs that are read in one step. */
const stepSize = 250;
/** How often notes are read before an answer, and how often a job that changes again meanwhile is read. */
const most = { reads: 40, passes: 3 };

/**
 * Brings changed jobs into the window. Everything happens in turns, one after the other. A job is read after the note of its
 * change. What was noted until then is read after the job, in the same pipeline: a job with a newer note may have been read in
 * a later state than its note says, so it is read again.
 */
export class WindowFeed {
  readonly #parts: FeedParts;
  readonly #noted = new Map<string, Noted>();
  /** Groups of queues of which the window may lack tasks, and since when tasks ended of which it has all. */
  readonly #partial = new Map<string, number>();
  /** When the last of the tasks ended that gave way to others, of groups of queues that never lose tasks in another way. */
  readonly #leftOut = new Map<string, number>();
  #turn: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;
  /** Notes were lost, or may have been. */
  isStale = false;

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  /** Does work when nothing else is under way. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Brings the window up to date with everything that had changed when this was called. */
  catchUp(): Promise<void> {
    this.#next ??= this.inTurn(() => {
      this.#next = undefined;
      return this.apply();
    });
    return this.#next;
  }

  /** Reads what was noted. In a turn only. */
  async apply(): Promise<void> {
    await this.#readNotes();
    let keys = [...this.#noted.keys()];
    for (let pass = 1; keys.length > 0 && pass <= most.passes; pass++) {
      for (let from = 0; from < keys.length; from += stepSize)
        await this.#applySome(keys.slice(from, from + stepSize), pass === most.passes);
      keys = keys.filter((key) => this.#noted.has(key));
    }
    this.#parts.window.tell();
  }

  async #readNotes(): Promise<void> {
    const { source } = this.#parts;
    for (let reads = 0; reads < most.reads; reads++) {
      const { notes, more, missed } = await source.ask([]);
      this.note(notes);
      if (missed) this.isStale = true;
      if (!more) return;
    }
  }

  /** Takes in notes. The jobs are read later. */
  note(notes: readonly NotedChange[]): void {
    for (const { queue, jobId, state, hint } of notes) {
      const key = keyOf({ queue, jobId });
      const before = this.#noted.get(key);
      // The job that changed last is the last one, because watchers get the changes in their order.
      this.#noted.delete(key);
      const last = state === 'changed' ? (before?.state ?? state) : state;
      const noted: Noted = { queue, jobId, state: last, changes: (before?.changes ?? 0) + 1 };
      if (hint) noted.hint = { ...before?.hint, ...hint };
      this.#noted.set(key, noted);
    }
  }

  /** Whether a job changed that was not read since. */
  isNoted(job: JobRef): boolean {
    return this.#noted.has(keyOf(job));
  }

  /** Whether any job changed that was not read since. */
  get hasNoted(): boolean {
    return this.#noted.size > 0;
  }

  async #applySome(keys: readonly string[], isLast: boolean): Promise<void> {
    const noted = keys.flatMap((key) => this.#noted.get(key) ?? []);
    await this.#knowQueues(noted);
    const states = await this.#statesOf(noted);
    const { found, notes } = await this.#parts.source.read(noted.map((job, n) => ({ ...job, state: states[n] ?? 'removed' })));
    this.note(notes);
    const certain = noted.flatMap((job, n) => {
      const read = found[n];
      const now = this.#noted.get(keyOf(job));
      return read && (isLast || now === job) ? [{ job, read, now }] : [];
    });
    // What the sets of BullMQ say is so.
    const isOdd = (job: Noted, read: ReadJob): boolean => job.state !== 'unknown' && isContradictory(read);
    this.#parts.window.write(() => {
      for (const { job, read } of certain) if (!isOdd(job, read)) this.#put(read, job);
    });
    for (const { job, read, now } of certain) {
      if (isOdd(job, read)) this.#noted.set(keyOf(job), { ...job, state: 'unknown' });
      else if (now === job) this.#noted.delete(keyOf(job));
      else if (now) this.#noted.set(keyOf(job), { ...now, changes: now.changes - job.changes });
    }
    this.#leaveOut();
  }

  /** The queues of jobs must be known, because their labels are shown. */
  async #knowQueues(jobs: readonly JobRef[]): Promise<void> {
    const { catalog } = this.#parts;
    if (jobs.some(({ queue }) => !catalog.get(queue))) await catalog.refresh();
  }

  /** The states that jobs are said to be in; `removed` for one that is in no set. */
  async #statesOf(jobs: readonly Noted[]): Promise<SaidState[]> {
    const { window, ids } = this.#parts;
    const changed = jobs.filter(({ state }) => state === 'changed');
    const rows = window.states(changed.flatMap(({ queue, jobId }) => ids.of(queue, jobId) ?? []));
    const states = jobs.map(({ queue, jobId, state }): SaidState | undefined => {
      if (state === 'unknown') return undefined;
      if (state !== 'changed') return state;
      const id = ids.of(queue, jobId);
      const status = id === undefined ? undefined : rows.get(id);
      return status && ((ids.stateOf(queue, jobId) as JobState | undefined) ?? stateOfGroup[groupOf(status)]);
    });
    const unknown = jobs.filter((_, n) => states[n] === undefined);
    const found = await findStates(this.#parts, unknown);
    return states.map((state) => state ?? found.shift() ?? 'removed');
  }

  /** Brings a job into the window as it was read. */
  #put(read: ReadJob, noted: Noted): void {
    const { window, ids } = this.#parts;
    const row = ids.of(read.queue, read.jobId);
    const task = taskOf(read, this.#parts) ?? this.#gone(read, noted, row);
    if (task === 'same') return;
    if (task) window.put(task, noted.changes);
    else if (row !== undefined) window.forget(row);
  }

  #gone({ job, state }: ReadJob, noted: Noted, row: string | undefined): WindowTask | 'same' | undefined {
    const { window, rules } = this.#parts;
    if (job || state === 'removed' || !rules.gone) return undefined;
    // That it changed says nothing about an end.
    if (noted.state === 'changed' || noted.state === 'unknown') return 'same';
    return rules.gone({ ...noted, state: noted.state }, row === undefined ? undefined : window.summaries([row])[0]);
  }

  /**
   * Brings in jobs that were found in a set and have not changed, unless they are in the window. One that is noted is left to
   * its note. In a turn only.
   */
  async fill(jobs: readonly (JobRef & { state: JobState })[]): Promise<void> {
    const { source, window, ids } = this.#parts;
    const known = window.states(jobs.flatMap(({ queue, jobId }) => ids.of(queue, jobId) ?? []));
    const missing = jobs.filter(({ queue, jobId }) => !known.has(ids.of(queue, jobId) ?? ''));
    for (let from = 0; from < missing.length; from += stepSize) {
      const { found, notes } = await source.read(missing.slice(from, from + stepSize));
      this.note(notes);
      window.write(() => {
        for (const read of found.filter((each) => !this.isNoted(each) && !isContradictory(each)).sort(byAge)) {
          const task = taskOf(read, this.#parts);
          if (task && !this.#wasLeftOut(task)) window.fill(task);
        }
      });
    }
    this.#leaveOut();
  }

  /** Keeps the window within its limits. Of what has ended, the larger group gives way, so that many successes leave room for failures. */
  #leaveOut(): void {
    const { window, limits } = this.#parts;
    const leave = (group: Group, n: number): void => {
      if (n <= 0) return;
      window.write(() => {
        for (const [queue, endedAt] of window.leaveOut(group, n)) this.#noteLeftOut(queue, group, endedAt);
      });
    };
    leave('pending', window.size('pending') - limits.pending);
    const [completed, failed] = [window.size('completed'), window.size('failed')];
    leave(completed >= failed ? 'completed' : 'failed', completed + failed - limits.ended);
  }

  #noteLeftOut(queue: string, group: Group, endedAt: number): void {
    const key = `${group}:${queue}`;
    // Where BullMQ removes old jobs from the window too, it may be whole again later.
    const isForGood = this.#parts.rules.keepsEnded && group !== 'pending';
    const map = isForGood ? this.#leftOut : this.#partial;
    map.set(key, Math.max(map.get(key) ?? 0, endedAt));
  }

  /** Whether a task was in the window and gave way to others: its end is counted already. */
  #wasLeftOut({ queue, status, facts }: WindowTask): boolean {
    const left = this.#leftOut.get(`${groupOf(status)}:${queue}`);
    return left !== undefined && facts.endedAt !== null && facts.endedAt <= left;
  }

  /** Whether the window has all tasks of a group of a queue. */
  isWhole(queue: string, group: Group): boolean {
    const key = `${group}:${queue}`;
    return !this.#partial.has(key) && !this.#leftOut.has(key);
  }

  /** The time after which the window has all tasks of a group of a queue that ended; Unix milliseconds. */
  wholeAfter(queue: string, group: Group): number {
    const key = `${group}:${queue}`;
    return Math.max(this.#partial.get(key) ?? -1, this.#leftOut.get(key) ?? -1);
  }

  /** Notes that the window has all tasks of a group of a queue, or all of those that ended after a time. */
  setWhole(queue: string, group: Group, after?: number): void {
    if (after === undefined) this.#partial.delete(`${group}:${queue}`);
    else this.#partial.set(`${group}:${queue}`, after);
  }
}

/** A state of jobs of a group. */
const stateOfGroup = { pending: 'waiting', running: 'active', completed: 'completed', failed: 'failed' } as const;

function keyOf({ queue, jobId }: JobRef): string {
  return `${queue}:${jobId}`;
}

/** Whether a job cannot be in the state that it is said to be in: another program moved it, which tells of nothing. */
function isContradictory({ job, state }: ReadJob): boolean {
  if (!job || state === 'removed' || state === 'changed') return false;
  return (job.json.finishedOn !== undefined) !== (state === 'completed' || state === 'failed');
}

function byAge(a: ReadJob, b: ReadJob): number {
  return a.jobId < b.jobId ? -1 : 1;
}
