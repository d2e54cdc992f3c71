import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { type TaskSummary, taskStatuses } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';
import { RedisWork } from '../connections.js';
import type { EngineKeys } from '../keys.js';
import type { QueueCatalog } from '../queue-catalog.js';
import { Backfill } from './backfill.js';
import { readCounts } from './counts.js';
import { JobSource } from './job-source.js';
import type { ReadModel } from './read-model.js';
import { RowIds } from './row-ids.js';
import { groupOf, Window } from './window.js';
import { WindowFeed, type WindowLimits } from './window-feed.js';

/** Milliseconds between two looks at what changed, while there are readers of changes and while there are none. */
const lookInterval = { watched: 200, unwatched: 1000 };
/** Milliseconds that the first answer waits for the window to be filled. With a long history it is filled later. */
const firstFill = 400;

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
const usualLimits: WindowLimits = { ended: 100_000, pending: 20_000 };

/**
 * The read model of a process: a window of the newest tasks (`Window`), which is filled from BullMQ's sets (`Backfill`) and
 * kept current by the change notes (`WindowFeed`). Before each answer the notes are read. A timer reads them for those who
 * watch.
 */
export class WindowModel implements ReadModel {
  readonly #parts: WindowModelParts;
  readonly #window: Window;
  readonly #ids = new RowIds();
  readonly #feed: WindowFeed;
  readonly #backfill: Backfill;
  readonly #looking: Background;
  #filled: Promise<void> = Promise.resolve();
  #watchers = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(parts: WindowModelParts, window: Window, source: JobSource) {
    this.#parts = parts;
    this.#window = window;
    const { keys, catalog, limits = usualLimits } = parts;
    this.#feed = new WindowFeed({ source, window, catalog, ids: this.#ids, limits });
    this.#backfill = new Backfill({ source, feed: this.#feed, window, keys, limits });
    this.#looking = new RedisWork(parts.logger, 'reading what changed in Redis');
  }

  /** Opens a window and reads the first of each set. */
  static async open(parts: WindowModelParts): Promise<WindowModel> {
    const { redis, keys, catalog } = parts;
    const source = new JobSource(redis, keys);
    await Promise.all([catalog.refresh(), source.start()]);
    const window = await Window.open();
    const model = new WindowModel(parts, window, source);
    try {
      await model.#fill();
    } catch (error) {
      window.close();
      throw error;
    }
    await Promise.race([model.#filled, wait(firstFill, undefined, { ref: false })]);
    model.#lookLater();
    return model;
  }

  async #fill(): Promise<void> {
    if (!(await this.#backfill.begin(this.#queues()))) return;
    this.#filled = runInEmptyContext(() => this.#backfill.rest());
    this.#looking.run(() => this.#filled);
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
    await this.#feed.catchUp();
    if (this.#closed) return;
    if (this.#window.hasUnsearchable()) this.#window.makeSearchable();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#backfill.close();
    await this.#feed.inTurn(async () => this.#window.close());
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    await this.#feed.catchUp();
    const page = this.#window.find(query);
    const named = { ...page, items: this.#named(page.items) };
    if (this.#isWhole(query) && page.totalRelation === 'eq') return named;
    const total = await this.#total(query, page);
    return { ...named, ...total, ...(page.next === null && !this.#isWhole(query) && { limited: true as const }) };
  }

  async filled(): Promise<void> {
    await this.#filled.catch(() => undefined);
  }

  /** BullMQ counts what it keeps together. Anything else is counted in the window, and there may be more. */
  async #total(query: TaskQuery, page: TaskPage): Promise<Pick<TaskPage, 'total' | 'totalRelation'>> {
    if (query.counted === false || !isCounted(query)) return { total: page.total, totalRelation: 'gte' };
    return { total: await this.#countOf(query), totalRelation: 'eq' };
  }

  async #countOf({ queue, status = taskStatuses }: TaskFilter): Promise<number> {
    const entries = this.#parts.catalog.all().filter(({ label }) => queue === undefined || label === queue);
    const counts = await readCounts(this.#parts, entries);
    return status.reduce((sum, each) => sum + counts[each], 0);
  }

  async count(filter: TaskFilter): Promise<{ n: number; more: boolean }> {
    await this.#feed.catchUp();
    const isWhole = this.#isWhole(filter);
    if (!isWhole && isCounted(filter)) return { n: await this.#countOf(filter), more: false };
    const { n, more } = this.#window.count(filter);
    return { n, more: more || !isWhole };
  }

  async summaries(ids: readonly string[]): Promise<readonly TaskSummary[]> {
    await this.#feed.catchUp();
    return this.#named(this.#window.summaries(ids.flatMap((id) => this.#ids.rowOf(id) ?? [])));
  }

  async live(): Promise<readonly Live[]> {
    await this.#feed.catchUp();
    return this.#window.live();
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    this.#watchers += 1;
    try {
      await this.#feed.catchUp();
      for await (const changes of this.#window.watch(after, signal))
        yield { ...changes, upserts: this.#named(changes.upserts), removed: changes.removed.map((id) => this.#ids.named(id)) };
    } finally {
      this.#watchers -= 1;
    }
  }

  async revs(): Promise<{ rev: number; oldestRev: number }> {
    await this.#feed.catchUp();
    return this.#window.revs();
  }

  /** Whether the window has all tasks that a filter can find. */
  #isWhole({ queue, status = taskStatuses }: TaskFilter): boolean {
    const groups = new Set(status.map(groupOf));
    const entries = this.#parts.catalog.all().filter(({ label }) => queue === undefined || label === queue);
    return entries.every((entry) => [...groups].every((group) => this.#feed.isWhole(entry.queue, group)));
  }

  #named(tasks: readonly TaskSummary[]): readonly TaskSummary[] {
    return this.#ids.arePlain ? tasks : tasks.map((task) => ({ ...task, id: this.#ids.named(task.id) }));
  }
}

/** Whether a filter has no other conditions than those by which BullMQ keeps jobs apart. */
function isCounted({ name, tags, fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && (tags ?? []).length === 0;
}
