import { setTimeout as wait } from 'node:timers/promises';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Aggregates, Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { type Counts, type TaskDetail, type TaskSummary, taskStatuses } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';
import { partsOf } from '../job-ids.js';
import type { CatalogEntry } from '../queue-catalog.js';
import { Backfill } from './backfill.js';
import { endedPage, isEndedList, windowPosition } from './ended-pages.js';
import { readByIds } from './found-jobs.js';
import { groupOf } from './groups.js';
import type { ReadModel } from './read-model.js';
import { Reconciler } from './reconciler.js';
import type { RowIds } from './row-ids.js';
import type { JobSource, KeyNames, KnownQueues } from './source.js';
import { readWaits } from './waits.js';
import { Window } from './window.js';
import { WindowFeed, type WindowLimits } from './window-feed.js';
import type { JobRules } from './window-task.js';

/** Milliseconds between two looks at what changed, while there are readers of changes and while there are none. */
const lookInterval = { watched: 200, unwatched: 1000 };
/** Milliseconds between two comparisons with BullMQ's sets, while there are readers and while there are none. */
const compareInterval = { read: 2000, unread: 10_000 };
/** Milliseconds after an answer for which there are readers. */
const readFor = 10_000;
/** Milliseconds between two looks for deletes that are too old to be reported. */
const expireInterval = 60_000;
/** Milliseconds and failures that one look spends on the word index. */
const search = { steps: 20, pause: 5 };

/** What a window model needs. */
export interface WindowModelParts {
  source: JobSource;
  keys: KeyNames;
  catalog: KnownQueues;
  rules: JobRules;
  limits: WindowLimits;
  /**
   * Milliseconds that the first answer, and a list in another order than the newest first, wait for the window to be filled. With a
   * long history it is filled later.
   */
  fillTimes: { first: number; list: number };
  /** What reads changes, and what fills the window, while no caller waits. */
  work: { looking: Background; filling: Background };
  /** How many tasks of some queues are in each state. */
  countTasks(entries: readonly CatalogEntry[], windowParts: { window: Window; feed: WindowFeed }): Promise<Counts>;
  /** Calls a function each time that Redis is connected again and may be another one by now. Returns a function that ends that. */
  onReconnect(listener: () => void): () => void;
}

/**
 * The read model of a process: a window of the newest tasks (`Window`), which is filled from BullMQ's sets (`Backfill`) and
 * kept current by the change notes (`WindowFeed`). Before each answer the notes are read. A timer reads them for watchers. What
 * is different between `bullmqEngine` and attached queues is in the parts: where jobs and notes are read (`JobSource`), how a job
 * becomes a task (`JobRules`), and how tasks are counted.
 */
export class WindowModel implements ReadModel {
  readonly #parts: WindowModelParts & { window: Window; ids: RowIds; feed: WindowFeed };
  readonly #window: Window;
  readonly #ids: RowIds;
  readonly #feed: WindowFeed;
  readonly #backfill: Backfill;
  readonly #reconciler: Reconciler;
  readonly #endReconnect: () => void;
  #filled: Promise<void> | undefined;
  #watchers = 0;
  #timer: NodeJS.Timeout | undefined;
  #answered = performance.now();
  #compared = performance.now();
  #expired = performance.now();
  #closed = false;

