import { setTimeout as wait } from 'node:timers/promises';
import type { JobState } from '../job-view.js';
import type { Group } from './groups.js';
import { type JobSource, type KeyNames, type QueueCommand, waitingSets } from './source.js';
import type { Window } from './window.js';
import type { WindowFeed, WindowLimits } from './window-feed.js';

/** Jobs of each set that are read before the first answer, of all queues about, and of each at least; then those of one step. */
const chunk = { first: 1200, least: 20, most: 100, step: 250 };
/** Running jobs of a queue that are read: as many as there are slots. */
const mostRunning = 10_000;

/** A set or list of BullMQ, and how far it is read. */
interface Cursor {
  readonly queue: string;
  readonly type: string;
  readonly state: JobState;
  readonly isList: boolean;
  readonly group: Group;
  /** Jobs that are passed, of all or of those that ended at `score`. */
  offset: number;
  /** When the last job that was read ended. */
  score: number;
  /** Jobs that may still be read. */
  left: number;
  done: boolean;
}

const lists: readonly Pick<Cursor, 'type' | 'state' | 'group' | 'isList'>[] = [
  { type: 'active', state: 'active', group: 'running', isList: true },
  ...waitingSets.map((set) => ({ ...set, group: 'pending' as const })),
  { type: 'completed', state: 'completed', group: 'completed', isList: false },
  { type: 'failed', state: 'failed', group: 'failed', isList: false },
];

interface BackfillParts {
  source: JobSource;
  feed: WindowFeed;
  window: Window;
  keys: KeyNames;
  limits: WindowLimits;
}

/**
 * Fills a window with what is in Redis when it is opened: first some of each set, so that the first page can be shown, then the
 * rest in steps with pauses between them. What ended last comes first.
 */
export class Backfill {
  readonly #parts: BackfillParts;
  readonly #cursors: Cursor[] = [];
  readonly #queues = new Set<string>();
  #closed = false;

  constructor(parts: BackfillParts) {
    this.#parts = parts;
  }

  close(): void {
    this.#closed = true;
  }

  /** Reads the first jobs of queues that were not read yet. */
  async begin(queues: readonly string[]): Promise<void> {
    const fresh = queues.filter((queue) => !this.#queues.has(queue));
    if (fresh.length === 0) return;
    const size = Math.max(chunk.least, Math.min(chunk.most, Math.floor(chunk.first / fresh.length)));
    const { feed } = this.#parts;
    const cursors = fresh.flatMap((queue) => lists.map((list): Cursor => ({ ...list, queue, ...this.#start() })));
    await feed.inTurn(() => this.#read(cursors, size));
    this.#cursors.push(...cursors);
    for (const queue of fresh) this.#queues.add(queue);
  }

  /** Makes `rest` read the ended jobs of a queue again, from the newest one on, because some are missing. */
  again(queue: string, group: 'completed' | 'failed'): void {
    for (const cursor of this.#cursors) if (cursor.queue === queue && cursor.group === group) Object.assign(cursor, this.#start());
  }

  #start(): Pick<Cursor, 'offset' | 'score' | 'left' | 'done'> {
    const { history = Number.POSITIVE_INFINITY } = this.#parts.limits;
    return { offset: 0, score: Number.POSITIVE_INFINITY, left: history, done: false };
  }

  /** Whether there is more to read that the window can hold. */
  get hasMore(): boolean {
    return !this.#closed && this.#next() !== undefined;
  }

  /** Reads the rest, as much as the window may hold. */
  async rest(): Promise<void> {
    for (let cursor = this.#next(); cursor && !this.#closed; cursor = this.#next()) {
      const one = cursor;
      const began = performance.now();
      await this.#parts.feed.inTurn(() => this.#read([one], chunk.step));
      // Half of the time is left to everything else in the process.
      await wait(performance.now() - began, undefined, { ref: false });
    }
  }

  /** The set to go on with: what has not ended, then what ended last. */
  #next(): Cursor | undefined {
    const left = this.#cursors.filter((cursor) => !cursor.done && this.#hasRoom(cursor));
    return left.find(({ group }) => group === 'pending' || group === 'running') ?? left.sort((a, b) => b.score - a.score)[0];
  }

  /** A full window has room for what ended after its oldest task. */
  #hasRoom({ group, score, left }: Cursor): boolean {
    const { window, limits } = this.#parts;
    if (group === 'running') return true;
    if (group === 'pending') return window.size('pending') < limits.pending;
    if (left <= 0) return false;
    const [own, other] = [window.size(group), window.size(group === 'failed' ? 'completed' : 'failed')];
    return own + other < limits.ended || own < other || score > (window.ends.oldest(group) ?? 0);
  }

  async #read(cursors: readonly Cursor[], size: number): Promise<void> {
    const { source, feed } = this.#parts;
    const before = cursors.map((cursor) => ({ ...cursor }));
    try {
      const { found, notes } = await source.ask(cursors.map((cursor) => this.#command(cursor, size)));
      feed.note(notes);
      const jobs = cursors.flatMap((cursor, n) => {
        const asked = sizeOf(cursor, size);
        const ids = idsOf(cursor, found[n]);
        cursor.done = cursor.group === 'running' || ids.length < asked;
        const wanted = isEnded(cursor) ? ids.slice(0, Math.max(0, cursor.left)) : ids;
        if (isEnded(cursor)) cursor.left -= ids.length;
        return wanted.map((jobId) => ({ queue: cursor.queue, jobId, state: cursor.state }));
      });
      // First, because the window may leave some of them out again.
      const all = [...new Set([...this.#cursors, ...cursors])];
      for (const { queue, group, score } of cursors) {
        const isWhole = all.every((each) => each.done || each.queue !== queue || each.group !== group);
        feed.setWhole(queue, group, isWhole ? undefined : score);
      }
      await feed.fill(jobs);
    } catch (error) {
      for (const [n, cursor] of cursors.entries()) Object.assign(cursor, before[n]);
      throw error;
    }
  }

  #command(cursor: Cursor, size: number): QueueCommand {
    const { queue, type, group, isList, offset, score } = cursor;
    const key = this.#parts.keys.ofQueue(queue, type);
    if (group === 'running') return [queue, 'lrange', key, 0, mostRunning - 1];
    if (isList) return [queue, 'lrange', key, offset, offset + size - 1];
    if (group === 'pending') return [queue, 'zrange', key, offset, offset + size - 1];
    const from = score === Number.POSITIVE_INFINITY ? '+inf' : score;
    return [queue, 'zrevrangebyscore', key, from, '-inf', 'WITHSCORES', 'LIMIT', offset, sizeOf(cursor, size)];
  }
}

function isEnded({ group }: Cursor): boolean {
  return group === 'completed' || group === 'failed';
}

/** How many jobs are asked for: one more than may be read, which tells whether there are more, and what the window has. */
function sizeOf(cursor: Cursor, size: number): number {
  return isEnded(cursor) ? Math.min(size, cursor.left + 1) : size;
}

/** The ids that a command answered. Moves the cursor behind them. */
function idsOf(cursor: Cursor, answer: unknown): string[] {
  const values = answer as string[];
  if (!isEnded(cursor)) {
    cursor.offset += values.length;
    return values;
  }
  const ids: string[] = [];
  for (let n = 0; n + 1 < values.length; n += 2) {
    ids.push(values[n] ?? '');
    const score = Number(values[n + 1]);
    // Several jobs may have ended in the same millisecond.
    if (score === cursor.score) cursor.offset += 1;
    else [cursor.score, cursor.offset] = [score, 1];
  }
  return ids;
}
