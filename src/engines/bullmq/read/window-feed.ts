import type { NotedState } from '../change-notes.js';
import type { JobState } from '../job-view.js';
import type { QueueCatalog } from '../queue-catalog.js';
import type { JobRef, JobSource, ReadJob } from './job-source.js';
import type { RowIds } from './row-ids.js';
import { type Group, groupOf, type Window } from './window.js';
import { taskOf } from './window-task.js';

/** What a window holds at most: ended tasks in all, and waiting ones. */
export interface WindowLimits {
  ended: number;
  pending: number;
}

/** That a job changed. */
export interface NotedChange extends JobRef {
  /** `unknown`: the sets of BullMQ are to be asked. */
  state: NotedState | 'unknown';
}

/** A job that changed and was not read since. */
interface Noted extends NotedChange {
  /** How many notes came. */
  changes: number;
}

interface FeedParts {
  source: JobSource;
  window: Window;
  catalog: QueueCatalog;
  ids: RowIds;
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
  /** Groups of queues of which the window may lack tasks. */
  readonly #partial = new Set<string>();
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
      const { position } = source;
      const { notes, more } = await source.ask([]);
      this.note(notes);
      if (!more) return;
      // A process that is so far behind may find that the stream was trimmed.
      if (await source.hasMissed(position)) this.isStale = true;
    }
  }

  /** Takes in notes. The jobs are read later. */
  note(notes: readonly NotedChange[]): void {
    for (const { queue, jobId, state } of notes) {
      const key = keyOf({ queue, jobId });
      const before = this.#noted.get(key);
      // The job that changed last is the last one, since changes are told in their order.
      this.#noted.delete(key);
      const last = state === 'changed' ? (before?.state ?? state) : state;
      this.#noted.set(key, { queue, jobId, state: last, changes: (before?.changes ?? 0) + 1 });
    }
  }

  /** Whether a job changed that was not read since. */
  isNoted(job: JobRef): boolean {
    return this.#noted.has(keyOf(job));
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
      for (const { job, read } of certain) if (!isOdd(job, read)) this.#put(read, job.changes);
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
  async #statesOf(jobs: readonly Noted[]): Promise<NotedState[]> {
    const { source, window, ids } = this.#parts;
    const changed = jobs.filter(({ state }) => state === 'changed');
    const rows = window.states(changed.flatMap(({ queue, jobId }) => ids.of(queue, jobId) ?? []));
    const states = jobs.map(({ queue, jobId, state }): NotedState | undefined => {
      if (state === 'unknown') return undefined;
      const status = state === 'changed' ? rows.get(ids.of(queue, jobId) ?? '') : undefined;
      return status ? stateOfGroup[groupOf(status)] : state === 'changed' ? undefined : state;
    });
    const unknown = jobs.filter((_, n) => states[n] === undefined);
    const found = await source.findStates(unknown);
    return states.map((state) => state ?? found.shift() ?? 'removed');
  }

  /** Brings a job into the window as it was read. */
  #put(read: ReadJob, changes: number): void {
    const { window, ids } = this.#parts;
    const task = taskOf(read, this.#parts);
    const row = ids.of(read.queue, read.jobId);
    if (task) window.put(task, changes);
    else if (row !== undefined) window.forget(row);
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
          if (task) window.fill(task);
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
        for (const queue of window.leaveOut(group, n)) this.#partial.add(`${group}:${queue}`);
      });
    };
    leave('pending', window.size('pending') - limits.pending);
    const [completed, failed] = [window.size('completed'), window.size('failed')];
    leave(completed >= failed ? 'completed' : 'failed', completed + failed - limits.ended);
  }

  /** Whether the window has all tasks of a group of a queue. */
  isWhole(queue: string, group: Group): boolean {
    return !this.#partial.has(`${group}:${queue}`);
  }

  setWhole(queue: string, group: Group, isWhole: boolean): void {
    if (isWhole) this.#partial.delete(`${group}:${queue}`);
    else this.#partial.add(`${group}:${queue}`);
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
