import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { type TaskSummary, taskStatuses } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';
import { RedisWork } from '../connections.js';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queue-catalog.js';
import { Backfill } from './backfill.js';
import { readCounts } from './counts.js';
import { endedPage, isEndedList } from './ended-pages.js';
import { readByIds } from './found-jobs.js';
import { JobSource } from './job-source.js';
import type { ReadModel } from './read-model.js';
import { Reconciler } from './reconciler.js';
import { RowIds } from './row-ids.js';
import { groupOf, Window } from './window.js';
import { WindowFeed, type WindowLimits } from './window-feed.js';

/** Milliseconds between two looks at what changed, while there are readers of changes and while there are none. */
const lookInterval = { watched: 200, unwatched: 1000 };
/** Milliseconds between two comparisons with BullMQ's sets, while there are readers and while there are none. */
const compareInterval = { read: 2000, unread: 10_000 };
/** Milliseconds after an answer for which there are readers. */
const readFor = 10_000;
/** Milliseconds between two looks for deletes that are too long ago to be told. */
const expireInterval = 60_000;
/** Milliseconds that the first answer waits for the window to be filled. With a long history it is filled later. */
const firstFill = 400;
/** Milliseconds that a list in another order than the newest first waits for it. */
const restFill = 10_000;

/** What a window model needs. */
export interface WindowModelParts {
  /** Its commands fail soon if Redis is unreachable. */
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
  logger: Logger;
  limits?: WindowLimits;
}

/** The sizes of a window unless something else is said. */
export const usualLimits: WindowLimits = { ended: 100_000, pending: 20_000 };

/**
 * The read model of a process: a window of the newest tasks (`Window`), which is filled from BullMQ's sets (`Backfill`) and
 * kept current by the change notes (`WindowFeed`). Before each answer the notes are read. A timer reads them for those who
 * watch.
 */
export class WindowModel implements ReadModel {
  readonly #parts: WindowModelParts & { source: JobSource; window: Window; ids: RowIds };
  readonly #window: Window;
  readonly #ids = new RowIds();
  readonly #feed: WindowFeed;
  readonly #backfill: Backfill;
  readonly #reconciler: Reconciler;
  readonly #looking: Background;
  readonly #filling: Background;
  #filled: Promise<void> | undefined;
  #watchers = 0;
  #timer: NodeJS.Timeout | undefined;
  #answered = performance.now();
  #compared = performance.now();
  #expired = performance.now();
  #closed = false;

  private constructor({ limits = usualLimits, ...parts }: WindowModelParts, window: Window, source: JobSource) {
    this.#window = window;
    this.#parts = { ...parts, source, window, ids: this.#ids };
    this.#feed = new WindowFeed({ ...this.#parts, limits });
    this.#backfill = new Backfill({ ...this.#parts, feed: this.#feed, limits });
    this.#reconciler = new Reconciler({
      ...this.#parts,
      ...{ feed: this.#feed, limits },
      again: (queue, group) => this.#backfill.again(queue, group),
    });
    this.#looking = new RedisWork(parts.logger, 'reading what changed in Redis');
    this.#filling = new RedisWork(parts.logger, 'reading the tasks that are in Redis');
  }

  /** Opens a window and reads the first of each set. */
  static async open(parts: WindowModelParts): Promise<WindowModel> {
    const source = new JobSource(parts.redis, parts.keys);
    await Promise.all([parts.catalog.refresh(), source.start()]);
    const window = await Window.open();
    const model = new WindowModel(parts, window, source);
    try {
      await model.#backfill.begin(model.#queues());
    } catch (error) {
      window.close();
      throw error;
    }
    model.#fillRest();
    await Promise.race([model.#filled, wait(firstFill, undefined, { ref: false })]);
    parts.redis.on('ready', model.#onReady);
    model.#lookLater();
    return model;
  }

  /** Whatever was written while Redis could not be reached is compared, since it may be another Redis by now. */
  readonly #onReady = (): void => {
    this.#feed.isStale = true;
  };

  /** Goes on to fill the window, unless that is under way. */
  #fillRest(): void {
    if (this.#filled || !this.#backfill.hasMore) return;
    const filled = runInEmptyContext(() => this.#backfill.rest()).finally(() => {
      this.#filled = undefined;
    });
    this.#filled = filled;
    this.#filling.run(() => filled);
  }

  #queues(): string[] {
    return this.#parts.catalog.all().map(({ queue }) => queue);
  }

  #lookLater(): void {
    if (this.#closed) return;
    const delay = this.#watchers > 0 ? lookInterval.watched : lookInterval.unwatched;
    const look = (): void => this.#looking.run(() => this.#look().finally(() => this.#lookLater()));
    this.#timer = runInEmptyContext(() => setTimeout(look, delay).unref());
  }

  async #look(): Promise<void> {
    await this.#catchUp();
    if (this.#closed) return;
    if (this.#window.hasUnsearchable()) this.#window.makeSearchable();
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
    this.#parts.redis.off('ready', this.#onReady);
    clearTimeout(this.#timer);
    this.#backfill.close();
    await this.#feed.inTurn(async () => this.#window.close());
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    await this.#upToDate();
    if (isEndedList(query) && !this.#isWhole(query)) {
      const page = await endedPage(this.#parts, this.#entries(query), query);
      return { items: this.#named(page.items), next: page.next, total: await this.#countOf(query), totalRelation: 'eq' };
    }
    // The newest tasks are read first. Any other order needs the others too.
    if (!isNewestFirst(query) && !this.#isWhole(query)) await Promise.race([this.filled(), wait(restFill, undefined, { ref: false })]);
    const page = this.#window.find(query);
    const named = { ...page, items: this.#named(page.items) };
    const isWhole = this.#isWhole(query);
    if (isWhole && page.totalRelation === 'eq') return named;
    const limits = isWhole ? {} : { limited: true as const, searched: this.#window.size() };
    return { ...named, ...(await this.#total(query, page)), ...limits };
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
    const counts = await readCounts(this.#parts, this.#entries(filter));
    return (filter.status ?? taskStatuses).reduce((sum, each) => sum + counts[each], 0);
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
      ids.filter((id) => !isKnown.has(this.#ids.rowOf(id) ?? '')),
    );
    return this.#named([...known, ...others]);
  }

  async live(): Promise<readonly Live[]> {
    await this.#upToDate();
    return this.#window.live();
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    this.#watchers += 1;
    try {
      await this.#upToDate();
      for await (const changes of this.#window.watch(after, signal))
        yield { ...changes, upserts: this.#named(changes.upserts), removed: changes.removed.map((id) => this.#ids.named(id)) };
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

  #named(tasks: readonly TaskSummary[]): readonly TaskSummary[] {
    return this.#ids.arePlain ? tasks : tasks.map((task) => ({ ...task, id: this.#ids.named(task.id) }));
  }
}

function isNewestFirst({ sort = 'createdAt', order = 'descending' }: TaskQuery): boolean {
  return sort === 'createdAt' && order === 'descending';
}

/** Whether a filter has no other conditions than those by which BullMQ keeps jobs apart. */
function isCounted({ name, tags, fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && (tags ?? []).length === 0;
}
