import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { send } from '../connection/pipelines.js';
import { notesOfEntry, readersKnownAfter } from '../jobs/change-notes.js';
import { jobFields, type TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import {
  type Answer,
  delayCommands,
  isAfter,
  type JobNote,
  type JobSource,
  type QueueCommand,
  type ReadJob,
  readJobs,
} from './source.js';
import { jobOfRow } from './stored-jobs.js';

/** The fields of a job that lists show, without `data` and `returnvalue`, which may be large. */
export const listFields: readonly string[] = [
  'name',
  'opts',
  'timestamp',
  'delay',
  'priority',
  'processedOn',
  'finishedOn',
  'atm',
  'failedReason',
  'progress',
  'rjk',
  jobFields.attempts,
  jobFields.seriesStart,
  jobFields.interrupts,
  jobFields.marker,
  jobFields.error,
  jobFields.cancelling,
  jobFields.runAt,
  jobFields.returned,
];
/** The position before the first entry of a stream. */
const none = '0-0';
/** Maximum characters that are kept of an error message. */
const longestMessage = 10_000;
/** Maximum number of stream entries per read. */
const entriesAtOnce = 500;

/**
 * Milliseconds after which the mark of a reading process is written again, after which it expires,
 * and that it may take to reach Redis.
 */
const mark = { renewed: 3000, expires: 10_000, margin: 1000 };

/**
 * Reads the jobs of `bullmqEngine` and its change notes. Each method sends one pipeline. While the
 * notes are read regularly, a mark in Redis makes other processes write them.
 */
export class EngineSource implements JobSource {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  /** The id of the last stream entry that was read. */
  #position: string = none;
  #hasMissed = false;
  /** When the mark was written last; milliseconds since this process began. */
  #marked = Number.NEGATIVE_INFINITY;
  /** Whether Redis has refused the last mark. */
  #isRefused = false;
  /** Whether notes may be missing although none was trimmed. */
  #hasGap = false;

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async start(): Promise<void> {
    await this.#mark(performance.now());
    this.#hasGap = false;
    await wait(readersKnownAfter);
    const [last] = await this.#redis.xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1);
    this.#position = last?.[0] ?? none;
    this.#hasMissed = false;
  }

  /** Writes the mark, unless Redis is full. */
  async #mark(now: number): Promise<void> {
    this.#marked = now;
    try {
      await this.#redis.set(this.#keys.reading, '1', 'PX', mark.expires);
      // Other processes may have written no notes since the last mark expired.
      if (this.#isRefused) this.#hasGap = true;
      this.#isRefused = false;
    } catch {
      this.#isRefused = true;
    }
  }

  async hasMissed(): Promise<boolean> {
    return this.#hasMissed || (await this.#isGone(this.#position));
  }

  /** Whether entries after a position were trimmed, or the stream is a different one by now. */
  async #isGone(position: string): Promise<boolean> {
    if (position === none) return false;
    const [[first], [last]] = await Promise.all([
      this.#redis.xrange(this.#keys.changes, '-', '+', 'COUNT', 1),
      this.#redis.xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1),
    ]);
    // After a failover, the stream may have lost its last entries.
    return !first || !last || isAfter(first[0], position) || isAfter(position, last[0]);
  }

  async ask(commands: readonly QueueCommand[]): Promise<Answer<unknown[]>> {
    const before = this.#position;
    const now = performance.now();
    // If this process was blocked for so long, other processes may have written no notes meanwhile.
    if (now - this.#marked > mark.expires - mark.margin) this.#hasGap = true;
    if (this.#isRefused || now - this.#marked > mark.renewed) void this.#mark(now);
    const answers = await send(this.#redis, [
      ...this.#commandsOf(commands),
      ['xread', 'COUNT', entriesAtOnce, 'STREAMS', this.#keys.changes, before],
    ]);
    const stream = answers.pop() as
      | [key: string, entries: [id: string, fields: string[]][]][]
      | null;
    const entries = stream?.[0]?.[1] ?? [];
    this.#position = entries.at(-1)?.[0] ?? before;
    const more = entries.length === entriesAtOnce;
    // A process that is this far behind may have missed entries that were trimmed.
    const missed = this.#hasGap || (more && (await this.#isGone(before)));
    if (missed) this.#hasMissed = true;
    return {
      found: answers,
      notes: entries.flatMap(([, fields]) => notesOfEntry(fields)),
      more,
      missed,
    };
  }

  send(commands: readonly QueueCommand[]): Promise<unknown[]> {
    return send(this.#redis, this.#commandsOf(commands));
  }

  #commandsOf(commands: readonly QueueCommand[]): (string | number)[][] {
    const { ofQueue, marked } = this.#keys;
    return commands.map(([queue, name, key, ...args]) => [
      name,
      typeof key === 'string' ? ofQueue(queue, key) : marked(queue, key.marker),
      ...args,
    ]);
  }

  async read(jobs: readonly JobNote[]): Promise<Answer<ReadJob[]>> {
    const { found, ...rest } = await this.ask(readCommands(jobs));
    return { found: listedJobs(jobs, found), ...rest };
  }

  async peek(jobs: readonly JobNote[]): Promise<ReadJob[]> {
    return listedJobs(jobs, await this.send(readCommands(jobs)));
  }
}

function readCommands(jobs: readonly JobNote[]): QueueCommand[] {
  return [
    ...jobs.map(({ queue, jobId }): QueueCommand => [queue, 'hmget', jobId, ...listFields]),
    ...delayCommands(jobs),
  ];
}

function listedJobs(jobs: readonly JobNote[], answers: readonly unknown[]): ReadJob[] {
  const found = jobs.map(({ jobId }, n) => listedJob(jobId, answers[n] as (string | null)[]));
  return readJobs(jobs, found, answers.slice(jobs.length));
}

/** Builds a job from the values of `listFields`. Returns undefined if the job no longer exists. */
export function listedJob(id: string, values: readonly (string | null)[]): TaskJob | undefined {
  const job = jobOfRow(id, listFields, values);
  if (job) job.json.failedReason = job.json.failedReason.slice(0, longestMessage);
  return job;
}
