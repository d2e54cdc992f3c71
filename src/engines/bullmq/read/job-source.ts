import type { Redis } from 'ioredis';
import { type ChangeNote, type NotedState, notesOfEntry } from '../change-notes.js';
import type { JobState } from '../job-view.js';
import type { EngineKeys } from '../keys.js';
import { jobFields, type TaskJob } from '../task-job.js';
import { jobOfHash } from './stored-jobs.js';

/** Fields of a job's hash that a list shows. `data` and `returnvalue`, which may be large, are not among them. */
export const listFields: readonly string[] = [
  ...['name', 'opts', 'timestamp', 'delay', 'priority', 'processedOn', 'finishedOn', 'atm', 'failedReason', 'progress', 'rjk'],
  ...[jobFields.attempts, jobFields.seriesStart, jobFields.interrupts, jobFields.marker, jobFields.error],
  ...[jobFields.cancelling, jobFields.runAt, jobFields.returned],
];
/** Stands before all entries of a stream. */
const none = '0-0';
/** Longest message of an error that is kept; other programs store messages of any length. */
const longestMessage = 10_000;
/** Stream entries that are read at once. */
const entriesAtOnce = 500;

/** A command of Redis with its arguments. */
export type RedisCommand = [name: string, ...args: (string | number)[]];

/** Where a job is. */
export interface JobRef {
  /** BullMQ's name of the queue. */
  queue: string;
  jobId: string;
}

/** A job that is to be read, with its state. */
type UnreadJob = Omit<ReadJob, 'job' | 'dueAt'>;

/** A job that was read. */
export interface ReadJob extends JobRef {
  /** The state in which it was said to be. */
  state: JobState | 'removed' | 'changed';
  /** None if the job is gone. */
  job: TaskJob | undefined;
  /** Until when it is delayed, Unix milliseconds. */
  dueAt: number | undefined;
}

/** What was read, and what changed until after it was read. */
export interface Answer<T> {
  found: T;
  notes: ChangeNote[];
  /** The stream has more notes than were read. */
  more: boolean;
}

/** The sets of BullMQ, by the time that it takes to ask them. Waiting jobs without a priority are in a list, which may be long. */
const sets = ['completed', 'failed', 'delayed', 'prioritized', 'waiting-children'] as const;

/** Where BullMQ keeps jobs that wait. */
export const waitingSets = [
  { type: 'wait', state: 'waiting', isList: true },
  // Where versions before 6 kept the jobs of a paused queue.
  { type: 'paused', state: 'waiting', isList: true },
  { type: 'prioritized', state: 'waiting', isList: false },
  { type: 'delayed', state: 'delayed', isList: false },
  { type: 'waiting-children', state: 'waiting', isList: false },
] as const;

/** BullMQ's delayed set is sorted by time and a number of 12 bits. */
const delayedUnit = 4096;

/** Reads jobs and the notes of their changes. Commands are sent together, and notes are read after what they may be about. */
export class JobSource {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  /** Id of the last stream entry that was read. */
  #position: string = none;

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Notes from now on. */
  async start(): Promise<void> {
    const [last] = await this.#redis.xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1);
    this.#position = last?.[0] ?? none;
  }

  get position(): string {
    return this.#position;
  }

  /** Whether the stream no longer holds all that follows an entry, or is another one by now. */
  async hasMissed(position: string): Promise<boolean> {
    if (position === none) return false;
    const [[first], [last]] = await Promise.all([
      this.#redis.xrange(this.#keys.changes, '-', '+', 'COUNT', 1),
      this.#redis.xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1),
    ]);
    // After a failover the stream may have lost its last entries.
    return !first || !last || isAfter(first[0], position) || isAfter(position, last[0]);
  }

