import type { NotedState } from '../change-notes.js';
import type { JobState } from '../job-view.js';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queue-catalog.js';
import type { TaskJob } from '../task-job.js';

/** Builds the names of BullMQ's keys. */
export type KeyNames = Pick<EngineKeys, 'ofQueue' | 'marked'>;

/** The queues that are shown. */
export type KnownQueues = Pick<QueueCatalog, 'all' | 'get' | 'refresh'>;

/** A command of Redis about one queue: the queue, the name of the command, and its arguments. */
export type QueueCommand = [queue: string, name: string, ...args: (string | number)[]];

/** Where a job is. */
export interface JobRef {
  /** BullMQ's name of the queue. */
  queue: string;
  jobId: string;
}

/** What a note says about a job that may be gone before it is read. */
export interface JobHint {
  name?: string;
  failedReason?: string;
  /** When the last note was written, by the clock of Redis; Unix milliseconds. */
  at: number;
}

/** The state that a job is said to be in. */
export type SaidState = NotedState | JobState;

/** That a job changed. */
export interface JobNote extends JobRef {
  state: SaidState;
  hint?: JobHint;
}

/** A job that is to be read, with its state. */
export type UnreadJob = Omit<ReadJob, 'job' | 'dueAt'>;

/** A job that was read. */
export interface ReadJob extends JobRef {
  /** The state in which it was said to be. */
  state: SaidState;
  /** None if the job is gone. */
  job: TaskJob | undefined;
  /** Until when it is delayed, Unix milliseconds. */
  dueAt: number | undefined;
}

/** What was read, and what changed until after it was read. */
export interface Answer<T> {
  found: T;
  notes: JobNote[];
  /** There are more notes than were read. */
  more: boolean;
  /** Notes were lost before these. */
  missed: boolean;
}

/** Reads jobs and the notes of their changes. Notes are read after what they may be about. */
export interface JobSource {
  /** Notes from now on. */
  start(): Promise<void>;
  /** Whether notes were lost since `start`. */
  hasMissed(): Promise<boolean>;
  /** Sends commands, and reads the notes of what changed until after they were answered. */
  ask(commands: readonly QueueCommand[]): Promise<Answer<unknown[]>>;
  /** Sends commands. @throws the first error that Redis answers. */
  send(commands: readonly QueueCommand[]): Promise<unknown[]>;
  /** Reads what lists show of jobs, and the notes of what changed until after they were read. */
  read(jobs: readonly UnreadJob[]): Promise<Answer<ReadJob[]>>;
  /** Reads what lists show of jobs that are not in the window. */
  peek(jobs: readonly UnreadJob[]): Promise<ReadJob[]>;
}

/** Where BullMQ keeps jobs that wait. */
export const waitingSets = [
  { type: 'wait', state: 'waiting', isList: true },
  // Where versions before 6 kept the jobs of a paused queue.
  { type: 'paused', state: 'waiting', isList: true },
  { type: 'prioritized', state: 'prioritized', isList: false },
  { type: 'delayed', state: 'delayed', isList: false },
  { type: 'waiting-children', state: 'waiting-children', isList: false },
] as const;

/** The sets of BullMQ, by the time that it takes to ask them. Waiting jobs without a priority are in a list, which may be long. */
const sets = ['completed', 'failed', 'delayed', 'prioritized', 'waiting-children'] as const;

/** The states of jobs by the sets of BullMQ; nothing for one that is gone. */
export async function findStates(
  { source, keys }: { source: JobSource; keys: KeyNames },
  jobs: readonly JobRef[],
): Promise<(JobState | undefined)[]> {
  const key = ({ queue }: JobRef, type: string): string => keys.ofQueue(queue, type);
  const answers = await source.send(
    jobs.flatMap((job): QueueCommand[] => [
      ...sets.map((set): QueueCommand => [job.queue, 'zscore', key(job, set), job.jobId]),
      // As long as workers have slots.
      [job.queue, 'lpos', key(job, 'active'), job.jobId],
      [job.queue, 'exists', key(job, job.jobId)],
    ]),
  );
  const width = sets.length + 2;
  return jobs.map((_, n) => {
    const found = answers.slice(n * width, (n + 1) * width);
    const set = sets.find((_, m) => found[m] !== null);
    if (set) return set;
    if (found[sets.length] !== null) return 'active';
    return found[sets.length + 1] === 1 ? 'waiting' : undefined;
  });
}

/** BullMQ's delayed set is sorted by time and a number of 12 bits. */
const delayedUnit = 4096;

/** Asks until when jobs are delayed. */
export function delayCommands(keys: KeyNames, jobs: readonly UnreadJob[]): QueueCommand[] {
  return jobs.filter(isDelayed).map(({ queue, jobId }) => [queue, 'zscore', keys.ofQueue(queue, 'delayed'), jobId]);
}

/** Until when the delayed ones among jobs are delayed, by what {@link delayCommands} answered. */
export function dueTimes(jobs: readonly UnreadJob[], answers: readonly unknown[]): ReadonlyMap<UnreadJob, number | undefined> {
  return new Map(jobs.filter(isDelayed).map((job, n) => [job, dueTime(answers[n])]));
}

function isDelayed({ state }: UnreadJob): boolean {
  return state === 'delayed';
}

/** The time of a score of the delayed set. */
export function dueTime(score: unknown): number | undefined {
  const time = typeof score === 'string' ? Math.floor(Number(score) / delayedUnit) : Number.NaN;
  return Number.isFinite(time) ? time : undefined;
}

/** Whether an id of a stream entry is greater than another. */
export function isAfter(id: string, other: string): boolean {
  const [[a = 0, n = 0], [b = 0, m = 0]] = [id, other].map((text) => text.split('-').map(Number)) as [number[], number[]];
  return a > b || (a === b && n > m);
}

/** The queue that is shown under a name of BullMQ. */
export function entryOf(queues: KnownQueues, queue: string): CatalogEntry {
  return queues.get(queue) ?? { queue, label: queue };
}
