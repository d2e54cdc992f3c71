import type { TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { isEnded } from '../../../tasks/states.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { readPosition, writePosition } from '../../embedded/position.js';
import { idOf } from '../../embedded/rows.js';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry } from '../queue-catalog.js';
import type { JobSource, RedisCommand } from './job-source.js';
import { type Naming, shownJob } from './window-task.js';

interface EndedParts extends Naming {
  source: JobSource;
  keys: EngineKeys;
}

/** A place in the sets: when a job ended, and its id. */
interface Place {
  score: number;
  id: string;
}

interface Candidate extends Place {
  queue: string;
}

/** Stands for a job of another program that is gone. */
const firstId = '00000000-0000-7000-8000-000000000000';
/** How often one page reads on because jobs were passed over, and how often a set is read on within one millisecond. */
const most = { steps: 10, ties: 50 };

/** Whether a list can be read from BullMQ's sets, however long they are: of one state that ended, by the time of the end, of any queues. */
export function isEndedList(query: TaskQuery): boolean {
  const { status, sort, name, tags = [], fingerprint, schedule, text, from, to } = query;
  const [state, ...others] = status ?? [];
  const isOne = state !== undefined && others.length === 0 && isEnded(state);
  const isPlain = [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && tags.length === 0;
  return isOne && sort === 'endedAt' && isPlain;
}

/** A page of tasks that ended in one state, in the order of their ends, read from the sets of all queues together. */
export async function endedPage(
  parts: EndedParts,
  entries: readonly CatalogEntry[],
  query: TaskQuery,
): Promise<Pick<TaskPage, 'items' | 'next'>> {
  const { limit, after, order } = query;
  const status = query.status?.[0] ?? 'success';
  const start = after === undefined ? undefined : readPosition(after, 'endedAt');
  let place: Candidate | undefined = start && { score: start.value ?? 0, id: idOf(start.id), queue: '' };
  const items: TaskSummary[] = [];
  for (let step = 0; step < most.steps; step++) {
    const reader = new SetReader(parts, { status, isDescending: order !== 'ascending', size: limit + 1 });
    const candidates = await reader.next(entries, place);
    const shown = await show(parts, candidates, status);
    for (const [n, candidate] of candidates.entries()) {
      if (items.length === limit) return { items, next: nextOf(parts, place) };
      const task = shown[n];
      if (task?.status === status) items.push(task);
      place = candidate;
    }
    if (candidates.length <= limit) return { items, next: null };
  }
  return { items, next: nextOf(parts, place) };
}

function nextOf({ ids }: EndedParts, place: Candidate | undefined): string | null {
  if (!place) return null;
  const id = ids.of(place.queue, place.id) ?? firstId;
  return writePosition('endedAt', { group: 'with', value: place.score, id: id.replaceAll('-', '').toUpperCase() });
}

async function show(parts: EndedParts, candidates: readonly Candidate[], status: TaskStatus): Promise<(TaskSummary | undefined)[]> {
  const state = status === 'success' ? 'completed' : 'failed';
  const found = await parts.source.peek(candidates.map(({ queue, id }) => ({ queue, jobId: id, state })));
  return found.map((read) => shownJob(read, parts));
}

/** Reads the sets of several queues as one. */
class SetReader {
  readonly #parts: EndedParts;
  readonly #status: TaskStatus;
  readonly #isDescending: boolean;
  readonly #size: number;

  constructor(parts: EndedParts, { status, isDescending, size }: { status: TaskStatus; isDescending: boolean; size: number }) {
    this.#parts = parts;
    this.#status = status;
    this.#isDescending = isDescending;
    this.#size = size;
  }

  /** The next jobs after a place. */
  async next(entries: readonly CatalogEntry[], after: Place | undefined): Promise<Candidate[]> {
    const found: Candidate[] = [];
    let left = entries.map(({ queue }) => ({ queue, offset: 0, n: 0 }));
    for (let tie = 0; tie < most.ties && left.length > 0; tie++) {
      const answers = await this.#parts.source.send(left.map((set) => this.#command(set, after)));
      left = left.flatMap(({ queue, offset, n }, index) => {
        const all = placesOf(answers[index] as string[]);
        // Jobs that ended in the same millisecond as the last one of the page before may be on that page.
        const beyond = all.filter((place) => !after || this.#compare(after, place) < 0);
        found.push(...beyond.map((place) => ({ ...place, queue })));
        const isEnough = all.length < this.#size || n + beyond.length >= this.#size;
        return isEnough ? [] : [{ queue, offset: offset + all.length, n: n + beyond.length }];
      });
    }
    return found.sort((a, b) => this.#compare(a, b)).slice(0, this.#size);
  }

  #command({ queue, offset }: { queue: string; offset: number }, after: Place | undefined): RedisCommand {
    const { keys } = this.#parts;
    const status = this.#status;
    const marker = status === 'cancelled' || status === 'interrupted' ? status : undefined;
    const key = marker ? keys.marked(queue, marker) : keys.ofQueue(queue, status === 'success' ? 'completed' : 'failed');
    const page = ['WITHSCORES', 'LIMIT', offset, this.#size] as const;
    return this.#isDescending
      ? ['zrevrangebyscore', key, after?.score ?? '+inf', '-inf', ...page]
      : ['zrangebyscore', key, after?.score ?? '-inf', '+inf', ...page];
  }

  #compare(a: Place, b: Place): number {
    const order = a.score - b.score || (a.id < b.id ? -1 : Number(a.id > b.id));
    return this.#isDescending ? -order : order;
  }
}

function placesOf(values: readonly string[]): Place[] {
  const places: Place[] = [];
  for (let n = 0; n + 1 < values.length; n += 2) places.push({ id: values[n] ?? '', score: Number(values[n + 1]) });
  return places;
}
