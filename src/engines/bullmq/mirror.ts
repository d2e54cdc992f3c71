import type { Logger } from '../../options.js';
import type { Aggregates, Changes, EngineDescription, TaskFilter, TaskPage, TaskQuery } from '../../tasks/engine.js';
import type { TaskDetail, TaskSummary } from '../../tasks/types.js';
import { aggregate } from '../embedded/aggregates.js';
import { Bell } from '../embedded/bell.js';
import type { Database, Row } from '../embedded/database.js';
import { GroupCommit } from '../embedded/group-commit.js';
import { layOutMirror, type MirroredTask } from '../embedded/mirror.js';
import { Reader } from '../embedded/reader.js';
import { idBytes, idOf, stateCode } from '../embedded/rows.js';
import { type Retention, Upkeep } from '../embedded/upkeep.js';
import { memoryPort, type WritePort } from '../embedded/write-port.js';

/** Tasks of one commit, so that none is long. */
const stepSize = 100;

/**
 * The jobs of a Redis as rows of this process: what BullMQ cannot be asked for (lists by any condition in any order, text,
 * figures over time, failures by cause) is asked here. It holds what a list shows, and neither data nor results.
 */
export class JobMirror {
  readonly #port: WritePort;
  readonly #database: Database;
  readonly #reader: Reader;
  readonly #commits: GroupCommit;
  readonly #upkeep: Upkeep;
  readonly #changed = new Bell();

