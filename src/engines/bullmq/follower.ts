import { setTimeout as wait } from 'node:timers/promises';
import type { JobJson, JobType, Queue } from 'bullmq';
import { runInEmptyContext } from '../../empty-context.js';
import { isEnded } from '../../tasks/states.js';
import type { MirroredTask } from '../embedded/mirror.js';
import { keyOf } from './job-ids.js';
import {
  blankTask,
  endedStates,
  endedTask,
  fromSummary,
  type JobState,
  openStates,
  stateByTimes,
  statusOfState,
  toMirrored,
} from './jobs.js';
import type { JobMirror } from './mirror.js';
import type { QueueEvent, QueueReads } from './queue-reads.js';

/** Milliseconds between two looks at the events of a queue, while the tasks are shown and while they are not. */
const lookInterval = { read: 100, unread: 1000 };
/** Jobs read at once. */
const stepSize = 200;
/** Milliseconds between two looks whether waiting jobs have gone without a word: draining a queue sends no event. */
const countInterval = 5000;
/** Jobs that are looked at where the counts differ. */
const sampleSize = 50;
/** Jobs that are remembered although they could not be read. */
const mostUnread = 10_000;
/** Ended jobs by which the mirror may be behind Redis although it holds all. */
const mostBehind = 1000;
/** Milliseconds that closing waits for what is under way. */
const closeTime = 1000;

/** What the events of a job have told since it was last read. */
interface Told {
  state?: JobState;
  removed?: boolean;
  name?: string;
  /** Unix milliseconds. */
  dueAt?: number;
  failedReason?: string;
  /** When the last of them was sent, by the clock of Redis. */
  at: number;
}

/** What a follower reports, and asks, the queues that it belongs to. */
interface Reports {
  /** It is up to date, or Redis is unreachable. */
  live(live: boolean, cause?: Error): void;
  /** Whether the tasks are shown at present. */
  isRead(): boolean;
}

interface FollowerParts {
  reads: QueueReads;
  mirror: JobMirror;
  history: number;
  reports: Reports;
}

/** Events that change the state of a job. */
const stateEvents: ReadonlySet<string> = new Set(['waiting', 'active', 'completed', 'failed', 'waiting-children', 'delayed']);
/** Events that change something else of a job. */
const otherEvents: ReadonlySet<string> = new Set(['added', 'progress', 'removed']);

/**
 * Keeps the mirror of one queue: reads the queue once, then reads its events from time to time. Everything happens in turns,
 * one after the other.
 */
export class Follower {
  readonly reads: QueueReads;
  /** How many ended jobs Redis has beyond those in the mirror. */
  beyond = { success: 0, failed: 0 };
  readonly #queue: Queue;
  readonly #mirror: JobMirror;
  readonly #history: number;
  readonly #reports: Reports;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> | undefined;
  /** The last event that was read. */
  #position = '0-0';
  #told = new Map<string, Told>();
  #paused: boolean | undefined;
  /** Jobs that were gone before they could be read, and have not been told to have ended. */
  readonly #unread = new Map<string, Told>();
  /** What was so at the last look, and would be told of by the next one: how many events had come, where the counts differed, and jobs of which none told. */
  #heard = 0;
  #heardBefore: number | undefined;
  #untold: ReadonlySet<string> = new Set();
  /** Where the last sample of what is open here ended. */
  #sampled: string | undefined;
  #counted = 0;
  /** Whether there were more ended jobs than are read. */
  readonly #isCut = { completed: false, failed: false };
  #closed = false;
  /** Events were lost, or none was read yet. */
  #stale = true;
  /** When the queue was last read in full. */
  #readAt = Number.NEGATIVE_INFINITY;

  constructor({ reads, mirror, history, reports }: FollowerParts) {
    this.#queue = reads.queue;
    this.reads = reads;
    this.#mirror = mirror;
    this.#history = history;
    this.#reports = reports;
    // It stays when this is closed: errors that nobody listens to BullMQ prints whole, and some hold a password.
    this.#queue.on('error', (error: Error) => this.#away(error));
  }

  readonly #onClose = (): void => this.#away(new Error('the connection was closed'));
  readonly #onReady = (): void => this.#lookSoon(0);

  /** Reads the queue and keeps it from then on, also after an outage of Redis. */
  start(): void {
    this.#queue.getBackend().on('close', this.#onClose).on('ready', this.#onReady);
    this.#lookSoon(0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#queue.getBackend().off('close', this.#onClose).off('ready', this.#onReady);
    // What waits for a Redis that never lets it in would wait for ever; it does nothing more.
    await Promise.race([this.#turn, wait(closeTime, undefined, { ref: false })]);
  }

  #lookSoon(delay: number): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#turn) return;
    this.#timer = runInEmptyContext(() => setTimeout(() => this.#look(), delay).unref());
  }

  #look(): void {
    this.#turn = this.#follow()
      .then(
        () => this.#closed || this.#reports.live(true),
        (error: Error) => this.#away(error),
      )
      .finally(() => {
        this.#turn = undefined;
        this.#lookSoon(this.#reports.isRead() ? lookInterval.read : lookInterval.unread);
      }) as Promise<void>;
  }

