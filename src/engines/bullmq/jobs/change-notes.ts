import type { ChainableCommander, Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import { type JobRef, keyOf, partsOf } from './job-ids.js';

/** The state of a job in a note: BullMQ's name of it, or that the job was removed. */
export type NotedState = 'waiting' | 'delayed' | 'active' | 'completed' | 'failed' | 'removed' | 'changed';

/** A job that changed. The state `changed` means that its state is the same as before. */
export interface ChangeNote extends JobRef {
  state: NotedState;
}

/** The commands of a transaction that notes need. */
export type Transaction = Pick<ChainableCommander, 'xadd' | 'zadd' | 'zrem' | 'hset' | 'hdel'>;

/** Entries of the stream that are kept at least; a reader that is further behind reads the queues again. */
export const keptEntries = 10_000;
/** Jobs of one entry. */
const jobsOfEntry = 100;

/**
 * Tells processes that read which jobs changed. BullMQ's own events would do, but each `completed` event carries the whole
 * result. The stream holds names alone: a reader reads what it shows, and only of jobs that it shows.
 */
export class ChangeNotes {
  readonly #redis: Redis;
  readonly #key: string;
  /** By queue and id, in the order of the last change. */
  #waiting = new Map<string, ChangeNote>();

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#key = keys.changes;
  }

  /** Adds notes to a transaction, so that they are written only if it succeeds. Pending notes are sent first. */
  addTo(transaction: Transaction, notes: readonly ChangeNote[]): void {
    this.flush();
    for (const fields of entriesOf(notes)) transaction.xadd(this.#key, 'MAXLEN', '~', keptEntries, '*', ...fields);
  }

  /** Tells of a job soon, with others of the same turn of the event loop. A note that is lost shows a little later. */
  soon(note: ChangeNote): void {
    // Before the write of this turn ends, if this is called before a command.
    if (this.#waiting.size === 0) process.nextTick(() => this.flush());
    const key = keyOf(note.queue, note.jobId);
    // The last state is enough.
    this.#waiting.delete(key);
    this.#waiting.set(key, note);
  }

  flush(): void {
    if (this.#waiting.size === 0) return;
    const entries = entriesOf([...this.#waiting.values()]);
    this.#waiting.clear();
    for (const fields of entries) this.#redis.xadd(this.#key, 'MAXLEN', '~', keptEntries, '*', ...fields).catch(() => undefined);
  }
}

/** Notes as the fields of stream entries: the state, then the queue and the id. */
function entriesOf(notes: readonly ChangeNote[]): string[][] {
  const entries: string[][] = [];
  for (let from = 0; from < notes.length; from += jobsOfEntry)
    entries.push(notes.slice(from, from + jobsOfEntry).flatMap(({ queue, jobId, state }) => [state, keyOf(queue, jobId)]));
  return entries;
}

/** The notes of a stream entry. Fields of another shape are skipped. */
export function notesOfEntry(fields: readonly string[]): ChangeNote[] {
  const notes: ChangeNote[] = [];
  for (let n = 0; n + 1 < fields.length; n += 2) {
    const [state, job] = [fields[n], partsOf(fields[n + 1] ?? '')];
    if (job.queue !== '' && isNotedState(state)) notes.push({ state, ...job });
  }
  return notes;
}

const states: readonly NotedState[] = ['waiting', 'delayed', 'active', 'completed', 'failed', 'removed', 'changed'];

function isNotedState(text: string | undefined): text is NotedState {
  return (states as readonly (string | undefined)[]).includes(text);
}
