import type { ChainableCommander, Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import { type JobRef, keyOf, partsOf } from './job-ids.js';

const notedStates = [
  'waiting',
  'delayed',
  'active',
  'completed',
  'failed',
  'removed',
  'changed',
] as const;

/** The state of a job in a note: BullMQ's name of it, or that the job was removed or changed. */
export type NotedState = (typeof notedStates)[number];

/** A job that changed. The state `changed` means that its state is the same as before. */
export interface ChangeNote extends JobRef {
  state: NotedState;
}

/** The commands of a transaction that notes need. */
export type Transaction = Pick<ChainableCommander, 'xadd' | 'zadd' | 'zrem' | 'hset' | 'hdel'>;

/**
 * Milliseconds for which a process writes no notes after it has asked whether any process reads
 * them.
 */
const unreadFor = 50;
/**
 * Milliseconds after which a process that begins to read gets a note of each change. It is longer
 * than `unreadFor`, because a change that was sent without a note takes time to reach Redis.
 */
export const readersKnownAfter = 75;

/** Minimum number of entries that are kept. A reader that is further behind reads the queues. */
export const keptEntries = 10_000;
/** Maximum number of jobs per entry. */
const jobsOfEntry = 100;

/**
 * Tells reading processes which jobs have changed. BullMQ's own events are not used, because each
 * `completed` event carries the whole result. The stream holds only keys of jobs. A reader
 * reads the fields that it shows, and only of the jobs that it shows.
 *
 * While no process reads, this class leaves out the notes that are not part of a transaction,
 * because a note costs a fast producer a quarter of its rate.
 */
export class ChangeNotes {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  /** When this process last asked whether any process reads; milliseconds since it began. */
  #asked = Number.NEGATIVE_INFINITY;
  /** Whether the answer was that none does. */
  #isUnread = false;
  /** The notes that are not sent yet, by job, in the order of the last change. */
  #waiting = new Map<string, ChangeNote>();

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Adds notes to a transaction, after the pending ones. They are written only if it succeeds. */
  addTo(transaction: Transaction, notes: readonly ChangeNote[]): void {
    this.flush();
    for (const fields of entriesOf(notes))
      transaction.xadd(this.#keys.changes, 'MAXLEN', '~', keptEntries, '*', ...fields);
  }

  /**
   * Sends a note soon, together with other notes of the same turn of the event loop, if a process
   * may read it. If it is lost, readers notice the change a little later.
   */
  soon(note: ChangeNote): void {
    if (note.state !== 'changed' && !this.#mayBeRead()) return;
    // If this is called before a command, the notes are part of the same write to the socket.
    if (this.#waiting.size === 0) process.nextTick(() => this.flush());
    const key = keyOf(note.queue, note.jobId);
    // Only the last state matters.
    const before = note.state === 'changed' ? this.#waiting.get(key) : undefined;
    this.#waiting.delete(key);
    this.#waiting.set(key, before ?? note);
  }

  /**
   * Whether a process may read notes. Asks Redis at most every 50 ms, and assumes that one may
   * until Redis answers.
   */
  #mayBeRead(): boolean {
    const now = performance.now();
    if (now - this.#asked < unreadFor) return !this.#isUnread;
    this.#asked = now;
    this.#isUnread = false;
    this.#redis.get(this.#keys.reading).then(
      (mark) => {
        // A late answer says nothing about now.
        if (this.#asked === now) this.#isUnread = mark === null;
      },
      () => undefined,
    );
    return true;
  }

  flush(): void {
    if (this.#waiting.size === 0) return;
    const entries = entriesOf([...this.#waiting.values()]);
    // A new Map instead of `clear()`, for the reason that `TurnoverMap` gives.
    this.#waiting = new Map();
    for (const fields of entries)
      this.#redis
        .xadd(this.#keys.changes, 'MAXLEN', '~', keptEntries, '*', ...fields)
        .catch(() => undefined);
  }
}

/**
 * Converts notes to the fields of stream entries: a state, then the keys of its jobs as an array in
 * JSON. A field for each job would cost ioredis more than the rest of the note.
 */
function entriesOf(notes: readonly ChangeNote[]): string[][] {
  const entries: string[][] = [];
  for (let from = 0; from < notes.length; from += jobsOfEntry) {
    const jobs = new Map<NotedState, string[]>();
    for (const { queue, jobId, state } of notes.slice(from, from + jobsOfEntry)) {
      const keys = jobs.get(state) ?? [];
      jobs.set(state, keys);
      keys.push(keyOf(queue, jobId));
    }
    entries.push([...jobs].flatMap(([state, keys]) => [state, JSON.stringify(keys)]));
  }
  return entries;
}

/** Returns the notes of a stream entry. Fields of another form are skipped. */
export function notesOfEntry(fields: readonly string[]): ChangeNote[] {
  const notes: ChangeNote[] = [];
  for (let n = 0; n + 1 < fields.length; n += 2) {
    const state = fields[n];
    if (!isNotedState(state)) continue;
    for (const key of keysOf(fields[n + 1])) {
      const job = partsOf(key);
      if (job.queue !== '') notes.push({ state, ...job });
    }
  }
  return notes;
}

function keysOf(text = ''): string[] {
  try {
    const keys: unknown = JSON.parse(text);
    return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : [];
  } catch {
    return [];
  }
}

function isNotedState(text: string | undefined): text is NotedState {
  return (notedStates as readonly (string | undefined)[]).includes(text);
}
