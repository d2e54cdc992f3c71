import { waitUnref } from '../../../waiting.js';
import type { JobState } from '../jobs/job-view.js';
import { type EndedGroup, endedGroups, type Group, isEndedGroup } from './groups.js';
import { maxRunning } from './queue-facts.js';
import { type QueueCommand, rangeCommand, scored, waitingSets } from './source.js';
import type { ModelDeps } from './window-feed.js';

/**
 * Numbers of jobs. The first read takes `first` divided by the number of queues from each set, but
 * at least `least` and at most `most`. Each later step takes `step`.
 */
const chunk = { first: 1200, least: 20, most: 100, step: 250 };

/** A set or list of BullMQ, and how far it has been read. */
interface Cursor {
  readonly queue: string;
  readonly type: string;
  readonly state: JobState;
  readonly isList: boolean;
  readonly group: Group;
  /** How many jobs to skip: from the start, or for ended jobs, from the first one at `score`. */
  offset: number;
  /** When the last job that was read ended. */
  score: number;
  /** How many more jobs may be read. */
  left: number;
  done: boolean;
}

const lists: readonly Pick<Cursor, 'type' | 'state' | 'group' | 'isList'>[] = [
  { type: 'active', state: 'active', group: 'running', isList: true },
  ...waitingSets.map((set) => ({ ...set, group: 'pending' as const })),
  ...endedGroups.map((group) => ({ type: group, state: group, group, isList: false })),
];

/**
 * Fills a new window from Redis. It first reads some jobs of each set, so that the first page can
 * be shown, then the rest in steps with pauses between them. Ended jobs are read newest first.
 */
export class Backfill {
  readonly #deps: ModelDeps;
  readonly #cursors: Cursor[] = [];
  readonly #queues = new Set<string>();
  #closed = false;

  constructor(deps: ModelDeps) {
    this.#deps = deps;
  }

  close(): void {
    this.#closed = true;
  }

  /** Reads the first jobs of the known queues that have not been read yet. */
  async begin(): Promise<void> {
    const { catalog, feed } = this.#deps;
    const fresh = catalog.all().filter(({ queue }) => !this.#queues.has(queue));
    if (fresh.length === 0) return;
    const share = Math.floor(chunk.first / fresh.length);
    const size = Math.max(chunk.least, Math.min(chunk.most, share));
    const cursors = fresh.flatMap(({ queue }) =>
      lists.map((list): Cursor => ({ ...list, queue, ...this.#start() })),
    );
    await feed.inTurn(() => this.#read(cursors, size));
    this.#cursors.push(...cursors);
    for (const { queue } of fresh) this.#queues.add(queue);
  }

  /** Makes `rest` read the ended jobs of a queue again, newest first, because some are missing. */
  again(queue: string, group: EndedGroup): void {
    for (const cursor of this.#cursors)
      if (cursor.queue === queue && cursor.group === group) Object.assign(cursor, this.#start());
  }

  #start(): Pick<Cursor, 'offset' | 'score' | 'left' | 'done'> {
    const { history = Number.POSITIVE_INFINITY } = this.#deps.limits;
    return { offset: 0, score: Number.POSITIVE_INFINITY, left: history, done: false };
  }

  /** Whether there are more jobs to read that fit into the window. */
  get hasMore(): boolean {
    return !this.#closed && this.#next() !== undefined;
  }

  /** Reads the rest, as far as it fits into the window. */
  async rest(): Promise<void> {
    for (let cursor = this.#next(); cursor && !this.#closed; cursor = this.#next()) {
      const one = cursor;
      const began = performance.now();
      await this.#deps.feed.inTurn(() => this.#read([one], chunk.step));
      // The pause is as long as the step, so half of the time is left for the rest of the process.
      await waitUnref(performance.now() - began);
    }
  }

  /**
   * Returns the set to read next: a set of waiting or running jobs, or else the set of ended jobs
   * that was read least far back.
   */
  #next(): Cursor | undefined {
    const left = this.#cursors.filter((cursor) => !cursor.done && this.#hasRoom(cursor));
    return (
      left.find(({ group }) => !isEndedGroup(group)) ?? left.sort((a, b) => b.score - a.score)[0]
    );
  }

  /**
   * Whether there is room for more jobs of a set. A full window still takes ended jobs if their
   * group is the smaller one, or if they ended after the oldest task of their group.
   */
  #hasRoom({ group, score, left }: Cursor): boolean {
    const { window, limits } = this.#deps;
    if (group === 'running') return true;
    if (group === 'pending') return window.size('pending') < limits.pending;
    if (left <= 0) return false;
    const own = window.size(group);
    const other = window.size(group === 'failed' ? 'completed' : 'failed');
    return own + other < limits.ended || own < other || score > (window.ends.oldest(group) ?? 0);
  }

  async #read(cursors: readonly Cursor[], size: number): Promise<void> {
    const { feed } = this.#deps;
    // After an error, the same jobs are read again, so the cursors move when the jobs are stored.
    const moved = cursors.map((cursor) => ({ ...cursor }));
    const found = await feed.ask(moved.map((cursor) => commandOf(cursor, size)));
    const jobs = moved.flatMap((cursor, n) => {
      const { queue, state } = cursor;
      return advance(cursor, found[n], size).map((jobId) => ({ queue, jobId, state }));
    });
    // This comes before `fill`, because `fill` may make the window leave out some of the jobs
    // again.
    const all = [...moved, ...this.#cursors.filter((cursor) => !cursors.includes(cursor))];
    for (const { queue, group, score } of moved) {
      const isWhole = all.every(
        (each) => each.done || each.queue !== queue || each.group !== group,
      );
      feed.setWhole(queue, group, isWhole ? undefined : score);
    }
    await feed.fill(jobs);
    for (const [n, cursor] of cursors.entries()) Object.assign(cursor, moved[n]);
  }
}

function commandOf(cursor: Cursor, size: number): QueueCommand {
  const { queue, type, group, offset, score } = cursor;
  const n = sizeOf(cursor, size);
  if (!isEndedGroup(group)) return rangeCommand(queue, cursor, offset, n);
  const from = score === Number.POSITIVE_INFINITY ? '+inf' : score;
  return [queue, 'zrevrangebyscore', type, from, '-inf', 'WITHSCORES', 'LIMIT', offset, n];
}

/**
 * Returns how many jobs to request. For ended jobs, one extra job is requested: it shows whether
 * there are more, and since when the window has all ended jobs.
 */
function sizeOf({ group, left }: Cursor, size: number): number {
  if (group === 'running') return maxRunning;
  return isEndedGroup(group) ? Math.min(size, left + 1) : size;
}

/** Moves a cursor past an answer. Returns the ids in it that may be read. */
function advance(cursor: Cursor, answer: unknown, size: number): string[] {
  const asked = sizeOf(cursor, size);
  if (!isEndedGroup(cursor.group)) {
    const ids = answer as string[];
    cursor.offset += ids.length;
    cursor.done = cursor.group === 'running' || ids.length < asked;
    return ids;
  }
  const ended = scored(answer);
  for (const [, score] of ended) {
    // Several jobs may have ended in the same millisecond.
    if (score === cursor.score) cursor.offset += 1;
    else [cursor.score, cursor.offset] = [score, 1];
  }
  const wanted = ended.slice(0, cursor.left);
  cursor.done = ended.length < asked;
  cursor.left -= ended.length;
  return wanted.map(([jobId]) => jobId);
}
