import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { type JobJson, type JobType, type Queue, QueueEvents } from 'bullmq';
import { isEnded } from '../../tasks/states.js';
import type { TaskSummary } from '../../tasks/types.js';
import type { MirroredTask } from '../embedded/mirror.js';
import { idOfJob, keyOf } from './job-ids.js';
import { endedStates, type JobState, openStates, progressOf, stateByTimes, statusOfState, storedError, toMirrored } from './jobs.js';
import type { JobMirror } from './mirror.js';

/** Milliseconds that events are gathered: of a job that changed several times the last state alone is read. */
const gatherTime = 50;
/** Jobs read at once. */
const stepSize = 200;
/** Milliseconds between two looks whether waiting jobs have gone without a word: draining a queue sends no event. */
const countInterval = 5000;
/** Jobs that are looked at where the counts differ. */
const sampleSize = 50;
/** Jobs that are remembered although they could not be read. */
const mostUnread = 10_000;
/** Milliseconds that closing waits for what is under way. */
const closeTime = 1000;
/** Milliseconds between two tries to hear oneself in a queue's events. */
const greetInterval = 50;

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

/** What a follower tells whoever it works for. */
interface Reports {
  /** It is up to date, or the Redis is away. */
  live(live: boolean, cause?: Error): void;
}

/** Keeps the mirror of one queue: reads it once, then follows its events. */
export class Follower {
  readonly #queue: Queue;
  readonly #mirror: JobMirror;
  readonly #history: number;
  readonly #reports: Reports;
  readonly #events: QueueEvents;
  readonly #timers: NodeJS.Timeout[] = [];
  #told = new Map<string, Told>();
  /** Jobs that were gone before they could be read, and have not been told to have ended. */
  readonly #unread = new Map<string, Told>();
  /** Jobs that events told of while the queue is read: what was read of them may be old. */
  #touched: Set<string> | undefined;
  #working: Promise<void> | undefined;
  #reading: Promise<void> | undefined;
  /** What was so at the last look, and would be told of by the next one: how many events had come, where the counts differed, and jobs of which none told. */
  #heard = 0;
  #heardBefore: number | undefined;
  #untold: ReadonlySet<string> = new Set();
  /** Where the last sample of what is open here ended. */
  #sampled: string | undefined;
  #closed = false;
  /** The Redis was away: events may have been cut off meanwhile. */
  #stale = true;

  constructor(parts: { queue: Queue; mirror: JobMirror; history: number; reports: Reports }) {
    const { queue, mirror, history, reports } = parts;
    this.#queue = queue;
    this.#mirror = mirror;
    this.#history = history;
    this.#reports = reports;
    const { connection, prefix } = queue.opts;
    this.#events = new QueueEvents(queue.name, { connection, ...(prefix !== undefined && { prefix }) });
    this.#listen();
  }

