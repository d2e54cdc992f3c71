import type { JobJson, Queue } from 'bullmq';
import { withinTime } from '../connection/redis-connection.js';
import { isAfter } from '../read/source.js';
import { jobOfRow } from '../read/stored-jobs.js';
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
  name: 1000,
  timestamp: 50,
  delay: 50,
  priority: 50,
  processedOn: 50,
  finishedOn: 50,
  atm: 50,
  ats: 50,
  rjk: 1000,
  opts: 16_384,
  progress: 4096,
  failedReason: 40_000,
};
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
  /** Name and failure of the job. Empty if the event does not have them. */
  name: string;
  failedReason: string;
  /** When it was sent, by the clock of Redis, in Unix milliseconds. */
  at: number;
}

/** An event as the script returns it. */
type EventRow = [id: string, event: string, jobId: string, name: string, failedReason: string];

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

/** A job scheduler as the script returns it. */
type SchedulerRow = [
  id: string,
  next: string,
  name: string,
  pattern: string | null,
  tz: string | null,
  every: string | null,
];

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

  /** Runs a script on a key of the queue. The caller declares what the script returns. */
  #run<T>(
    command: keyof typeof commands,
    type: string,
    ...args: readonly (string | number)[]
  ): Promise<T> {
    const send = async (): Promise<T> => {
      const client = await this.queue.getBackend().client;
      if (!prepared.has(client)) {
        for (const [name, lua] of Object.entries(commands))
          client.defineCommand(`taskflow:${name}`, { numberOfKeys: 1, lua });
        prepared.add(client);
      }
      return client.runCommand(`taskflow:${command}`, [this.queue.toKey(type), ...args]);
    };
    return withinTime(send(), timeout);
  }

  /** Runs commands that read keys of this queue. Their answers must be short. */
  async ask(asked: readonly (readonly (string | number)[])[]): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (let from = 0; from < asked.length; from += commandsAtOnce) {
      const some = asked.slice(from, from + commandsAtOnce).map((command) => command.map(String));
      answers.push(...(await this.#run<unknown[]>('ask', '', JSON.stringify(some))));
    }
    return answers;
  }

  /** Reads what lists show of some jobs. Returns `undefined` for a job that no longer exists. */
  async jobs(ids: readonly string[]): Promise<(JobJson | undefined)[]> {
    const jobs: (JobJson | undefined)[] = [];
    while (jobs.length < ids.length) {
      const left = ids.slice(jobs.length);
      const rows = await this.#run<((string | null)[] | null)[]>('jobs', '', maxAtOnce, ...left);
      jobs.push(...rows.map((row, n) => (row ? jobOf(left[n] ?? '', row) : undefined)));
    }
    return jobs;
  }

  /** Returns the id of the newest event, or `0-0` if there is none. */
  async newestEvent(): Promise<string> {
    const [newest] = await this.#run<string[]>('events', 'events', '', 0, 0);
    return newest || '0-0';
  }

  /**
   * Reads the events after an id. `missed`: some of them were trimmed, or the id is newer than all
   * events in this Redis.
   */
  async eventsAfter(
    id: string,
  ): Promise<{ events: QueueEvent[]; last: string; more: boolean; missed: boolean }> {
    const [found, oldest, ...rows] = await this.#run<[string, string, ...EventRow[]]>(
      'events',
      'events',
      id,
      eventsAtOnce,
      maxAtOnce,
    );
    const newest = found || '0-0';
    const isLost = isAfter(id, newest);
    const last = rows.at(-1)?.[0] ?? (isLost ? newest : id);
    const missed = isLost || (id !== '0-0' && isAfter(oldest, id));
    return { events: rows.map(eventOf), last, more: rows.length > 0 && last !== newest, missed };
  }

  /** Reads the data, the result and the stack traces of an open job. */
  async parts(id: string): Promise<{ data: JobPart; result: JobPart; stacktrace: JobPart }> {
    const parts = await this.#run<(string | number | null)[]>('parts', id, longest.part);
    const [data = {}, result = {}, stacktrace = {}] = parts.map((part): JobPart => {
      if (typeof part === 'number') return { tooLong: part };
      return part === null ? {} : { text: part };
    });
    return { data, result, stacktrace };
  }

  /** Returns the number of lines in the log of a job. */
  async countLines(id: string): Promise<number> {
    const [count] = await this.#run<[number]>('lines', `${id}:logs`, 0, 0, 0, 0, 0);
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
    const [, ...found] = await this.#run<[number, ...string[]]>('lines', `${id}:logs`, ...args);
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
    const [total, ...keys] = await this.#run<[number, ...string[]]>('children', id, limit);
    return { keys, total };
  }

  /** Reads the job schedulers that fire next. */
  async schedulers(limit: number): Promise<SchedulerFields[]> {
    const rows = await this.#run<SchedulerRow[]>('schedulers', 'repeat', limit);
    return rows.map(([id, next, name, pattern, tz, every]) => ({
      id,
      name,
      next: Number(next),
      pattern: pattern ?? undefined,
      tz: tz ?? undefined,
      every: every ? Number(every) : undefined,
    }));
  }

  /** Returns why BullMQ would reject an action on each of some jobs. */
  rejections(action: string, ids: readonly string[]): Promise<Rejection[]> {
    return this.#run('rejections', '', action, ...ids);
  }
}

const names = [...Object.keys(listFields), 'stacktrace'];

function jobOf(id: string, row: readonly (string | null)[]): JobJson | undefined {
  const job = jobOfRow(id, names, row);
  // The hash of a job scheduler has a name too, but no timestamp.
  return job?.fields.timestamp === undefined ? undefined : job.json;
}

function eventOf([id, event, jobId, name, failedReason]: EventRow): QueueEvent {
  return { event, jobId, name, failedReason, at: Number.parseInt(id, 10) };
}
