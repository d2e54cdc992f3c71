import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import { version } from '../package-files.js';
import type { Changes } from '../tasks/engine.js';
import type { TaskSource } from '../tasks/source.js';
import { isTaskId } from '../tasks/task-id.js';
import type { LogLine, StatsSnapshot } from '../tasks/types.js';
import type { StreamEvent } from './event.js';
import { tasksOption } from './options.js';
import type { StreamClient } from './sse-stream.js';

/** Milliseconds between two `tasks` events, two `metrics` events and two looks for log lines. */
const intervals = { tasks: 100, metrics: 1000, logs: 250 };
/** Lines of one event, at most; what is left comes with the next. */
const linesOfEvent = 1000;
/** Tasks whose log one client may follow. */
const maxFollowed = 20;
const topicNames = ['tasks', 'metrics'];

interface TasksEvent extends StreamEvent {
  /** The event tells everything between these two numbers. */
  from: number;
  to: number;
  changes: Changes;
}

/** Lines of one task, in order and without a gap. */
interface LogEvent extends StreamEvent {
  data: { id: string; lines: readonly LogLine[] };
}

interface FollowedLog {
  clients: number;
  /** Number of the last line told. */
  n: number;
  event: LogEvent | undefined;
}

/** What all clients of one source share: one watch of the changes, one set of numbers, one serialised event for all. */
class LiveTasks {
  readonly #tasks: TaskSource;
  readonly #logs = new Map<string, FollowedLog>();
  readonly #waiting = new Set<() => void>();
  #clients = 0;
  #controller = new AbortController();
  #timers: NodeJS.Timeout[] = [];
  latest: TasksEvent | undefined;
  metrics: StreamEvent | undefined;
  ended = false;

  constructor(tasks: TaskSource) {
    this.#tasks = tasks;
  }