  private constructor(parts: WindowModelParts, window: Window) {
    this.#window = window;
    this.#ids = window.ids;
    this.#feed = new WindowFeed({ ...parts, window, ids: window.ids });
    this.#parts = { ...parts, window, ids: window.ids, feed: this.#feed };
    this.#backfill = new Backfill(this.#parts);
    this.#reconciler = new Reconciler({
      ...this.#parts,
      again: (queue, group) => this.#backfill.again(queue, group),
    });
    // Whatever was written while Redis could not be reached is compared, since it may be another Redis by now.
    this.#endReconnect = parts.onReconnect(() => {
      this.#feed.isStale = true;
    });
  }

  /** Opens a window and reads the first of each set. */
  static async open(parts: WindowModelParts): Promise<WindowModel> {
    await Promise.all([parts.catalog.refresh(), parts.source.start()]);
    const model = new WindowModel(parts, await Window.open(parts.rules));
    try {
      await model.#backfill.begin(model.#queues());
    } catch (error) {
      await model.close();
      throw error;
    }
    model.#fillRest();
    await Promise.race([model.#filled, wait(parts.fillTimes.first, undefined, { ref: false })]);
    model.#lookLater();
    return model;
  }

  /** Goes on to fill the window, unless that is under way. */
  #fillRest(): void {
    if (this.#filled || !this.#backfill.hasMore) return;
    const filled = runInEmptyContext(() => this.#backfill.rest()).finally(() => {
      this.#filled = undefined;
    });
    this.#filled = filled;
    this.#parts.work.filling.run(() => filled);
  }

  #queues(): string[] {
    return this.#parts.catalog.all().map(({ queue }) => queue);
  }

  #lookLater(): void {
    if (this.#closed) return;
    const delay = this.#watchers > 0 ? lookInterval.watched : lookInterval.unwatched;
    const look = (): void => this.#parts.work.looking.run(() => this.#look().finally(() => this.#lookLater()));
    this.#timer = runInEmptyContext(() => setTimeout(look, delay).unref());
  }

  async #look(): Promise<void> {
    await this.#catchUp();
    if (this.#closed) return;
    for (let step = 0; step < search.steps && !this.#closed && this.#window.hasUnsearchable(); step++) {
      this.#window.makeSearchable();
      await wait(search.pause, undefined, { ref: false });
    }
    if (this.#closed) return;
    const now = performance.now();
    const isRead = this.#watchers > 0 || now - this.#answered < readFor;
    if (now - this.#compared >= (isRead ? compareInterval.read : compareInterval.unread)) await this.#compare();
    if (this.#closed || now - this.#expired < expireInterval) return;
    this.#expired = now;
    this.#window.dropExpired();
  }

  async #compare(): Promise<void> {
    await this.#parts.catalog.refresh();
    await this.#backfill.begin(this.#queues());
    await this.#feed.inTurn(async () => {
      if (this.#closed) return;
      await this.#feed.apply();
      await this.#reconciler.run();
    });
    this.#compared = performance.now();
    this.#fillRest();
  }

  /** Before an answer. */
  #upToDate(): Promise<void> {
    this.#answered = performance.now();
    return this.#catchUp();
  }

  /** Brings the window up to date with everything that had changed when this was called. */
  async #catchUp(): Promise<void> {
    if (this.#closed) throw new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
    await this.#feed.catchUp();
    if (this.#feed.isStale) await this.#compare();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#endReconnect();
    clearTimeout(this.#timer);
    this.#backfill.close();
    await this.#feed.inTurn(async () => this.#window.close());
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    await this.#upToDate();
    if (isEndedList(query) && !this.#isWhole(query)) {
      const page = await endedPage(this.#parts, this.#entries(query), query);
      return { ...page, total: await this.#countOf(query), totalRelation: 'eq' };
    }
    // The newest tasks are read first. Any other order needs the others too.
    if (!isNewestFirst(query) && !this.#isWhole(query))
      await Promise.race([this.filled(), wait(this.#parts.fillTimes.list, undefined, { ref: false })]);
    const after = query.after !== undefined && query.sort === 'endedAt' ? windowPosition(query.after, this.#ids) : query.after;
    const page = this.#window.find({ ...query, after });
    const isWhole = this.#isWhole(query);
    if (isWhole && page.totalRelation === 'eq') return page;
    const limits = isWhole ? {} : { limited: true as const, searched: this.#window.size() };
    return { ...page, ...(await this.#total(query, page)), ...limits };
  }

  async filled(): Promise<void> {
    await this.#filled?.catch(() => undefined);
  }

  /** BullMQ counts what it keeps together. Anything else is counted in the window, and there may be more. */
  async #total(query: TaskQuery, page: TaskPage): Promise<Pick<TaskPage, 'total' | 'totalRelation'>> {
    if (query.counted === false || !isCounted(query)) return { total: page.total, totalRelation: 'gte' };
    return { total: await this.#countOf(query), totalRelation: 'eq' };
  }

  async #countOf(filter: TaskFilter): Promise<number> {
    const counts = await this.counts(filter);
    return (filter.status ?? taskStatuses).reduce((sum, each) => sum + counts[each], 0);
  }

  /** How many tasks are in each state, of one queue or of all. */
  counts(filter: Pick<TaskFilter, 'queue'>): Promise<Counts> {
    return this.#parts.countTasks(this.#entries(filter), this.#parts);
  }

  /** The queues that a filter is about. */
  #entries({ queue }: TaskFilter): CatalogEntry[] {
    return this.#parts.catalog.all().filter(({ label }) => queue === undefined || label === queue);
  }

  async count(filter: TaskFilter): Promise<{ n: number; more: boolean; limited?: boolean }> {
    await this.#upToDate();
    const isWhole = this.#isWhole(filter);
    if (!isWhole && isCounted(filter)) return { n: await this.#countOf(filter), more: false };
    const { n, more } = this.#window.count(filter);
    return { n, more: more || !isWhole, limited: !isWhole };
  }

  async summaries(ids: readonly string[]): Promise<readonly TaskSummary[]> {
    await this.#upToDate();
    const rows = ids.flatMap((id) => this.#ids.rowOf(id) ?? []);
    const known = this.#window.summaries(rows);
    const isKnown = new Set(known.map(({ id }) => id));
    const others = await readByIds(
      this.#parts,
      ids.filter((id) => !isKnown.has(id)),
    );
    return [...known, ...others];
  }

  async live(): Promise<readonly Live[]> {
    await this.#upToDate();
    return this.#window.live();
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    this.#watchers += 1;
    try {
      await this.#upToDate();
      yield* this.#window.watch(after, signal);
    } finally {
      this.#watchers -= 1;
    }
  }

  async revs(): Promise<{ rev: number; oldestRev: number }> {
    await this.#upToDate();
    return this.#window.revs();
  }

  /** Whether the window has all tasks that a filter can find. */
  #isWhole({ queue, status = taskStatuses }: TaskFilter): boolean {
    const groups = new Set(status.map(groupOf));
    return this.#entries({ queue }).every((entry) => [...groups].every((group) => this.#feed.isWhole(entry.queue, group)));
  }

  /** Drops tasks whose jobs BullMQ has removed. */
  async forget(ids: readonly string[]): Promise<void> {
    this.#feed.note(ids.map((id) => ({ ...partsOf(id), state: 'removed' })));
    await this.#upToDate();
  }

  /** Since when the first task that could run now has been waiting, of each queue that has one. */
  waits(): Promise<{ queue: string; since: string }[]> {
    return readWaits(this.#parts);
  }

  /** What the window keeps of a task, for when BullMQ has removed its job. */
  kept(id: string): TaskDetail | undefined {
    const row = this.#ids.rowOf(id);
    return row === undefined ? undefined : this.#window.detail(row);
  }

  /** The tasks of the window that a query finds, as far as the window is up to date. */
  inWindow(query: TaskQuery): readonly TaskSummary[] {
    return this.#window.find(query).items;
  }

  /** What was counted as tasks ended, if the window counts that. */
  async aggregate<K extends keyof Aggregates>(kind: K, query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    await this.#upToDate();
    return this.#window.aggregate(kind, query);
  }
}

function isNewestFirst({ sort = 'createdAt', order = 'descending' }: TaskQuery): boolean {
  return sort === 'createdAt' && order === 'descending';
}

/** Whether a filter has no other conditions than those by which BullMQ keeps jobs apart. */
function isCounted({ name, tags, fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && (tags ?? []).length === 0;
}