  async #follow(): Promise<void> {
    // A queue that keeps few events loses some again and again.
    if (this.#stale && performance.now() - this.#readAt >= countInterval) await this.#readAll();
    else await this.#pull();
    await this.#apply();
    if (performance.now() - this.#counted < countInterval) return;
    this.#counted = performance.now();
    await this.#compareCounts();
  }

  /** Reads the events that have come. The jobs are read later. */
  async #pull(): Promise<void> {
    for (let more = true; more && !this.#closed; ) {
      const found = await this.reads.eventsAfter(this.#position);
      if (found.missed) this.#stale = true;
      [this.#position, more] = [found.last, found.more];
      for (const event of found.events) this.#tell(event);
    }
  }

  #away(error: Error): void {
    if (!this.#closed) this.#reports.live(false, error);
  }

  async #readAll(): Promise<void> {
    this.#position = await this.reads.newestEvent();
    this.#paused = await this.#queue.isPaused();
    const counts = await this.#queue.getJobCounts(...endedStates);
    // What ended first comes first, so that sums and kinds of failure grow in the order of time.
    for (const state of endedStates) {
      const older = Math.max(0, (counts[state] ?? 0) - this.#history);
      this.#isCut[state] = older > 0;
      await this.#readState(state, older);
    }
    const open = new Set<string>();
    for (const state of openStates) for (const key of await this.#readState(state, 0)) open.add(key);
    await this.#dropGone(open);
    if (this.#closed) return;
    this.#stale = false;
    this.#readAt = performance.now();
    this.#counted = Number.NEGATIVE_INFINITY;
  }

  /** Reads the jobs of a state from a place on, in steps. */
  async #readState(state: JobState, from: number): Promise<string[]> {
    const keys: string[] = [];
    for (let start = from; !this.#closed; start += stepSize) {
      // Of what is open from the end that jobs are added to: what comes meanwhile is read twice, and none is left out.
      const ids = await this.#queue.getRanges([listOf(state)], start, start + stepSize - 1, isEnded(statusOfState[state]));
      const known = (await this.reads.jobs(ids)).filter((job) => job !== undefined);
      keys.push(...known.map(({ id }) => keyOf(this.#queue.name, id)));
      // What was read of a job that an event tells of may be old.
      await this.#pull();
      const untouched = known.filter(({ id }) => !this.#told.has(id));
      await this.#mirror.put(untouched.map((job) => toMirrored(this.#queue.name, job, state)));
      if (ids.length < stepSize) break;
    }
    return keys;
  }

  /** Jobs that are open here and are not there: they were drained, or ended and were removed while nobody looked. */
  async #dropGone(open: ReadonlySet<string>): Promise<void> {
    const { name } = this.#queue;
    const missing = this.#mirror
      .openKeys(name)
      .filter((key) => !open.has(key))
      .map((key) => key.slice(name.length + 1));
    for (let from = 0; from < missing.length; from += stepSize) {
      const some = missing.slice(from, from + stepSize).filter((id) => !this.#told.has(id));
      const jobs = await this.reads.jobs(some);
      await this.#pull();
      const isUntouched = (id: string): boolean => !this.#told.has(id);
      await this.#mirror.forget(some.filter((id, n) => !jobs[n] && isUntouched(id)).map((id) => keyOf(name, id)));
      const ended = jobs.filter((job) => job?.finishedOn !== undefined && isUntouched(job.id)) as JobJson[];
      await this.#mirror.put(ended.map((job) => toMirrored(name, job, stateByTimes(job))));
    }
  }

  /** Draining a queue sends no event, and neither does a job that another program added by itself: it shows in the counts. */
  async #compareCounts(): Promise<void> {
    const counts = await this.#queue.getJobCounts(...openStates, ...endedStates);
    const there = openStates.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
    const { pending, running, success, failed } = this.#mirror.counts(this.#queue.name);
    const missing = (state: 'completed' | 'failed', here: number): number => {
      const n = (counts[state] ?? 0) - here;
      // Otherwise the two differ by what has ended in this moment.
      return this.#isCut[state] || n > mostBehind ? Math.max(0, n) : 0;
    };
    this.beyond = { success: missing('completed', success), failed: missing('failed', failed) };
    if (await this.#isApart(there === pending + running, counts)) this.#stale = true;
  }

  /** Of a busy queue the counts always differ, since its jobs move while they are taken: some jobs tell whether it is that alone. */
  async #isApart(same: boolean, counts: Record<string, number>): Promise<boolean> {
    const [before, untoldBefore] = [this.#heardBefore, this.#untold];
    this.#heardBefore = same ? undefined : this.#heard;
    // By chance they may be the same now and then.
    if (same) return false;
    if (before === this.#heard) return true;
    this.#untold = new Set([...(await this.#sampleGone()), ...(await this.#sampleUnknown(counts))]);
    return [...this.#untold].some((key) => untoldBefore.has(key));
  }

  /** Of the jobs that are open here, some that are not there; at each look others, until one was found. */
  async #sampleGone(): Promise<string[]> {
    const { name } = this.#queue;
    const { keys, last } = this.#mirror.openAfter(name, this.#sampled, sampleSize);
    const jobs = await this.reads.jobs(keys.map((key) => key.slice(name.length + 1)));
    const gone = keys.filter((_, n) => jobs[n] === undefined || jobs[n].finishedOn !== undefined);
    if (gone.length === 0) this.#sampled = last;
    return gone;
  }

  /** Of the jobs that are open there, some that are not here. */
  async #sampleUnknown(counts: Record<string, number>): Promise<string[]> {
    const keys: string[] = [];
    for (const state of openStates) {
      const from = Math.floor(Math.random() * Math.max(1, (counts[state] ?? 0) - sampleSize));
      const ids = await this.#queue.getRanges([listOf(state)], from, from + sampleSize - 1);
      keys.push(...ids.map((id) => keyOf(this.#queue.name, id)));
    }
    const known = new Set(this.#mirror.summaries(keys).map(({ id }) => id));
    return keys.filter((key) => !known.has(key));
  }

  async #notePause(): Promise<void> {
    const paused = this.#paused;
    this.#paused = undefined;
    if (paused === undefined) return;
    const known = this.#mirror.describe().queues.find(({ name }) => name === this.#queue.name);
    // A pause that was asked for here has its actor and reason already.
    if ((known?.paused ?? false) !== paused) await this.#mirror.pause(this.#queue.name, paused, { by: '' });
  }

  #tell({ event, jobId, name, delay, failedReason, at }: QueueEvent): void {
    this.#heard += 1;
    if (event === 'paused' || event === 'resumed') this.#paused = event === 'paused';
    const isState = stateEvents.has(event);
    if (jobId === '' || !(isState || otherEvents.has(event))) return;
    const before = this.#told.get(jobId);
    const told: Told = isState
      ? { ...(before?.name !== undefined && { name: before.name }), state: event as JobState, at }
      : { ...before, at };
    if (name !== undefined) told.name = name;
    if (event === 'delayed' && delay !== undefined) told.dueAt = delay;
    if (failedReason !== undefined) told.failedReason = failedReason;
    if (event === 'removed') told.removed = true;
    this.#told.set(jobId, told);
  }

  /** Brings what events have told of into the mirror. What could not be read stays for the next turn. */
  async #apply(): Promise<void> {
    await this.#notePause();
    while (this.#told.size > 0 && !this.#closed) {
      const some = [...this.#told].slice(0, stepSize);
      const jobs = await this.reads.jobs(some.map(([id]) => id));
      const present: MirroredTask[] = [];
      const gone: string[] = [];
      for (const [n, [id, what]] of some.entries()) {
        const job = jobs[n];
        const task = job ? this.#present(job, what) : this.#absent(id, what);
        if (task) present.push(task);
        else if (!job && !what.removed) this.#remember(id, what);
        else if (!job && what.removed) gone.push(keyOf(this.#queue.name, id));
      }
      await this.#mirror.forget(gone);
      await this.#mirror.put(present);
      for (const [id] of some) this.#told.delete(id);
    }
  }

  #remember(id: string, told: Told): void {
    this.#unread.set(id, { ...told, ...this.#unread.get(id) });
    const [oldest] = this.#unread.keys();
    if (oldest !== undefined && this.#unread.size > mostUnread) this.#unread.delete(oldest);
  }

  #present(job: JobJson, { state, dueAt }: Told): MirroredTask {
    const known = state ?? (this.#mirror.summary(keyOf(this.#queue.name, job.id))?.engineState as JobState | undefined);
    return toMirrored(this.#queue.name, job, known && Object.hasOwn(statusOfState, known) ? known : stateByTimes(job), dueAt);
  }

  /** A job that ended and was removed in the same moment: what was known of it, and how it ended. */
  #absent(id: string, { state, name, failedReason, at }: Told): MirroredTask | undefined {
    if (state !== 'completed' && state !== 'failed') return undefined;
    const key = keyOf(this.#queue.name, id);
    const known = this.#mirror.summary(key);
    const unread = this.#unread.get(id);
    this.#unread.delete(id);
    const before = known ? fromSummary(known) : blankTask(this.#queue.name, key, unread?.name ?? name ?? 'unknown', unread?.at ?? at);
    return endedTask(before, { state, at, failedReason });
  }
}

/** BullMQ's name for where the jobs of a state are. */
function listOf(state: JobState): JobType {
  return state === 'waiting' ? 'wait' : state;
}