  async join(): Promise<void> {
    this.#clients += 1;
    // The work that all clients share runs in an empty context, not in the context of one of their requests.
    if (this.#clients === 1) await runInEmptyContext(() => this.#begin());
  }

  async #begin(): Promise<void> {
    this.#controller = new AbortController();
    this.ended = false;
    this.latest = undefined;
    this.#timers = [
      setInterval(() => void this.#readMetrics(), intervals.metrics).unref(),
      setInterval(() => void this.#readLogs(), intervals.logs).unref(),
    ];
    void this.#follow(this.#controller.signal);
    await this.#readMetrics();
  }

  leave(): void {
    this.#clients -= 1;
    if (this.#clients > 0) return;
    this.#controller.abort();
    for (const timer of this.#timers) clearInterval(timer);
    this.metrics = undefined;
  }

  followLog(id: string, n: number): FollowedLog {
    const log = this.#logs.get(id) ?? { clients: 0, n, event: undefined };
    log.clients += 1;
    this.#logs.set(id, log);
    return log;
  }

  unfollowLog(id: string): void {
    const log = this.#logs.get(id);
    if (log && --log.clients === 0) this.#logs.delete(id);
  }

  /** Resolves when there may be something new, or when the signal aborts. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      if (signal.aborted) return resolve();
      signal.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      let { rev } = await this.#tasks.describe();
      for await (const changes of this.#tasks.watch(rev, signal)) {
        this.latest = tasksEvent(rev, changes);
        rev = changes.rev;
        if (hasRows(changes)) this.#wake();
        // What changes meanwhile is told by the next event, each task once.
        await new Promise((resolve) => setTimeout(resolve, intervals.tasks).unref());
        if (signal.aborted) return;
      }
    } catch {
      // The engine cannot be asked: the streams end, and clients come back until it can.
    }
    if (signal.aborted) return;
    this.ended = true;
    this.#wake();
  }

  async #readMetrics(): Promise<void> {
    const snapshot = await this.#readStatsSnapshot();
    if (!snapshot || JSON.stringify(snapshot) === JSON.stringify(this.metrics?.data)) return;
    this.metrics = { event: 'metrics', data: snapshot };
    this.#wake();
  }

  /** A source of the app may throw at once instead of rejecting, and a timer that throws would end the process. */
  async #readStatsSnapshot(): Promise<StatsSnapshot | undefined> {
    try {
      return await this.#tasks.aggregate('statsSnapshot');
    } catch {
      return undefined;
    }
  }

  async #readLogs(): Promise<void> {
    for (const [id, log] of this.#logs) {
      const event = await linesAfter(this.#tasks, id, log.n).catch(() => undefined);
      const last = event?.data.lines.at(-1);
      if (!last) continue;
      log.n = last.n;
      log.event = event;
      this.#wake();
    }
  }
}

function hasRows({ upserts, removed, dropped }: Changes): boolean {
  return upserts.length > 0 || removed.length > 0 || dropped > 0;
}

function tasksEvent(from: number, changes: Changes): TasksEvent {
  const { rev, upserts, removed, dropped } = changes;
  return { event: 'tasks', id: rev, data: { upserts, removed, dropped }, from, to: rev, changes };
}

/** What of an event is news to whoever has seen the changes up to a number. */
function newsOf({ to, changes }: TasksEvent, seen: number): TasksEvent {
  const { upserts, removed, revs, dropped } = changes;
  const isNew = (numbers: readonly number[]) => (_row: unknown, n: number) =>
    (numbers[n] ?? 0) > seen;
  const news = {
    upserts: upserts.filter(isNew(revs.upserts)),
    removed: removed.filter(isNew(revs.removed)),
  };
  return tasksEvent(seen, { ...changes, rev: to, ...news, dropped });
}

const shared = new WeakMap<TaskSource, LiveTasks>();

/**
 * The live events of the tasks, for {@link sseStream}: `hello`, `tasks` with what changed, `metrics`, and `log` of the tasks
 * named by `?task=`. A client that reconnects with `Last-Event-ID` gets the newest row of every task changed since.
 * `?topics=tasks,metrics` narrows it. The cost of a change is in the clients and the changed rows, never in the tasks kept.
 *
 * @example
 * ```ts
 * router.get('/tasks/dashboard/stream', requireAuth('401'), sseStream(taskEvents(tasks), { access: auth }));
 * ```
 */
export function taskEvents(
  tasks: TaskSource,
): (client: StreamClient) => AsyncIterable<StreamEvent> {
  const source = tasksOption(tasks);
  const live = shared.get(source) ?? new LiveTasks(source);
  shared.set(source, live);

  return (client) => clientEvents(source, live, client, readWishes(client.query));
}

interface Wishes {
  topics: ReadonlySet<string>;
  followed: readonly string[];
}

function readWishes(query: URLSearchParams): Wishes {
  const topics = query.get('topics')?.split(',') ?? topicNames;
  if (topics.some((topic) => !topicNames.includes(topic)))
    throw new TaskflowError(
      'INVALID_INPUT',
      `topics must be some of ${topicNames.join(', ')}, with commas between.`,
    );
  const followed = [...new Set(query.getAll('task'))];
  if (followed.length > maxFollowed || !followed.every(isTaskId))
    throw new TaskflowError(
      'INVALID_INPUT',
      `task must be the id of a task, at most ${maxFollowed} times.`,
    );
  return { topics: new Set(topics), followed };
}

async function* clientEvents(
  tasks: TaskSource,
  live: LiveTasks,
  { lastEventId, signal }: StreamClient,
  { topics, followed }: Wishes,
): AsyncGenerator<StreamEvent> {
  const { rev, oldestRev } = await tasks.describe();
  const known =
    lastEventId !== undefined && /^\d{1,16}$/.test(lastEventId) ? Number(lastEventId) : Number.NaN;
  const resumed = known >= oldestRev && known <= rev;
  let seen = resumed ? known : rev;
  yield {
    event: 'hello',
    id: seen,
    data: { serverTime: new Date().toISOString(), version, resumed },
  };

  await live.join();
  const logs = new Map<string, { log: FollowedLog; n: number }>();
  try {
    for (const id of followed) {
      const n = await lastLine(tasks, id);
      logs.set(id, { log: live.followLog(id, n), n });
    }
    let toldMetrics: StreamEvent | undefined;
    // What changed since the client left, and while it was being let in, before the shared events begin.
    if (topics.has('tasks') && seen < (await tasks.describe()).rev) {
      const event = await changesSince(tasks, seen, signal);
      if (event) yield event;
      seen = event?.to ?? seen;
    }
    while (!signal.aborted && !live.ended) {
      const next = live.next(signal);
      if (topics.has('tasks') && live.latest && live.latest.to > seen) {
        const event = await eventAfter(tasks, live.latest, seen, signal);
        seen = event?.to ?? seen;
        if (event && hasRows(event.changes)) yield event;
      }
      if (topics.has('metrics') && live.metrics && live.metrics !== toldMetrics) {
        toldMetrics = live.metrics;
        yield live.metrics;
      }
      for (const [id, entry] of logs) {
        if (entry.log.event === undefined || entry.log.n <= entry.n) continue;
        const [first] = entry.log.event.data.lines;
        // As with the tasks: who has missed a line before the shared event gets one of its own.
        const event =
          first && first.n <= entry.n + 1 ? entry.log.event : await linesAfter(tasks, id, entry.n);
        entry.n = event.data.lines.at(-1)?.n ?? entry.n;
        if (event.data.lines.length > 0) yield event;
      }
      await next;
    }
  } finally {
    for (const id of logs.keys()) live.unfollowLog(id);
    live.leave();
  }
}

/**
 * The shared event is for whoever has seen just what came before it. Who has seen some of it, as after a resume, gets the rest;
 * who fell behind gets one of its own.
 */
async function eventAfter(
  tasks: TaskSource,
  latest: TasksEvent,
  seen: number,
  signal: AbortSignal,
): Promise<TasksEvent | undefined> {
  if (latest.from === seen) return latest;
  return latest.from < seen ? newsOf(latest, seen) : changesSince(tasks, seen, signal);
}

async function changesSince(
  tasks: TaskSource,
  seen: number,
  signal: AbortSignal,
): Promise<TasksEvent | undefined> {
  for await (const changes of tasks.watch(seen, signal)) return tasksEvent(seen, changes);
  return undefined;
}

async function linesAfter(tasks: TaskSource, id: string, after: number): Promise<LogEvent> {
  return {
    event: 'log',
    data: { id, lines: await tasks.logs(id, { after, limit: linesOfEvent }) },
  };
}

/** A number that no log line reaches. */
const pastTheLastLine = 999_999_999;

/** Lines written before a client came are not replayed. */
async function lastLine(tasks: TaskSource, id: string): Promise<number> {
  return (await tasks.logs(id, { before: pastTheLastLine, limit: 1 })).at(-1)?.n ?? 0;
}
