import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Changes } from '../../../tasks/engine.js';
import type { Aggregates, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import {
  type Counts,
  type TaskDetail,
  type TaskSummary,
  taskStatuses,
} from '../../../tasks/types.js';
import { waitUnref } from '../../../waiting.js';
import type { Live } from '../../metrics.js';
import { partsOf } from '../jobs/job-ids.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { Backfill } from './backfill.js';
import { isOfSets } from './counts.js';
import { endedPage, isEndedList, windowPosition } from './ended-pages.js';
import { groupOf } from './groups.js';
import { Reconciler } from './reconciler.js';
import { idsOfText, matches } from './search.js';
import { findStates } from './source.js';
import { placesOf } from './stored-jobs.js';
import { readWaits } from './waits.js';
import { Window } from './window.js';
import { type ModelDeps, WindowFeed } from './window-feed.js';
import { shownJob } from './window-task.js';

/** Milliseconds between two reads of the notes, with and without watchers. */
const lookInterval = { watched: 200, unwatched: 1000 };
/** Milliseconds between two comparisons with BullMQ's sets, with and without readers. */
const compareInterval = { read: 2000, unread: 10_000 };
/** Milliseconds after an answer for which the window counts as having readers. */
const readFor = 10_000;
/** Milliseconds between two cleanups of expired data. */
const expireInterval = 60_000;
/**
 * Limits for the word index at each read of the notes: the number of steps, and the pause between
 * two steps in milliseconds.
 */
const search = { steps: 20, pause: 5 };

/** What a window model needs. */
export interface WindowModelDeps extends Omit<ModelDeps, 'window' | 'ids' | 'feed'> {
  /**
   * Milliseconds to wait for the window to be filled: before the first answer, and before a list
   * that is not sorted newest first. A long history is filled later.
   */
  fillTimes: { first: number; list: number };
  /** The background work: reading changes, and filling the window. */
  work: { looking: Background; filling: Background };
  /** Counts the tasks of some queues by state. */
  countTasks(entries: readonly CatalogEntry[], deps: ModelDeps): Promise<Counts>;
  /**
   * Calls `listener` after each reconnect, because it may be a different Redis by now. Returns a
   * function that removes the listener.
   */
  onReconnect(listener: () => void): () => void;
}

/**
 * What a process that reads tasks knows of all jobs: a bounded window of the newest ones in memory
 * (`Window`), which is filled from BullMQ's sets (`Backfill`) and kept current by the change notes
 * (`WindowFeed`). The notes are read before each answer, so that it includes every change that was
 * made before the call, and by a timer for watchers. The parts hold the differences between
 * `bullmqEngine` and attached queues: where jobs and notes are read (`JobSource`), how a job
 * becomes a task (`JobRules`), and how tasks are counted.
 */
export class WindowModel {
  readonly #deps: WindowModelDeps & ModelDeps;
  readonly #window: Window;
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

  private constructor(deps: WindowModelDeps, window: Window) {
    this.#window = window;
    const shared = { ...deps, window, ids: window.ids };
    this.#feed = new WindowFeed(shared);
    this.#deps = { ...shared, feed: this.#feed };
    this.#backfill = new Backfill(this.#deps);
    this.#reconciler = new Reconciler({ ...this.#deps, backfill: this.#backfill });
    // After a reconnect, the window is compared with BullMQ, because it may be a different Redis by
    // now.
    this.#endReconnect = deps.onReconnect(() => {
      this.#feed.isStale = true;
    });
  }

  /** Opens a window and reads the first jobs of each set. */
  static async open(deps: WindowModelDeps): Promise<WindowModel> {
    await Promise.all([deps.catalog.refresh(), deps.source.start()]);
    const model = new WindowModel(deps, await Window.open(deps.rules));
    try {
      await model.#backfill.begin();
    } catch (error) {
      await model.close();
      throw error;
    }
    model.#fillRest();
    await Promise.race([model.#filled, waitUnref(deps.fillTimes.first)]);
    model.#lookLater();
    return model;
  }

  /** Continues to fill the window, unless that is in progress. */
  #fillRest(): void {
    if (this.#filled || !this.#backfill.hasMore) return;
    const filled = runInEmptyContext(() => this.#backfill.rest()).finally(() => {
      this.#filled = undefined;
    });
    this.#filled = filled;
    this.#deps.work.filling.run(() => filled);
  }

  #lookLater(): void {
    if (this.#closed) return;
    const delay = this.#watchers > 0 ? lookInterval.watched : lookInterval.unwatched;
    const look = (): void =>
      this.#deps.work.looking.run(() => this.#look().finally(() => this.#lookLater()));
    this.#timer = runInEmptyContext(() => setTimeout(look, delay).unref());
  }

  async #look(): Promise<void> {
    await this.#catchUp();
    const { maintenance } = this.#window;
    for (let n = 0; n < search.steps && !this.#closed && maintenance.makeSearchable(); n++)
      await waitUnref(search.pause);
    if (this.#closed) return;
    const now = performance.now();
    const isRead = this.#watchers > 0 || now - this.#answered < readFor;
    if (now - this.#compared >= (isRead ? compareInterval.read : compareInterval.unread))
      await this.#compare();
    if (this.#closed || now - this.#expired < expireInterval) return;
    this.#expired = now;
    maintenance.dropExpired();
  }

  async #compare(): Promise<void> {
    await this.#deps.catalog.refresh();
    await this.#backfill.begin();
    await this.#feed.inTurn(async () => {
      if (this.#closed) return;
      await this.#feed.apply();
      await this.#reconciler.run();
    });
    this.#compared = performance.now();
    this.#fillRest();
  }

  /** Brings the window up to date before an answer. */
  #upToDate(): Promise<void> {
    this.#answered = performance.now();
    return this.#catchUp();
  }

  /** Brings the window up to date with every change that was made before the call. */
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
    if (query.text !== undefined && query.after === undefined) {
      // The text may be the id of a task, in the window or beyond it.
      const found = await this.summaries(idsOfText(this.#deps, query.text));
      const items = found.filter((task) => matches(task, query));
      if (items.length > 0) return { items, next: null, total: items.length, totalRelation: 'eq' };
    }
    await this.#upToDate();
    const { catalog, fillTimes } = this.#deps;
    if (isEndedList(query) && !this.#isWhole(query)) {
      const page = await endedPage(this.#deps, catalog.covered(query.queue), query);
      return { ...page, total: await this.#countOf(query), totalRelation: 'eq' };
    }
    const after =
      query.after !== undefined && query.sort === 'endedAt'
        ? windowPosition(query.after, this.#window.ids)
        : query.after;
    let page = this.#window.find({ ...query, after });
    // The newest tasks are read first. A page in another order, or one that they do not fill, needs
    // the older tasks too.
    if ((!isNewestFirst(query) || page.items.length < query.limit) && !this.#isWhole(query)) {
      await Promise.race([this.filled(), waitUnref(fillTimes.list)]);
      page = this.#window.find({ ...query, after });
    }
    const isWhole = this.#isWhole(query);
    if (isWhole && page.totalRelation === 'eq') return page;
    const limits = isWhole ? {} : { limited: true as const, searched: this.#window.size() };
    // With other conditions than queue and state, the window is counted, and there may be more
    // tasks.
    const isExact = query.counted !== false && isOfSets(query);
    return {
      ...page,
      total: isExact ? await this.#countOf(query) : page.total,
      totalRelation: isExact ? 'eq' : 'gte',
      ...limits,
    };
  }

  /** Resolves when the window holds as much as it can, or cannot be filled. */
  async filled(): Promise<void> {
    await this.#filled?.catch(() => undefined);
  }

  async #countOf(filter: TaskFilter): Promise<number> {
    const counts = await this.counts(filter);
    return (filter.status ?? taskStatuses).reduce((sum, each) => sum + counts[each], 0);
  }

  /** Counts the tasks by state, of one queue or of all. */
  counts({ queue }: Pick<TaskFilter, 'queue'>): Promise<Counts> {
    return this.#deps.countTasks(this.#deps.catalog.covered(queue), this.#deps);
  }

  /** Counts tasks. `more`: there may be more. `limited`: only the window was searched. */
  async count(filter: TaskFilter): Promise<{ n: number; more: boolean; limited?: boolean }> {
    await this.#upToDate();
    const isWhole = this.#isWhole(filter);
    if (!isWhole && isOfSets(filter)) return { n: await this.#countOf(filter), more: false };
    const { n, more } = this.#window.count(filter);
    return { n, more: more || !isWhole, limited: !isWhole };
  }

  /** Returns the tasks with some ids, in the window or beyond it. Unknown ids are left out. */
  async summaries(ids: readonly string[]): Promise<readonly TaskSummary[]> {
    await this.#upToDate();
    const { source, catalog, rules } = this.#deps;
    const known = this.#window.summaries(ids.flatMap((id) => this.#window.ids.rowOf(id) ?? []));
    const isKnown = new Set(known.map(({ id }) => id));
    const jobs = ids
      .filter((id) => !isKnown.has(id))
      .flatMap((id) => placesOf(catalog, id, rules.hasOwnIds));
    const read = await source.peek(await findStates(source, jobs));
    return [...known, ...read.flatMap((job) => shownJob(job, this.#deps) ?? [])];
  }

  /** Counts the tasks of the window by name, queue and state. */
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

  /** Returns the revision of the last change, and the oldest one that a stream can resume from. */
  async revs(): Promise<{ rev: number; oldestRev: number }> {
    await this.#upToDate();
    return this.#window.revs();
  }

  /** Whether the window has all tasks that a filter can find. */
  #isWhole({ queue: label, status = taskStatuses }: TaskFilter): boolean {
    const entries = this.#deps.catalog.covered(label);
    return status
      .map(groupOf)
      .every((group) => entries.every(({ queue }) => this.#feed.isWhole(queue, group)));
  }

  /** Drops tasks whose jobs BullMQ has removed. */
  async forget(ids: readonly string[]): Promise<void> {
    this.#feed.note(ids.map((id) => ({ ...partsOf(id), state: 'removed' })));
    await this.#upToDate();
  }

  /** Returns since when the first task that could run now has waited, for each queue with one. */
  waits(): Promise<{ queue: string; since: string }[]> {
    return readWaits(this.#deps);
  }

  /** Returns what the window keeps of a task, even if BullMQ has removed its job. */
  kept(id: string): TaskDetail | undefined {
    const row = this.#window.ids.rowOf(id);
    return row === undefined ? undefined : this.#window.detail(row);
  }

  /** Returns the tasks of the window that match a query, without reading new changes. */
  inWindow(query: TaskQuery): readonly TaskSummary[] {
    return this.#window.find(query).items;
  }

  /** Returns an aggregate of the window. Ends of tasks are counted only with `keepsEnded`. */
  async aggregate<K extends keyof Aggregates>(
    kind: K,
    query: Aggregates[K]['query'],
  ): Promise<Aggregates[K]['answer']> {
    await this.#upToDate();
    return this.#window.aggregate(kind, query);
  }
}

function isNewestFirst({ sort = 'createdAt', order = 'descending' }: TaskQuery): boolean {
  return sort === 'createdAt' && order === 'descending';
}