  #listen(): void {
    const events = this.#events;
    const state = (state: JobState) => (args: { jobId: string; failedReason?: string }, id: string) => {
      this.#tell(args.jobId, id, { state, ...(args.failedReason !== undefined && { failedReason: args.failedReason }) });
    };
    events.on('added', ({ jobId, name }, id) => this.#tell(jobId, id, { name }));
    events.on('waiting', state('waiting'));
    events.on('active', state('active'));
    events.on('completed', state('completed'));
    events.on('failed', state('failed'));
    events.on('waiting-children', state('waiting-children'));
    events.on('delayed', ({ jobId, delay }, id) => this.#tell(jobId, id, { state: 'delayed', dueAt: Number(delay) }));
    events.on('progress', ({ jobId }, id) => this.#tell(jobId, id, {}));
    events.on('removed', ({ jobId }, id) => this.#tell(jobId, id, { removed: true }));
    events.on('paused', () => void this.#notePause(true).catch((error: Error) => this.#away(error)));
    events.on('resumed', () => void this.#notePause(false).catch((error: Error) => this.#away(error)));
    events.on('error', (error) => this.#away(error));
    // It stays when this is closed: errors that nobody listens to BullMQ prints whole, and some hold a password.
    this.#queue.on('error', (error: Error) => this.#away(error));
  }

  /** Reads the queue and keeps it from then on; starts again by itself after the Redis was away. */
  start(): void {
    const backend = this.#events.getBackend();
    backend.on('close', () => this.#away(new Error('the connection was closed')));
    backend.on('ready', () => void this.#catchUp());
    this.#timers.push(setInterval(() => void this.#compareCounts(), countInterval).unref());
    void this.#catchUp();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    // What waits for a Redis that never lets it in would wait for ever; it does nothing more.
    const ended = Promise.allSettled([this.#events.close(), this.#reading, this.#working]);
    await Promise.race([ended, wait(closeTime, undefined, { ref: false })]);
  }

  #away(error: Error): void {
    if (this.#closed) return;
    this.#stale = true;
    this.#reports.live(false, error);
  }

  #catchUp(): Promise<void> {
    this.#reading ??= this.#readWhenReady()
      .catch((error: Error) => this.#away(error))
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  async #readWhenReady(): Promise<void> {
    while (this.#stale && !this.#closed) {
      await this.#events.waitUntilReady();
      await this.#hearOneself();
      this.#stale = false;
      await this.#readAll();
      if (!this.#stale && !this.#closed) this.#reports.live(true);
    }
  }

  /** Until an event of one's own comes back, nobody knows from where on the others are told. */
  async #hearOneself(): Promise<void> {
    const name = `koa-taskflow:${randomUUID()}`;
    const heard = new AbortController();
    const listener = (): void => heard.abort();
    const events = this.#events as unknown as {
      once(name: string, listener: () => void): void;
      off(name: string, listener: () => void): void;
    };
    events.once(name, listener);
    try {
      while (!heard.signal.aborted && !this.#closed) {
        await this.#queue.getBackend().publishEvent({ event: name }, 10_000);
        await wait(greetInterval, undefined, { signal: heard.signal }).catch(() => undefined);
      }
    } finally {
      events.off(name, listener);
    }
  }

  async #readAll(): Promise<void> {
    this.#touched = new Set();
    try {
      await this.#notePause(await this.#queue.isPaused());
      const counts = await this.#queue.getJobCounts(...endedStates);
      // What ended first comes first, so that sums and kinds of failure grow in the order of time.
      for (const state of endedStates) await this.#readState(state, Math.max(0, (counts[state] ?? 0) - this.#history));
      const open = new Set<string>();
      for (const state of openStates) for (const key of await this.#readState(state, 0)) open.add(key);
      await this.#dropGone(open);
    } finally {
      this.#touched = undefined;
    }
  }

  /** Reads the jobs of a state from a place on, in steps. */
  async #readState(state: JobState, from: number): Promise<string[]> {
    const keys: string[] = [];
    for (let start = from; !this.#closed; start += stepSize) {
      // Of what is open from the end that jobs are added to: what comes meanwhile is read twice, and none is left out.
      const ids = await this.#queue.getRanges([listOf(state)], start, start + stepSize - 1, isEnded(statusOfState[state]));
      const jobs = await Promise.all(ids.map((id) => this.#read(id)));
      const known = jobs.filter((job) => job !== undefined);
      keys.push(...known.map(({ id }) => keyOf(this.#queue.name, id)));
      const untouched = known.filter(({ id }) => !this.#touched?.has(id));
      await this.#mirror.put(untouched.map((job) => toMirrored(this.#queue.name, job, state)));
      if (ids.length < stepSize) break;
    }
    return keys;
  }

  async #read(id: string): Promise<JobJson | undefined> {
    const job = await this.#queue.getBackend().getJobData(id);
    return job && { ...job, id };
  }

  /** Jobs that are open here and are not there: they were drained, or ended and were removed while nobody looked. */
  async #dropGone(open: ReadonlySet<string>): Promise<void> {
    const { name } = this.#queue;
    const missing = this.#mirror
      .openKeys(name)
      .filter((key) => !open.has(key))
      .map((key) => key.slice(name.length + 1));
    for (let from = 0; from < missing.length; from += stepSize) {
      const some = missing.slice(from, from + stepSize).filter((id) => !this.#touched?.has(id));
      const jobs = await Promise.all(some.map((id) => this.#read(id)));
      const isUntouched = (id: string): boolean => !this.#touched?.has(id);
      await this.#mirror.forget(some.filter((id, n) => !jobs[n] && isUntouched(id)).map((id) => keyOf(name, id)));
      const ended = jobs.filter((job) => job?.finishedOn !== undefined && isUntouched(job.id)) as JobJson[];
      await this.#mirror.put(ended.map((job) => toMirrored(name, job, stateByTimes(job))));
    }
  }

  /** Draining a queue sends no event, and events that were cut off do not come: it shows in the counts. */
  async #compareCounts(): Promise<void> {
    if (this.#closed || this.#reading) return;
    // An error that came without a lost connection is followed by none that is there again.
    if (this.#stale) return this.#catchUp();
    try {
      const counts = await this.#queue.getJobCounts(...openStates);
      const there = openStates.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
      const { pending, running } = this.#mirror.open(this.#queue.name);
      if (!(await this.#isApart(there === pending + running, counts))) return;
      this.#stale = true;
      await this.#catchUp();
    } catch (error) {
      this.#away(error as Error);
    }
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
    const jobs = await Promise.all(keys.map((key) => this.#read(key.slice(name.length + 1))));
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

  async #notePause(paused: boolean): Promise<void> {
    const known = this.#mirror.describe().queues.find(({ name }) => name === this.#queue.name);
    // Whoever paused it here has said who and why.
    if ((known?.paused ?? false) !== paused) await this.#mirror.pause(this.#queue.name, paused, { by: '' });
  }

  #tell(jobId: string, eventId: string, told: Omit<Told, 'at'>): void {
    this.#heard += 1;
    this.#touched?.add(jobId);
    const at = Number(eventId.slice(0, eventId.indexOf('-')));
    const before = this.#told.get(jobId);
    this.#told.set(jobId, { ...(told.state ? { name: before?.name } : before), ...told, at } as Told);
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    while (this.#told.size > 0 && !this.#closed) {
      await wait(gatherTime);
      const told = this.#told;
      this.#told = new Map();
      try {
        await this.#apply([...told]);
      } catch (error) {
        if (this.#closed) return;
        this.#away(error as Error);
        void this.#catchUp();
        return;
      }
    }
  }

  async #apply(told: readonly (readonly [jobId: string, told: Told])[]): Promise<void> {
    for (let from = 0; from < told.length; from += stepSize) {
      const some = told.slice(from, from + stepSize);
      const jobs = await Promise.all(some.map(([id]) => this.#read(id)));
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
    const before = known ? fromSummary(known) : blank(this.#queue.name, key, unread?.name ?? name ?? 'unknown', unread?.at ?? at);
    return {
      ...before,
      engineState: state,
      status: statusOfState[state],
      readyAt: null,
      startedAt: before.startedAt ?? at,
      endedAt: at,
      attempt: Math.max(1, before.attempt),
      ...progressOf(undefined),
      error: state === 'failed' ? storedError(before.name, failedReason ?? '', null) : null,
    };
  }
}

/** BullMQ's name for where the jobs of a state are. */
function listOf(state: JobState): JobType {
  return state === 'waiting' ? 'wait' : state;
}

function fromSummary(task: TaskSummary): MirroredTask {
  const time = (text: string | null): number | null => (text === null ? null : Date.parse(text));
  const { name, queue, priority, source, status, attempt, maxAttempts, progress } = task;
  const createdAt = Date.parse(task.createdAt);
  return {
    ...{ key: task.id, id: idOfJob(task.id, createdAt), engineState: task.engineState ?? '' },
    ...{ name, queue, priority, source, schedule: null, status, attempt, maxAttempts, progress, progressText: task.progressText ?? null },
    ...{ runAt: Date.parse(task.runAt), readyAt: null, startedAt: time(task.startedAt), endedAt: time(task.endedAt), error: null },
  };
}

function blank(queue: string, key: string, name: string, at: number): MirroredTask {
  return {
    ...{ key, id: idOfJob(key, at), engineState: 'waiting', name, queue, priority: 0, source: 'manual', schedule: null, status: 'pending' },
    ...{ runAt: at, readyAt: null, startedAt: null, endedAt: null, attempt: 0, maxAttempts: 1, progress: null, progressText: null },
    error: null,
  };
}
