import type { JobJson, Queue } from 'bullmq';
import { withinTime } from '../connection/redis-connection.js';
import { isAfter } from '../read/source.js';
import { jobOfHash } from '../read/stored-jobs.js';
import {
  askScript,
  childrenScript,
  eventsScript,
  jobsScript,
  linesScript,
  partsScript,
  type Rejection,
  rejectionsScript,
  schedulersScript,
} from './read-scripts.js';

/** The fields of a job that lists show, each with the maximum bytes that are read of it. */
const listFields = {
  ...{
    name: 1000,
    timestamp: 50,
    delay: 50,
    priority: 50,
    processedOn: 50,
    finishedOn: 50,
    atm: 50,
    ats: 50,
    rjk: 1000,
  },
  ...{ opts: 16_384, progress: 4096, failedReason: 40_000 },
} as const;
/**
 * Maximum bytes of stack traces that are read in full. Of longer ones, only the first lines are
 * read.
 */
const longestTrace = 16_384;
/** The approximate maximum bytes of one script's answer. Further calls read the rest. */
const maxAtOnce = 1_000_000;
/** Maximum number of events and of commands per script call. */
const eventsAtOnce = 500;
const commandsAtOnce = 1000;
/**
 * Maximum bytes that are read of an open job: of its data and its result each, of one log line, and
 * of its log.
 */
const longest = { part: 2 * 1024 * 1024, line: 16_384, log: 2 * 1024 * 1024 };
/** The timeout of one answer, in milliseconds. */
const timeout = 5000;

/** An event about a job, or about the queue if `jobId` is empty. */
export interface QueueEvent {
  event: string;
  jobId: string;
  name?: string;
  failedReason?: string;
  /** When it was sent, by the clock of Redis, in Unix milliseconds. */
  at: number;
}

/** A part of an open job: its text, or its size in bytes if it is too long to be read. */
export interface JobPart {
  text?: string;
  tooLong?: number;
}

/** A job scheduler, without the data of its template. */
export interface SchedulerFields {
  id: string;
  name: string;
  pattern?: string | undefined;
  tz?: string | undefined;
  every?: number | undefined;
  /** The next run, in Unix milliseconds. */
  next: number;
}

const commands = {
  ask: askScript,
  jobs: jobsScript(Object.entries(listFields), longestTrace),
  events: eventsScript(listFields.name, listFields.failedReason),
  parts: partsScript,
  lines: linesScript,
  children: childrenScript,
  schedulers: schedulersScript,
  rejections: rejectionsScript,
};

/** The clients on which the scripts are defined. */
const prepared = new WeakSet<object>();

/**
 * Reads one attached queue with scripts that return only what is shown. The data, the result, the
 * stack traces and the log of a job may have any size, and so may each of BullMQ's events. The
 * scripts run on every client that BullMQ supports, and write nothing.
 */
export class QueueReads {
  readonly queue: Queue;
  /** The prefix of the keys of its jobs. */
  readonly base: string;

  constructor(queue: Queue) {
    this.queue = queue;
    this.base = queue.toKey('');
  }

  #run(
    command: keyof typeof commands,
    key: string,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    return withinTime(this.#send(command, key, args), timeout);
  }