  /** Sends commands, and reads the notes of what changed until after they were answered. */
  async ask(commands: readonly RedisCommand[]): Promise<Answer<unknown[]>> {
    const notes: RedisCommand = ['xread', 'COUNT', entriesAtOnce, 'STREAMS', this.#keys.changes, this.#position];
    const answers = await this.send([...commands, notes]);
    const stream = answers.pop() as [key: string, entries: [id: string, fields: string[]][]][] | null;
    const entries = stream?.[0]?.[1] ?? [];
    this.#position = entries.at(-1)?.[0] ?? this.#position;
    return { found: answers, notes: entries.flatMap(([, fields]) => notesOfEntry(fields)), more: entries.length === entriesAtOnce };
  }

  /** Sends commands in one go. @throws the first error that Redis answers. */
  async send(commands: readonly RedisCommand[]): Promise<unknown[]> {
    if (commands.length === 0) return [];
    const answers = await this.#redis.pipeline(commands.map((command) => [...command])).exec();
    if (!answers) throw new Error('the pipeline was dropped');
    return answers.map(([error, answer]) => {
      if (error) throw error;
      return answer;
    });
  }

  /** The states of jobs by the sets of BullMQ; nothing for one that is gone. */
  async findStates(jobs: readonly JobRef[]): Promise<(NotedState | undefined)[]> {
    if (jobs.length === 0) return [];
    const key = ({ queue }: JobRef, type: string): string => this.#keys.ofQueue(queue, type);
    const answers = await this.send(
      jobs.flatMap((job): RedisCommand[] => [
        ...sets.map((set): RedisCommand => ['zscore', key(job, set), job.jobId]),
        // As long as workers have slots.
        ['lpos', key(job, 'active'), job.jobId],
        ['exists', key(job, job.jobId)],
      ]),
    );
    const width = sets.length + 2;
    return jobs.map((_, n) => {
      const found = answers.slice(n * width, (n + 1) * width);
      const set = sets.find((_, m) => found[m] !== null);
      if (set) return set === 'completed' || set === 'failed' || set === 'delayed' ? set : 'waiting';
      if (found[sets.length] !== null) return 'active';
      return found[sets.length + 1] === 1 ? 'waiting' : undefined;
    });
  }

  /** Reads what lists show of jobs, and the notes of what changed until after they were read. */
  async read(jobs: readonly UnreadJob[]): Promise<Answer<ReadJob[]>> {
    const { found, ...rest } = await this.ask(this.#readCommands(jobs));
    return { found: readJobs(jobs, found), ...rest };
  }

  /** Reads what lists show of jobs that are not in the window. */
  async peek(jobs: readonly UnreadJob[]): Promise<ReadJob[]> {
    return readJobs(jobs, await this.send(this.#readCommands(jobs)));
  }

  #readCommands(jobs: readonly UnreadJob[]): RedisCommand[] {
    return [
      ...jobs.map(({ queue, jobId }): RedisCommand => ['hmget', this.#keys.ofQueue(queue, jobId), ...listFields]),
      ...jobs.filter(isDelayed).map(({ queue, jobId }): RedisCommand => ['zscore', this.#keys.ofQueue(queue, 'delayed'), jobId]),
    ];
  }
}

function isDelayed({ state }: UnreadJob): boolean {
  return state === 'delayed';
}

function readJobs(jobs: readonly UnreadJob[], answers: readonly unknown[]): ReadJob[] {
  const dueAt = new Map(jobs.filter(isDelayed).map((job, n) => [job, dueTime(answers[jobs.length + n])]));
  return jobs.map((job, n) => ({ ...job, job: jobOfRow(job.jobId, answers[n] as (string | null)[]), dueAt: dueAt.get(job) }));
}

/** The job of the values of those fields; none if it is gone. */
export function jobOfRow(id: string, values: readonly (string | null)[]): TaskJob | undefined {
  const hash: Record<string, string> = {};
  for (const [n, field] of listFields.entries()) {
    const value = values[n];
    if (typeof value === 'string') hash[field] = field === 'failedReason' ? value.slice(0, longestMessage) : value;
  }
  return jobOfHash(id, hash);
}

/** The time of a score of the delayed set. */
export function dueTime(score: unknown): number | undefined {
  const time = typeof score === 'string' ? Math.floor(Number(score) / delayedUnit) : Number.NaN;
  return Number.isFinite(time) ? time : undefined;
}

/** Whether an id of a stream entry is greater than another. */
function isAfter(id: string, other: string): boolean {
  const [[a = 0, n = 0], [b = 0, m = 0]] = [id, other].map((text) => text.split('-').map(Number)) as [number[], number[]];
  return a > b || (a === b && n > m);
}
