import type { NotedState } from '../jobs/change-notes.js';
import type { JobRef } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { Marker } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import type { JobHint } from './job-hint.js';

/** The queues that are shown. */
export interface KnownQueues extends Pick<QueueCatalog, 'all' | 'get' | 'covered'> {
  refresh(): Promise<unknown>;
}

/** A key of a queue: BullMQ's name of a set or list, the id of a job, or the jobs with a marker. */
export type QueueKey = string | { marker: Marker };

/** A command of Redis about one key of a queue. */
export type QueueCommand = [
  ...[queue: string, name: string, key: QueueKey],
  ...args: (string | number)[],
];

/**
 * What a note says about a job: its state, that it was removed or changed, or nothing (`unknown`).
 * If it says nothing, the state is read from BullMQ's sets.
 */
export type KnownState = NotedState | JobState | 'unknown';

/** A job with what a note or a set says about it. */
export interface JobNote extends JobRef {
  state: KnownState;
  hint?: JobHint | undefined;
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

/** Finds the states of jobs in BullMQ's sets. A job that no longer exists is `removed`. */
export async function findStates(source: JobSource, jobs: readonly JobRef[]): Promise<JobNote[]> {
  const answers = await source.send(
    jobs.flatMap(({ queue, jobId }): QueueCommand[] => [
      ...sets.map((set): QueueCommand => [queue, 'zscore', set, jobId]),
      // The list of running jobs is short enough to be searched.
      [queue, 'lpos', 'active', jobId],
      [queue, 'exists', jobId],
    ]),
  );
  return byItem(jobs, answers).map(([job, found]) => ({ ...job, state: stateOf(found) }));
}

function stateOf(found: readonly unknown[]): KnownState {
  const set = sets.find((_, n) => found[n] !== null);
  if (set) return set;
  const [position, exists] = found.slice(sets.length);
  if (position !== null) return 'active';
  return exists === 1 ? 'waiting' : 'removed';
}

/** Returns each item with its answers, if the same number of questions was asked about each. */
export function byItem<I, A>(items: readonly I[], answers: readonly A[]): [I, A[]][] {
  const size = answers.length / items.length;
  return items.map((item, n) => [item, answers.slice(n * size, (n + 1) * size)]);
}

/** Returns the command that reads some jobs of a set or list, `n` of them from an index on. */
export function rangeCommand(
  queue: string,
  { type, isList }: { type: string; isList: boolean },
  start: number,
  n: number,
): QueueCommand {
  return [queue, isList ? 'lrange' : 'zrange', type, start, start + n - 1];
}

/** A score of the delayed set is the time multiplied by this number, plus a counter. */
const delayedUnit = 4096;

/** Returns the commands that ask when the delays of jobs end. */
export function delayCommands(jobs: readonly JobNote[]): QueueCommand[] {
  return jobs
    .filter(({ state }) => state === 'delayed')
    .map(({ queue, jobId }) => [queue, 'zscore', 'delayed', jobId]);
}

/** Returns what was read of jobs. `delays`: the answers to {@link delayCommands}. */
export function readJobs(
  jobs: readonly JobNote[],
  found: readonly (TaskJob | undefined)[],
  delays: unknown[],
): ReadJob[] {
  return jobs.map((note, n) => ({
    ...note,
    job: found[n],
    dueAt: note.state === 'delayed' ? dueTime(delays.shift()) : undefined,
  }));
}

/** Returns the time in a score of the delayed set, in Unix milliseconds. */
export function dueTime(score: unknown): number | undefined {
  const time = typeof score === 'string' ? Math.floor(Number(score) / delayedUnit) : Number.NaN;
  return Number.isFinite(time) ? time : undefined;
}

/** Returns the queue as it is shown. An unknown queue is shown under BullMQ's name. */
export function entryOf(queues: KnownQueues, queue: string): CatalogEntry {
  return queues.get(queue) ?? { queue, label: queue };
}

/** Whether the id of a stream entry is greater than another. */
export function isAfter(id: string, other: string): boolean {
  const [a = 0, n = 0] = id.split('-').map(Number);
  const [b = 0, m = 0] = other.split('-').map(Number);
  return a > b || (a === b && n > m);
}