  async #send(
    command: keyof typeof commands,
    key: string,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const client = await this.queue.getBackend().client;
    if (!prepared.has(client)) {
      for (const [name, lua] of Object.entries(commands))
        client.defineCommand(`taskflow:${name}`, { numberOfKeys: 1, lua });
      prepared.add(client);
    }
    return client.runCommand(`taskflow:${command}`, [key, ...args]);
  }

  /** Runs commands that read keys of this queue. Their answers must be short. */
  async ask(asked: readonly (readonly (string | number)[])[]): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (let from = 0; from < asked.length; from += commandsAtOnce) {
      const some = asked.slice(from, from + commandsAtOnce).map((command) => command.map(String));
      answers.push(...((await this.#run('ask', this.base, [JSON.stringify(some)])) as unknown[]));
    }
    return answers;
  }

  /** Reads what lists show of some jobs. Returns `undefined` for a job that no longer exists. */
  async jobs(ids: readonly string[]): Promise<(JobJson | undefined)[]> {
    const jobs: (JobJson | undefined)[] = [];
    while (jobs.length < ids.length) {
      const left = ids.slice(jobs.length);
      const rows = (await this.#run('jobs', this.base, [maxAtOnce, ...left])) as (
        | (string | null)[]
        | null
      )[];
      jobs.push(...rows.map((row, n) => (row ? jobOf(left[n] ?? '', row) : undefined)));
    }
    return jobs;
  }

  /** Returns the id of the newest event, or `0-0` if there is none. */
  async newestEvent(): Promise<string> {
    const [newest] = (await this.#run('events', this.queue.toKey('events'), [
      '',
      0,
      0,
    ])) as string[];
    return newest || '0-0';
  }

  /**
   * Reads the events after an id. `missed`: some of them were trimmed, or the id is newer than all
   * events in this Redis.
   */
  async eventsAfter(
    id: string,
  ): Promise<{ events: QueueEvent[]; last: string; more: boolean; missed: boolean }> {
    const [newest = '', oldest = '', ...rows] = (await this.#run(
      'events',
      this.queue.toKey('events'),
      [id, eventsAtOnce, maxAtOnce],
    )) as [string, string, ...string[][]];
    const isLost = isAfter(id, newest || '0-0');
    const last = rows.at(-1)?.[0] ?? (isLost ? newest || '0-0' : id);
    const missed = isLost || (id !== '0-0' && isAfter(oldest, id));
    return { events: rows.map(eventOf), last, more: rows.length > 0 && last !== newest, missed };
  }

  /** Reads the data, the result and the stack traces of an open job. */
  async parts(id: string): Promise<{ data: JobPart; result: JobPart; stacktrace: JobPart }> {
    const parts = (await this.#run('parts', this.queue.toKey(id), [longest.part])) as (
      | string
      | number
      | null
    )[];
    const [data = {}, result = {}, stacktrace = {}] = parts.map((part): JobPart => {
      if (typeof part === 'number') return { tooLong: part };
      return part === null ? {} : { text: part };
    });
    return { data, result, stacktrace };
  }

  /** Returns the number of lines in the log of a job. */
  async countLines(id: string): Promise<number> {
    const [count] = (await this.#run('lines', this.queue.toKey(`${id}:logs`), [0, 0, 0, 0, 0])) as [
      number,
    ];
    return count;
  }

  /**
   * Reads log lines of a job from index `start` up to, but not including, `end`. If they are too
   * long together, it returns the first of them, or the last of them if `fromEnd` is true.
   */
  async lines(
    id: string,
    start: number,
    end: number,
    fromEnd: boolean,
  ): Promise<{ lines: string[]; first: number }> {
    const args = [start, end, longest.line, longest.log, fromEnd ? 1 : 0];
    const [, ...found] = (await this.#run('lines', this.queue.toKey(`${id}:logs`), args)) as [
      number,
      ...string[],
    ];
    return fromEnd
      ? { lines: found.reverse(), first: end - found.length }
      : { lines: found, first: start };
  }

  /** Returns the key of a job's parent. */
  async parentOf(id: string): Promise<string | undefined> {
    const client = await this.queue.getBackend().client;
    return (await withinTime(client.hget(this.queue.toKey(id), 'parentKey'), timeout)) ?? undefined;
  }

  /** Returns the keys of some of a job's children, and how many children it has. */
  async children(id: string, limit: number): Promise<{ keys: string[]; total: number }> {
    const [total, ...keys] = (await this.#run('children', this.queue.toKey(id), [limit])) as [
      number,
      ...string[],
    ];
    return { keys, total };
  }

  /** Reads the job schedulers that fire next. */
  async schedulers(limit: number): Promise<SchedulerFields[]> {
    const rows = (await this.#run('schedulers', this.queue.toKey('repeat'), [limit])) as (
      | string
      | null
    )[][];
    return rows.map(([id, next, name, pattern, tz, every]) => ({
      ...{ id: id ?? '', name: name ?? '', next: Number(next) },
      ...{
        pattern: pattern ?? undefined,
        tz: tz ?? undefined,
        every: every ? Number(every) : undefined,
      },
    }));
  }

  /** Returns why BullMQ would reject an action on each of some jobs. */
  async rejections(action: string, ids: readonly string[]): Promise<Rejection[]> {
    return (await this.#run('rejections', this.base, [action, ...ids])) as Rejection[];
  }
}

const names = [...Object.keys(listFields), 'stacktrace'];

function jobOf(id: string, row: readonly (string | null)[]): JobJson | undefined {
  const hash: Record<string, string> = {};
  for (const [n, name] of names.entries()) {
    const value = row[n];
    if (typeof value === 'string') hash[name] = value;
  }
  // The hash of a job scheduler has a name too, but no timestamp.
  return hash.timestamp === undefined ? undefined : jobOfHash(id, hash)?.json;
}

function eventOf([
  id = '',
  event = '',
  jobId = '',
  name = '',
  failedReason = '',
]: readonly string[]): QueueEvent {
  return {
    ...{ event, jobId, at: Number(id.slice(0, id.indexOf('-'))) },
    ...(name !== '' && { name }),
    ...(failedReason !== '' && { failedReason }),
  };
}