  private constructor({ port, database }: { port: WritePort; database: Database }, logger: Logger, retention: Retention) {
    this.#port = port;
    this.#database = database;
    this.#reader = new Reader(database);
    this.#commits = new GroupCommit({
      port,
      claim: () => undefined,
      wanted: () => [],
      onClaimed: () => {},
      onDue: () => {},
      onClaimFailed: () => {},
      onCommitted: () => this.#changed.ring(),
    });
    this.#upkeep = new Upkeep({ logger, retention });
    this.#upkeep.start({ reader: this.#reader, commits: this.#commits });
  }

  static async open(logger: Logger, retention: Retention): Promise<JobMirror> {
    const opened = await memoryPort();
    layOutMirror(opened.database);
    return new JobMirror(opened, logger, retention);
  }

  async close(): Promise<void> {
    this.#upkeep.stop();
    this.#changed.close();
    await this.#commits.close();
    await this.#port.close();
  }

  /** Takes in jobs as they are now. */
  async put(tasks: readonly MirroredTask[]): Promise<void> {
    for (let from = 0; from < tasks.length; from += stepSize)
      await this.#commits.submit<'mirror'>({ kind: 'mirror', tasks: tasks.slice(from, from + stepSize), at: Date.now() });
  }

  /** Drops jobs that are gone. */
  async forget(keys: readonly string[]): Promise<void> {
    for (let from = 0; from < keys.length; from += stepSize)
      await this.#commits.submit<'forget'>({ kind: 'forget', keys: keys.slice(from, from + stepSize) });
  }

  /** Notes that a queue is paused, or is no more. */
  async pause(queue: string, paused: boolean, { by, reason }: { by: string; reason?: string | undefined }): Promise<void> {
    await this.#commits.submit<'pauseQueue'>({ kind: 'pauseQueue', queue, paused, at: Date.now(), by, reason });
  }

  find(query: TaskQuery): TaskPage {
    const page = this.#reader.find(query);
    return { ...page, items: this.#named(page.items) };
  }

  count(filter: TaskFilter): { n: number; more: boolean } {
    return this.#reader.count(filter);
  }

  /** The tasks of some keys, those that there are. */
  summaries(keys: readonly string[]): TaskSummary[] {
    const ids = this.#database
      .all('SELECT id FROM mirrored WHERE gone IS NULL AND key IN (SELECT value FROM json_each(?))', JSON.stringify(keys))
      .map((row) => idOf(row.id));
    return this.#named(this.#reader.summaries(ids));
  }

  summary(key: string): TaskSummary | undefined {
    return this.summaries([key])[0];
  }

  /** What is kept of a job, for when BullMQ has it no more. */
  get(key: string): TaskDetail | undefined {
    const row = this.#database.get('SELECT id FROM mirrored WHERE key = ? AND gone IS NULL', key);
    const task = row && this.#reader.get(idOf(row.id), 0);
    const [named] = task ? this.#named([task]) : [];
    return task && named && { ...task, ...named };
  }

  /** How many jobs of a queue are in each state, by what is known here. */
  counts(queue: string): Record<'pending' | 'running' | 'success' | 'failed', number> {
    const rows = this.#database.all(
      'SELECT status, sum(n) AS n FROM tally JOIN lane ON lane.id = tally.lane WHERE queue = ? GROUP BY status',
      queue,
    );
    const of = (status: keyof typeof stateCode): number => Number(rows.find((row) => row.status === stateCode[status])?.n ?? 0);
    return { pending: of('pending'), running: of('running'), success: of('success'), failed: of('failed') };
  }

  /** Keys of all jobs of a queue that have not ended. */
  openKeys(queue: string): string[] {
    return this.#database
      .all(
        `SELECT key FROM task JOIN lane ON lane.id = task.lane JOIN mirrored ON mirrored.id = task.id
         WHERE lane.queue = ? AND (status = 0 OR status = 1) AND gone IS NULL`,
        queue,
      )
      .map((row) => String(row.key));
  }

  /** Keys of some jobs of a queue that wait or run, from one on in the order of their ids, and where to go on; nowhere after the last. */
  openAfter(queue: string, after: string | undefined, limit: number): { keys: string[]; last: string | undefined } {
    const of = (lane: Row, status: number): Row[] =>
      this.#database.all(
        `SELECT key, hex(task.id) AS id FROM task JOIN mirrored ON mirrored.id = task.id
         WHERE lane = ? AND status = ${status} AND task.id > ? AND gone IS NULL ORDER BY task.id LIMIT ?`,
        lane.id ?? null,
        after === undefined ? new Uint8Array() : idBytes(after),
        limit,
      );
    const found = this.#database
      .all('SELECT id FROM lane WHERE queue = ?', queue)
      .flatMap((lane) => [...of(lane, 0), ...of(lane, 1)])
      .sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1))
      .slice(0, limit);
    const last = found.length < limit ? undefined : found.at(-1);
    return { keys: found.map(({ key }) => String(key)), last: last && idOf(last.id) };
  }

  async aggregate<K extends keyof Aggregates>(kind: K, query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    const parts = { database: this.#database, reader: this.#reader, now: Date.now(), lastSign: () => 0 };
    const answer = aggregate(parts, kind, query);
    if (kind !== 'failures') return answer;
    const { items, next } = answer as Aggregates['failures']['answer'];
    const names = this.#names(items.map(({ lastTaskId }) => lastTaskId));
    return {
      items: items.map((item) => ({ ...item, lastTaskId: names.get(item.lastTaskId)?.key ?? item.lastTaskId })),
      next,
    } as Aggregates[K]['answer'];
  }

  describe(): Pick<EngineDescription, 'rev' | 'oldestRev' | 'queues'> {
    const { rev, oldestRev, queues } = this.#reader.describe();
    return { rev, oldestRev, queues };
  }

  /** When the last job of a schedule began. */
  lastOf(schedule: string): TaskSummary | undefined {
    return this.find({ schedule, sort: 'startedAt', limit: 1, counted: false }).items.find(({ startedAt }) => startedAt !== null);
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    for await (const changes of this.#reader.watch(after, this.#changed, signal)) {
      const names = this.#names(changes.removed);
      yield { ...changes, upserts: this.#named(changes.upserts), removed: changes.removed.map((id) => names.get(id)?.key ?? id) };
    }
  }

  /** Tasks by the names that the other engine has for them and their states. */
  #named<T extends TaskSummary>(tasks: readonly T[]): T[] {
    const names = this.#names(tasks.map(({ id }) => id));
    return tasks.map((task) => {
      const name = names.get(task.id);
      return name ? { ...task, id: name.key, engineState: name.state } : task;
    });
  }

  #names(ids: readonly string[]): Map<string, { key: string; state: string }> {
    if (ids.length === 0) return new Map();
    const rows = this.#database.all(
      "SELECT id, key, state FROM mirrored WHERE id IN (SELECT unhex(value, '-') FROM json_each(?))",
      JSON.stringify(ids),
    );
    return new Map(rows.map((row) => [idOf(row.id), { key: String(row.key), state: String(row.state) }]));
  }
}
