import type { TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import { isEnded } from '../../../tasks/states.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { readPosition, writePosition } from '../../tables/read/position.js';
import { idOf } from '../../tables/schema/rows.js';
import { isOwnId, keyOf, partsOf } from '../jobs/job-ids.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { isOfSets } from './counts.js';
import type { EndedGroup } from './groups.js';
import type { RowIds } from './row-ids.js';
import { type QueueCommand, type QueueKey, scored } from './source.js';
import type { EndedJob } from './window-ends.js';
import type { ModelDeps } from './window-feed.js';
import { shownJob } from './window-task.js';

/** A job, or a position in the sets. Redis sorts jobs with the same end time by their ids. */
interface Candidate extends EndedJob {
  /** Its row id, if it was found in the window. */
  row?: string;
}

/** The sets of several queues as one sorted list, and where they are read. */
interface EndedList extends ModelDeps {
  status: TaskStatus;
  group: EndedGroup;
  /** The set of each queue that has the jobs of the state. */
  set: QueueKey;
  isDescending: boolean;
  /** How many jobs are read per step. */
  size: number;
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
  const { status = [], sort } = query;
  return sort === 'endedAt' && status.length === 1 && status.every(isEnded) && isOfSets(query);
}

/** Reads a page of tasks of one ended state from the sets of all queues, by end time. */
export async function endedPage(
  deps: ModelDeps,
  entries: readonly CatalogEntry[],
  { limit, after, order, status: [status = 'success'] = [] }: TaskQuery,
): Promise<Pick<TaskPage, 'items' | 'next'>> {
  const group = status === 'success' ? 'completed' : 'failed';
  const hasMarker = status === 'cancelled' || status === 'interrupted';
  const list: EndedList = {
    ...deps,
    ...{ status, group, set: hasMarker ? { marker: status } : group },
    isDescending: order !== 'ascending',
    size: limit + 1,
  };
  let place = after === undefined ? undefined : placeOf(after, deps.ids);
  const items: TaskSummary[] = [];
  for (let step = 0; step < maxSteps; step++) {
    const candidates = await nextJobs(list, entries, place);
    const shown = await show(list, candidates);
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

function nextOf(place: EndedJob | undefined): string | null {
  return place ? `at:${place.score}:${place.queue}:${place.jobId}` : null;
}

const ownForm = /^at:(-?[\d.e+-]{1,30}):([^:]+):(.+)$/s;

/** Returns the position before a page. The previous page may have come from the window. */
function placeOf(after: string, ids: RowIds): EndedJob {
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
  const id = ids.of({ queue, jobId }) ?? firstId;
  const position = {
    value: Math.floor(Number(score)),
    id: id.replaceAll('-', '').toUpperCase(),
  };
  return writePosition('endedAt', position, 'with');
}

async function show(
  list: EndedList,
  candidates: readonly Candidate[],
): Promise<(TaskSummary | undefined)[]> {
  const { source, window, ids, group: state } = list;
  const beyond = candidates.filter(({ row }) => row === undefined);
  const read = await source.peek(beyond.map((job) => ({ ...job, state })));
  const kept = window.summaries(candidates.flatMap(({ row }) => row ?? []));
  const shown = new Map(
    [...kept, ...read.flatMap((job) => shownJob(job, list) ?? [])].map((task) => [task.id, task]),
  );
  return candidates.map((job) => shown.get(ids.nameOf(job)));
}

/** Returns the next jobs after a position. */
async function nextJobs(
  list: EndedList,
  entries: readonly CatalogEntry[],
  after: EndedJob | undefined,
): Promise<Candidate[]> {
  const { source, size } = list;
  const found: Candidate[] = entries.flatMap(({ queue }) => keptJobs(list, queue, after));
  const n = size + (after ? spare : 0);
  const answers = await source.send(
    entries.map(({ queue }) => commandOf(list, queue, after, 0, n)),
  );
  await Promise.all(
    entries.map(async ({ queue }, index) => {
      const first = placesOf(queue, answers[index]);
      const beyond = first.filter((place) => isBeyond(list, place, after));
      const isEnough = !after || beyond.length >= size || first.length < n;
      found.push(...(isEnough ? beyond : await afterTies(list, queue, after)));
    }),
  );
  // A job may be in the window and in a set. Those of the window come first in `found`.
  const known = new Map(found.reverse().map((each) => [keyOf(each.queue, each.jobId), each]));
  return [...known.values()].sort((a, b) => compare(list, a, b)).slice(0, size);
}

/** Returns jobs of a queue from the window, if the window keeps jobs that BullMQ has removed. */
function keptJobs(list: EndedList, queue: string, start: EndedJob | undefined): Candidate[] {
  const { window, rules, status, isDescending, size } = list;
  if (!rules.keepsEnded) return [];
  return window.ends
    .page({ queue, status, isDescending, start, limit: size + 1 })
    .filter((place) => isBeyond(list, place, start));
}

/**
 * Reads the next jobs of a queue if earlier pages have jobs that ended in the same millisecond. It
 * finds the first of the next jobs by binary search, because any number of jobs may have ended
 * then.
 */
async function afterTies(list: EndedList, queue: string, after: EndedJob): Promise<EndedJob[]> {
  const { source, set, size } = list;
  const read = async (offset: number, n: number): Promise<EndedJob[]> => {
    const [values] = await source.send([commandOf(list, queue, after, offset, n)]);
    return placesOf(queue, values);
  };
  let low = 0;
  let high = Number((await source.send([[queue, 'zcount', set, after.score, after.score]]))[0]);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [place] = await read(middle, 1);
    if (place && !isBeyond(list, place, after)) low = middle + 1;
    else high = middle;
  }
  return (await read(low, size)).filter((place) => isBeyond(list, place, after));
}

/**
 * Returns the command that reads `n` jobs of a queue. `offset` counts from the first job that ended
 * in the millisecond of a position.
 */
function commandOf(
  { rules, feed, group, set, isDescending }: EndedList,
  queue: string,
  after: EndedJob | undefined,
  offset: number,
  n: number,
): QueueCommand {
  const page = ['WITHSCORES', 'LIMIT', offset, n] as const;
  // Later jobs are read from the window alone.
  const newest = rules.keepsEnded ? feed.wholeAfter(queue, group) : Number.POSITIVE_INFINITY;
  const start = after?.score ?? Number.POSITIVE_INFINITY;
  return isDescending
    ? [queue, 'zrevrangebyscore', set, bound(Math.min(newest, start)), '-inf', ...page]
    : [queue, 'zrangebyscore', set, after?.score ?? '-inf', bound(newest), ...page];
}

/** Whether a job comes after a position in the list. */
function isBeyond(list: EndedList, place: EndedJob, after: EndedJob | undefined): boolean {
  return !after || compare(list, after, place) < 0;
}

function compare({ isDescending }: EndedList, a: EndedJob, b: EndedJob): number {
  const order = a.score - b.score || compareText(a.jobId, b.jobId) || compareText(a.queue, b.queue);
  return isDescending ? -order : order;
}

function bound(score: number): number | string {
  return score === Number.POSITIVE_INFINITY ? '+inf' : score;
}

/** Compares two texts as Redis and SQLite do: by their bytes in UTF-8. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function placesOf(queue: string, answer: unknown): EndedJob[] {
  return scored(answer).map(([jobId, score]) => ({ queue, jobId, score }));
}
