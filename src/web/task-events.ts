import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import { Notifier } from '../notifier.js';
import { version } from '../package-files.js';
import type { Changes } from '../tasks/engine.js';
import type { TaskSource } from '../tasks/source.js';
import { isTaskId } from '../tasks/task-id.js';
import type { LogLine } from '../tasks/types.js';
import type { StreamEvent } from './event.js';
import { tasksOption } from './options.js';
import type { StreamClient } from './sse-stream.js';

/** Milliseconds between two `tasks` events, two `metrics` events and two reads of log lines. */
const intervals = { tasks: 100, metrics: 1000, logs: 250 };
/** Lines of one event, at most. The others come with the next event. */
const linesOfEvent = 1000;
/** Tasks whose log one client may follow. */
const maxFollowed = 20;
const topicNames = ['tasks', 'metrics'];

interface TasksEvent extends StreamEvent {
  /** The event contains all changes after this number. */
  from: number;
  changes: Changes;
}

/** Lines of one task, in order and without a gap. */
interface LogEvent extends StreamEvent {
  data: { id: string; lines: readonly LogLine[] };
}

interface FollowedLog {
  clients: number;
  /** Number of the last line that was sent. */
  n: number;
  event: LogEvent | undefined;
}

/** What all clients of one source share: one watch of the changes, one snapshot, one event each. */
class LiveTasks {
  readonly #tasks: TaskSource;
  readonly #logs = new Map<string, FollowedLog>();
  /** Notifies the clients when there may be something new. */
  readonly news = new Notifier();
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
    // The work that all clients share runs in an empty context, not in that of one request.
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

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      let { rev } = await this.#tasks.describe();
      for await (const changes of this.#tasks.watch(rev, signal)) {
        this.latest = tasksEvent(rev, changes);
        rev = changes.rev;
        if (hasRows(changes)) this.news.notify();
        // Changes during this time come with the next event, each task once.
        await new Promise((resolve) => setTimeout(resolve, intervals.tasks).unref());
        if (signal.aborted) return;
      }
    } catch {
      // If the engine is unavailable, the streams end, and clients reconnect until it answers.
    }
    if (signal.aborted) return;
    this.ended = true;
    this.news.notify();
  }

  async #readMetrics(): Promise<void> {
    try {
      const data = await this.#tasks.aggregate('statsSnapshot');
      if (JSON.stringify(data) === JSON.stringify(this.metrics?.data)) return;
      this.metrics = { event: 'metrics', data };
      this.news.notify();
    } catch {
      // In a timer, an error of the source would end the process.
    }
  }

  async #readLogs(): Promise<void> {
    for (const [id, log] of this.#logs) {
      const event = await linesAfter(this.#tasks, id, log.n).catch(() => undefined);
      const last = event?.data.lines.at(-1);
      if (!last) continue;
      log.n = last.n;
      log.event = event;
      this.news.notify();
    }
  }
}

function hasRows({ upserts, removed, dropped }: Changes): boolean {
  return upserts.length > 0 || removed.length > 0 || dropped > 0;
}

function tasksEvent(from: number, changes: Changes): TasksEvent {
  const { rev, upserts, removed, dropped } = changes;
  return { event: 'tasks', id: rev, data: { upserts, removed, dropped }, from, changes };
}

/** Returns the part of an event that a client has not seen. */
function newsOf({ changes }: TasksEvent, seen: number): TasksEvent {
  const isNew = (revs: readonly number[]) => (_row: unknown, n: number) => (revs[n] ?? 0) > seen;
  const { upserts, removed, revs } = changes;
  return tasksEvent(seen, {
    ...changes,
    upserts: upserts.filter(isNew(revs.upserts)),
    removed: removed.filter(isNew(revs.removed)),
  });
}

const shared = new WeakMap<TaskSource, LiveTasks>();

/**
 * Returns the live events of the tasks, for {@link sseStream}: `hello`, `tasks` with the changes,
 * `metrics`, and `log` of the tasks that `?task=` names. A client that reconnects with
 * `Last-Event-ID` gets the newest row of every task that changed since. `?topics=tasks,metrics`
 * selects events. The cost of a change grows with clients and changed rows, not with stored tasks.
 *
 * @example
 * ```ts
 * const stream = sseStream(taskEvents(tasks), { access: auth });
 * router.get('/tasks/dashboard/stream', requireAuth('401'), stream);
 * ```
 */
export function taskEvents(
  tasks: TaskSource,
): (client: StreamClient) => AsyncIterable<StreamEvent> {
  tasksOption(tasks);
  const live = shared.get(tasks) ?? new LiveTasks(tasks);
  shared.set(tasks, live);

  return (client) => clientEvents(tasks, live, client, readSubscription(client.query));
}

interface Subscription {
  topics: ReadonlySet<string>;
  followed: readonly string[];
}

function readSubscription(query: URLSearchParams): Subscription {
  const topics = query.get('topics')?.split(',') ?? topicNames;
  if (topics.some((topic) => !topicNames.includes(topic)))
    throw new TaskflowError(
      'INVALID_INPUT',
      `topics must be a comma-separated list of: ${topicNames.join(', ')}.`,
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
  { topics, followed }: Subscription,
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
    let sentMetrics: StreamEvent | undefined;
    // Send what changed before the shared events begin for this client.
    if (topics.has('tasks') && seen < (await tasks.describe()).rev) {
      const event = await changesSince(tasks, seen, signal);
      if (event) yield event;
      seen = event?.changes.rev ?? seen;
    }
    while (!signal.aborted && !live.ended) {
      const next = live.news.wait(signal);
      if (topics.has('tasks') && live.latest && live.latest.changes.rev > seen) {
        const event = await eventAfter(tasks, live.latest, seen, signal);
        seen = event?.changes.rev ?? seen;
        if (event && hasRows(event.changes)) yield event;
      }
      if (topics.has('metrics') && live.metrics && live.metrics !== sentMetrics) {
        sentMetrics = live.metrics;
        yield live.metrics;
      }
      for (const [id, entry] of logs) {
        if (entry.log.event === undefined || entry.log.n <= entry.n) continue;
        const [first] = entry.log.event.data.lines;
        // As with the tasks, a client that missed lines before the shared event gets its own event.
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
 * Returns the next event of a client. If it has seen exactly what came before the shared event,
 * that is the shared event. If it has seen a part of it, as after a resume, it gets the rest. If it
 * fell behind, it gets an event of its own.
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

/** Returns the number of the last line, because earlier lines are not sent to a new client. */
async function lastLine(tasks: TaskSource, id: string): Promise<number> {
  return (await tasks.logs(id, { before: pastTheLastLine, limit: 1 })).at(-1)?.n ?? 0;
}
