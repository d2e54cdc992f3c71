import type { NotedState } from '../jobs/change-notes.js';
import type { JobRef } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import type { JobHint } from './job-hint.js';

/** Builds the names of BullMQ's keys. */
export type KeyNames = Pick<EngineKeys, 'ofQueue' | 'marked'>;

/** The queues that are shown. */
export type KnownQueues = Pick<QueueCatalog, 'all' | 'get' | 'refresh'>;

/** A command of Redis about one queue: the queue, the name of the command, and its arguments. */
export type QueueCommand = [queue: string, name: string, ...args: (string | number)[]];

/**
 * What a note says about a job: its state, that it was removed or changed, or nothing (`unknown`).
 * If it says nothing, the state is read from BullMQ's sets.
 */
export type KnownState = NotedState | JobState | 'unknown';

/** A job with what a note or a set says about it. */
export interface JobNote extends JobRef {
  state: KnownState;
  hint?: JobHint;
}

/** A job that was read. `state`: what was known before. */
export interface ReadJob extends JobNote {
  /** Undefined if the job no longer exists. */
  job: TaskJob | undefined;
  /** When its delay ends, in Unix milliseconds. */
  dueAt: number | undefined;
}

/** What was read, and the notes that were new after the read. */
export interface Answer<T> {
  found: T;
  notes: JobNote[];
  /** There are more notes to read. */
  more: boolean;
  /** Notes before these were lost. */
  missed: boolean;
}

/** Reads jobs, and then the notes of their changes, so that no change of a job is missed. */
export interface JobSource {
  /** Begins to read notes, from now on. */
  start(): Promise<void>;
  /** Whether notes were lost since `start`. */
  hasMissed(): Promise<boolean>;
  /** Sends commands, then reads the new notes. */
  ask(commands: readonly QueueCommand[]): Promise<Answer<unknown[]>>;
  /**
   * Sends commands.
   * @throws the first error that Redis answers.
   */
  send(commands: readonly QueueCommand[]): Promise<unknown[]>;
  /** Reads what lists show of jobs, then the new notes. */
  read(jobs: readonly JobNote[]): Promise<Answer<ReadJob[]>>;
  /** Reads what lists show of jobs that are not in the window. */
  peek(jobs: readonly JobNote[]): Promise<ReadJob[]>;
}

/** The sets and lists in which BullMQ keeps waiting jobs. */
export const waitingSets = [
  { type: 'wait', state: 'waiting', isList: true },
  // An attached queue that BullMQ 5 has paused keeps its jobs here until it is resumed.
  { type: 'paused', state: 'waiting', isList: true },
  { type: 'prioritized', state: 'prioritized', isList: false },
  { type: 'delayed', state: 'delayed', isList: false },
  { type: 'waiting-children', state: 'waiting-children', isList: false },
] as const;

/** BullMQ's sorted sets. The list of waiting jobs may be long, so it is not searched. */
const sets = ['completed', 'failed', 'delayed', 'prioritized', 'waiting-children'] as const;

/** Returns the members of a sorted set with their scores, from the answer of Redis. */
export function scored(answer: unknown): [member: string, score: number][] {
  const values = answer as string[];
  return values.flatMap((value, n) => (n % 2 === 0 ? [[value, Number(values[n + 1])]] : []));
}

/** Finds the states of jobs in BullMQ's sets. A job that no longer exists has none. */
export async function findStates(
  { source, keys }: { source: JobSource; keys: KeyNames },
  jobs: readonly JobRef[],
): Promise<(JobState | undefined)[]> {
  const key = ({ queue }: JobRef, type: string): string => keys.ofQueue(queue, type);
  const answers = await source.send(
    jobs.flatMap((job): QueueCommand[] => [
      ...sets.map((set): QueueCommand => [job.queue, 'zscore', key(job, set), job.jobId]),
      // The list of running jobs is short enough to be searched.
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

/** A score of the delayed set is the time multiplied by this number, plus a counter. */
const delayedUnit = 4096;

/** Returns the commands that ask when the delays of jobs end. */
export function delayCommands(keys: KeyNames, jobs: readonly JobNote[]): QueueCommand[] {
  return jobs
    .filter(isDelayed)
    .map(({ queue, jobId }) => [queue, 'zscore', keys.ofQueue(queue, 'delayed'), jobId]);
}

/** Returns when the delays of jobs end, from the answers to {@link delayCommands}. */
export function dueTimes(
  jobs: readonly JobNote[],
  answers: readonly unknown[],
): ReadonlyMap<JobNote, number | undefined> {
  return new Map(jobs.filter(isDelayed).map((job, n) => [job, dueTime(answers[n])]));
}

function isDelayed({ state }: JobNote): boolean {
  return state === 'delayed';
}

/** Returns the time in a score of the delayed set, in Unix milliseconds. */
export function dueTime(score: unknown): number | undefined {
  const time = typeof score === 'string' ? Math.floor(Number(score) / delayedUnit) : Number.NaN;
  return Number.isFinite(time) ? time : undefined;
}

/** Whether the id of a stream entry is greater than another. */
export function isAfter(id: string, other: string): boolean {
  const [[a = 0, n = 0], [b = 0, m = 0]] = [id, other].map((text) =>
    text.split('-').map(Number),
  ) as [number[], number[]];
  return a > b || (a === b && n > m);
}

/** Returns the queue as it is shown. An unknown queue is shown under BullMQ's name. */
export function entryOf(queues: KnownQueues, queue: string): CatalogEntry {
  return queues.get(queue) ?? { queue, label: queue };
}
