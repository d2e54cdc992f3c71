import type { TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import { isEnded } from '../../../tasks/states.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { readPosition, writePosition } from '../../tables/read/position.js';
import { idOf } from '../../tables/schema/rows.js';
import { isOwnId, type JobRef, keyOf, partsOf } from '../jobs/job-ids.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { isOfSets } from './counts.js';
import { groupOf, isEndedGroup } from './groups.js';
import type { RowIds } from './row-ids.js';
import { type QueueCommand, scored } from './source.js';
import type { ModelDeps } from './window-feed.js';
import { shownJob } from './window-task.js';

/** A position in the sets. Redis sorts jobs with the same end time by their ids. */
interface Place extends JobRef {
  score: number;
}

interface Candidate extends Place {
  /** Its row id, if it was found in the window. */
  row?: string;
}

/** Stands for a job without a known row. */
const firstId = '00000000-0000-7000-8000-000000000000';
/** Stands for the queue of a job whose id is unique across all queues. */
const anyQueue = '\uffff';
/** Maximum number of steps per page. A step is repeated if jobs were passed over. */
const maxSteps = 10;
/** Jobs that are read beyond a page, because earlier pages may end in the same millisecond. */
const spare = 20;

/**
 * Whether a list can be read from BullMQ's sets at any length: it has one ended state, is sorted by
 * end time, and has no other condition than the queue.
 */
export function isEndedList(query: TaskQuery): boolean {
  const [state, ...others] = query.status ?? [];
  return (
    state !== undefined &&
    others.length === 0 &&
    isEnded(state) &&
    query.sort === 'endedAt' &&
    isOfSets(query)
  );
}

/** Reads a page of tasks of one ended state from the sets of all queues, by end time. */
export async function endedPage(
  deps: ModelDeps,
  entries: readonly CatalogEntry[],
  query: TaskQuery,
): Promise<Pick<TaskPage, 'items' | 'next'>> {
  const { limit, after, order } = query;
  const status = query.status?.[0] ?? 'success';
  let place = after === undefined ? undefined : placeOf(after, deps.ids);
  const items: TaskSummary[] = [];
  for (let step = 0; step < maxSteps; step++) {
    const reader = new SetReader(deps, {
      status,
      isDescending: order !== 'ascending',
      size: limit + 1,
    });
    const candidates = await reader.next(entries, place);
    const shown = await show(deps, candidates, status);
    for (const [n, candidate] of candidates.entries()) {
      if (items.length === limit) return { items, next: nextOf(place) };
      const task = shown[n];
      if (task?.status === status) items.push(task);
      place = candidate;
    }
    if (candidates.length <= limit) return { items, next: null };
  }
  return { items, next: nextOf(place) };
}

function nextOf(place: Place | undefined): string | null {
  return place ? `at:${place.score}:${place.queue}:${place.jobId}` : null;
}

const ownForm = /^at:(-?[\d.e+-]{1,30}):([^:]+):(.+)$/s;

/** Returns the position before a page. The previous page may have come from the window. */
function placeOf(after: string, ids: RowIds): Place {
  const [, score, queue, jobId] = ownForm.exec(after) ?? [];
  if (queue !== undefined && jobId !== undefined && Number.isFinite(Number(score)))
    return { score: Number(score), queue, jobId };
  const { value, id } = readPosition(after, 'endedAt');
  const [name = ''] = ids.names([idOf(id)]);
  return {
    score: value ?? 0,
    ...(isOwnId(name) ? { queue: anyQueue, jobId: name } : partsOf(name)),
  };
}

/** Converts a cursor to a position in the window. The previous page may have come from the sets. */
export function windowPosition(after: string, ids: RowIds): string {
  const [, score, queue = '', jobId = ''] = ownForm.exec(after) ?? [];
  if (score === undefined) return after;
  const id = ids.of(queue, jobId) ?? firstId;
  const position = {
    value: Math.floor(Number(score)),
    id: id.replaceAll('-', '').toUpperCase(),
  };
  return writePosition('endedAt', position, 'with');
}

async function show(
  deps: ModelDeps,
  candidates: readonly Candidate[],
  status: TaskStatus,
): Promise<(TaskSummary | undefined)[]> {
  const { source, window, ids } = deps;
  const state = status === 'success' ? 'completed' : 'failed';
  const beyond = candidates.filter(({ row }) => row === undefined);
  const read = await source.peek(beyond.map(({ queue, jobId }) => ({ queue, jobId, state })));
  const kept = window.summaries(candidates.flatMap(({ row }) => row ?? []));
  const shown = new Map(
    [...kept, ...read.flatMap((job) => shownJob(job, deps) ?? [])].map((task) => [task.id, task]),
  );
  return candidates.map(({ queue, jobId }) => shown.get(ids.nameOf(queue, jobId)));
}

/** Reads the sets of several queues as one sorted list. */
class SetReader {
  readonly #deps: ModelDeps;
  readonly #status: TaskStatus;
  readonly #isDescending: boolean;
  readonly #size: number;

  constructor(
    deps: ModelDeps,
    { status, isDescending, size }: { status: TaskStatus; isDescending: boolean; size: number },
  ) {
    this.#deps = deps;
    this.#status = status;
    this.#isDescending = isDescending;
    this.#size = size;
  }

  /** Returns the next jobs after a position. */
  async next(entries: readonly CatalogEntry[], after: Place | undefined): Promise<Candidate[]> {
    const found: Candidate[] = entries.flatMap(({ queue }) => this.#kept(queue, after));
    const n = this.#size + (after ? spare : 0);
    const answers = await this.#deps.source.send(
      entries.map(({ queue }) => this.#command(queue, after, 0, n)),
    );
    await Promise.all(
      entries.map(async ({ queue }, index) => {
        const first = placesOf(queue, answers[index]);
        const beyond = first.filter((place) => this.#isBeyond(place, after));
        const isEnough = !after || beyond.length >= this.#size || first.length < n;
        found.push(...(isEnough ? beyond : await this.#afterTies(queue, after)));
      }),
    );
    // A job may be in the window and in a set. Those of the window come first in `found`.
    const known = new Map(found.reverse().map((each) => [keyOf(each.queue, each.jobId), each]));
    return [...known.values()].sort((a, b) => this.#compare(a, b)).slice(0, this.#size);
  }

  /** Returns jobs of a queue from the window, if the window keeps jobs that BullMQ has removed. */
  #kept(queue: string, after: Place | undefined): Candidate[] {
    const { window, rules } = this.#deps;
    if (!rules.keepsEnded) return [];
    const range = { queue, status: this.#status, isDescending: this.#isDescending };
    return window.ends
      .page({ ...range, start: after, limit: this.#size + 1 })
      .map(({ id, endedAt, ...job }) => ({ ...job, row: id, score: endedAt }))
      .filter((place) => this.#isBeyond(place, after));
  }

  /**
   * Reads the next jobs of a queue if earlier pages have jobs that ended in the same millisecond.
   * It finds the first of the next jobs by binary search, because any number of jobs may have ended
   * then.
   */
  async #afterTies(queue: string, after: Place): Promise<Place[]> {
    const { source } = this.#deps;
    const key = this.#key(queue);
    let [low, high] = [
      0,
      Number((await source.send([[queue, 'zcount', key, after.score, after.score]]))[0]),
    ];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const [place] = await this.#read(queue, after, middle, 1);
      if (place && !this.#isBeyond(place, after)) low = middle + 1;
      else high = middle;
    }
    return (await this.#read(queue, after, low, this.#size)).filter((place) =>
      this.#isBeyond(place, after),
    );
  }

  async #read(queue: string, after: Place, offset: number, n: number): Promise<Place[]> {
    const [values] = await this.#deps.source.send([this.#command(queue, after, offset, n)]);
    return placesOf(queue, values);
  }

  /** Returns the end time after which tasks are read from the window alone. */
  #wholeAfter(queue: string): number {
    const group = groupOf(this.#status);
    if (!this.#deps.rules.keepsEnded || !isEndedGroup(group)) return Number.POSITIVE_INFINITY;
    return this.#deps.feed.wholeAfter(queue, group);
  }

  #key(queue: string): string {
    const { keys } = this.#deps;
    const status = this.#status;
    if (status === 'cancelled' || status === 'interrupted') return keys.marked(queue, status);
    return keys.ofQueue(queue, status === 'success' ? 'completed' : 'failed');
  }

  /**
   * Returns the command that reads `n` jobs of a queue. `offset` counts from the first job that
   * ended in the millisecond of a position.
   */
  #command(queue: string, after: Place | undefined, offset: number, n: number): QueueCommand {
    const key = this.#key(queue);
    const page = ['WITHSCORES', 'LIMIT', offset, n] as const;
    const newest = this.#wholeAfter(queue);
    const start = after?.score ?? Number.POSITIVE_INFINITY;
    return this.#isDescending
      ? [queue, 'zrevrangebyscore', key, bound(Math.min(newest, start)), '-inf', ...page]
      : [queue, 'zrangebyscore', key, after?.score ?? '-inf', bound(newest), ...page];
  }

  /** Whether a job comes after a position in the list. */
  #isBeyond(place: Place, after: Place | undefined): boolean {
    return !after || this.#compare(after, place) < 0;
  }

  #compare(a: Place, b: Place): number {
    const order =
      a.score - b.score || compareText(a.jobId, b.jobId) || compareText(a.queue, b.queue);
    return this.#isDescending ? -order : order;
  }
}

function bound(score: number): number | string {
  return score === Number.POSITIVE_INFINITY ? '+inf' : score;
}

/** Compares two texts as Redis and SQLite do: by their bytes in UTF-8. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function placesOf(queue: string, answer: unknown): Place[] {
  return scored(answer).map(([jobId, score]) => ({ queue, jobId, score }));
}
