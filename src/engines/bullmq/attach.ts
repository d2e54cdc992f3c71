import type { Queue } from 'bullmq';
import { TaskflowError } from '../../errors.js';
import { type Logger, loggerOption, numberOption, optionsObject, typeError, wrongType } from '../../options.js';
import { memoryStore } from '../../store/memory-store.js';
import type { SharedStore } from '../../store/shared-store.js';
import { checkedReader } from '../../tasks/checked-source.js';
import type {
  Action,
  Aggregates,
  Changes,
  Command,
  CommandBy,
  Definitions,
  EngineControl,
  EngineDescription,
  EngineReader,
  LogQuery,
  Outcome,
  TaskFilter,
  TaskPage,
  TaskQuery,
} from '../../tasks/engine.js';
import { readCommand } from '../../tasks/read-command.js';
import { runsAfter, type Timetable } from '../../tasks/schedule.js';
import type { TaskSource } from '../../tasks/source.js';
import type { LogLine, TaskDetail, TaskSummary } from '../../tasks/types.js';
import { knownTarget } from '../../tasks/unknown-target.js';
import { commandTasks, previewByState, type TasksCommand } from '../bulk.js';
import { AttachedLists } from './attached-lists.js';
import { connectionOfQueue, type RedisConnection } from './connection-option.js';
import { withHindrances } from './control/attached-preview.js';
import { isAllowed, JobControl } from './control.js';
import { readDetail, readLog } from './detail.js';
import { Follower } from './follower.js';
import { keyOf, partsOf } from './job-ids.js';
import { JobMirror } from './mirror.js';
import { QueueReads } from './queue-reads.js';
import { plainError, withinTime } from './redis-connection.js';
import { openRedisStore, type RedisStore, storePrefixOption } from './redis-store.js';
import { listSchedulers, timetableOf, toScheduleState } from './schedulers.js';
import { listWorkers } from './workers.js';

/** Options of {@link attachQueues}. */
export interface AttachOptions {
  /** How many of the newest ended jobs of each queue and outcome are read at the start. 0 to 1,000,000, default 10,000. */
  history?: number | undefined;
  /**
   * How many ended jobs are kept in memory, including jobs that BullMQ has removed since. 1 to 10,000,000, default 100,000.
   */
  keep?: number | undefined;
  /**
   * Names the keys of this app's sessions, revocations, throttle and audit in Redis, which all begin with `{namespace}:`. Two
   * apps on one Redis need different namespaces. All processes of one app have the same. If a login with another `secretKey`
   * uses the namespace already, requests get 503 and the log says why. Not BullMQ's `prefix`. Default `koa-taskflow`.
   */
  namespace?: string | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** BullMQ queues as tasks. `taskAdmin`, `dashboardRoutes` and `taskRoutes` accept this in place of a `TaskManager`. */
export interface AttachedQueues extends TaskSource {
  /**
   * The store of the login: its sessions, failed logins and audit log. It is in the Redis of the first queue, so that all processes
   * share it. If that queue is on Redis Cluster, or if its client is not ioredis, the store is in the memory of this process.
   */
  readonly store: SharedStore;
  /** Stops following the queues and closes the connections that were opened for that. The queues themselves stay open. */
  close(): Promise<void>;
}

/** Milliseconds that BullMQ is waited for. */
const patience = 5000;
/** Milliseconds after an answer for which the tasks count as shown. */
const readFor = 10_000;
/** Seconds that the first answer waits for the queues to be read. */
const firstRead = 5;

/**
 * Shows and controls BullMQ queues that other programs fill and work on. It reads them once, then follows their events, and
 * writes nothing to a queue but what a user does. Lists read what they show; data, result and log are read of the open job
 * alone, and no more than 2 MiB of each.
 *
 * @throws TypeError if `queues` is no list of BullMQ's `Queue` on Redis, or two have the same name. TypeError or RangeError for a
 * wrong option.
 * @example
 * ```ts
 * const tasks = attachQueues([new Queue('mail', { connection })]);
 * app.use(taskAdmin(tasks, { auth: ['admin', 'secret'] }));
 * ```
 */
export function attachQueues(queues: readonly Queue[], options?: AttachOptions): AttachedQueues {
  const given = optionsObject<AttachOptions>('attachQueues', options, ['history', 'keep', 'namespace', 'logger']);
  const history = numberOption('history', given.history, 10_000, { min: 0, max: 1_000_000, integer: true });
  const keep = numberOption('keep', given.keep, 100_000, { min: 1, max: 10_000_000, integer: true });
  const namespace = storePrefixOption('namespace', given.namespace);
  const attached = new Attached(checkQueues(queues), { history, keep, namespace, logger: loggerOption('logger', given.logger) });
  return {
    ...checkedReader(attached, () => Date.now()),
    can: attached.can,
    get store() {
      return attached.store;
    },
    definitions: () => attached.definitions(),
    control: async (command, by) => {
      const [checked, who] = await readCommand(command, by, Date.now());
      return knownTarget(checked, await attached.control(checked, who), () => attached.describe());
    },
    close: () => attached.close(),
  };
}

function checkQueues(queues: readonly Queue[]): readonly Queue[] {
  const isQueue = (queue: unknown): boolean =>
    typeof queue === 'object' && queue !== null && ['getRanges', 'getJobCounts', 'getBackend'].every((name) => name in queue);
  if (!Array.isArray(queues) || queues.length === 0 || !queues.every(isQueue)) throw wrongType('queues', queues, 'a list of BullMQ queues');
  const other = queues.find((queue) => !('client' in (queue.getBackend() as object)));
  if (other) throw typeError(`queue '${other.name}' is not on Redis; attachQueues can show queues on Redis only`);
  const names = queues.map(({ name }) => name);
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined) throw typeError(`queues has more than one queue of the name '${twice}'`);
  return queues;
}

function isAway(cause: Error, reported: boolean): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', `Redis cannot be used for the attached queues: ${cause.message}`, { cause, reported });
}

/** What a queue is connected with, where a client of ioredis can be made of it. */
function connectionOf(queue: Queue | undefined): RedisConnection | undefined {
  const connection = queue?.opts.connection;
  if (typeof connection !== 'object' || connection === null) return undefined;
  const isOther = 'runCommand' in connection || ('isCluster' in connection && connection.isCluster === true);
  if (isOther) return undefined;
  return 'duplicate' in connection ? (connection as RedisConnection) : connectionOfQueue(connection);
}

/** Options of {@link attachQueues}, checked. */
interface AttachedParts {
  history: number;
  keep: number;
  namespace: string;
  logger: Logger;
}

/** What is known of the queues, in the words of an engine. */
class Attached implements EngineReader, EngineControl {
  readonly can: ReadonlySet<Action> = new Set(['retry', 'rerun', 'delete', 'run', 'pause', 'resume']);
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #logger: Logger;
  readonly #namespace: string;
  readonly #opening: Promise<JobMirror>;
  readonly #followers = new Map<string, Follower>();
  /** Of each queue whether what is shown of it is the present. */
  readonly #live = new Map<string, boolean>();
  #firstRead: Promise<void>;
  #settleFirstRead = (): void => {};
  #away: Error | undefined;
  #watchers = 0;
  /** When something was asked last. */
  #askedAt = performance.now();
  #closed = false;
  /** Of the schedulers that were there when they were last asked for. */
  #timetables: ReadonlyMap<string, Timetable | undefined> = new Map();
  #store: SharedStore | undefined;
  #redis: RedisStore | undefined;

  constructor(queues: readonly Queue[], { history, keep, namespace, logger }: AttachedParts) {
    this.#queues = new Map(queues.map((queue) => [queue.name, new QueueReads(queue)]));
    this.#logger = logger;
    this.#namespace = namespace;
    this.#firstRead = new Promise((resolve) => {
      this.#settleFirstRead = resolve;
    });
    setTimeout(this.#settleFirstRead, firstRead * 1000).unref();
    this.#opening = JobMirror.open(logger, { age: undefined, count: keep }).then((mirror) => {
      for (const [name, reads] of this.#queues) {
        const reports = { live: (live: boolean, cause?: Error) => this.#report(name, live, cause), isRead: () => this.#isRead() };
        const follower = new Follower({ reads, mirror, history, reports });
        this.#followers.set(name, follower);
        if (!this.#closed) follower.start();
      }
      return mirror;
    });
  }

  /** Opened when it is asked for: an app with a login of its own needs none. */
  get store(): SharedStore {
    if (!this.#store) {
      const connection = connectionOf([...this.#queues.values()][0]?.queue);
      const options = { prefix: this.#namespace, logger: this.#logger, option: 'namespace of attachQueues', claimsAtOnce: true };
      this.#redis = connection === undefined ? undefined : openRedisStore(connection, options);
      this.#store = this.#redis ?? memoryStore();
    }
    return this.#store;
  }

  #isRead(): boolean {
    return this.#watchers > 0 || performance.now() - this.#askedAt < readFor;
  }

  /** One line for each change, not for each try. */
  #report(queue: string, live: boolean, thrown?: Error): void {
    this.#live.set(queue, live);
    const cause = plainError(thrown ?? 'it does not answer');
    if (!live) {
      if (!this.#away) this.#logger.error({ err: cause, queue }, 'Redis cannot be used for the attached queues');
      this.#away ??= cause;
      this.#settleFirstRead();
    } else if (this.#queues.size === this.#live.size && [...this.#live.values()].every(Boolean)) {
      if (this.#away) this.#logger.info({ queue }, 'Redis can be used for the attached queues again');
      this.#away = undefined;
      this.#settleFirstRead();
    }
  }

  async #ready(): Promise<JobMirror> {
    this.#askedAt = performance.now();
    if (this.#closed) throw new TaskflowError('ENGINE_UNAVAILABLE', 'the queues are no longer attached');
    const mirror = await this.#opening;
    await this.#firstRead;
    if (this.#away) throw isAway(this.#away, true);
    return mirror;
  }

  /** Asks BullMQ. What it cannot answer is no fault of the app, nor is a Redis that is stuck. */
  async #ask<T>(call: (mirror: JobMirror) => Promise<T>, milliseconds = patience): Promise<T> {
    const mirror = await this.#ready();
    try {
      return await withinTime(call(mirror), milliseconds);
    } catch (error) {
      throw error instanceof TaskflowError ? error : isAway(plainError(error), false);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#settleFirstRead();
    const mirror = await this.#opening;
    await Promise.all([...this.#followers.values()].map((follower) => follower.close()));
    await Promise.all([mirror.close(), this.#redis?.close()]);
  }

  #lists(mirror: JobMirror): AttachedLists {
    return new AttachedLists(mirror, this.#followers);
  }

  find(query: TaskQuery): Promise<TaskPage> {
    return this.#ask((mirror) => this.#lists(mirror).find(query));
  }

  async get(id: string, { logLines = 10_000 }: { logLines?: number | undefined } = {}): Promise<TaskDetail | undefined> {
    const { queue, jobId } = partsOf(id);
    return this.#ask(async (mirror) => {
      await this.#lists(mirror).load([id]);
      return readDetail({ queue, mirror, queues: this.#queues }, jobId, logLines);
    });
  }

  async logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    const { queue, jobId } = partsOf(id);
    const reads = this.#queues.get(queue);
    return this.#ask(async () => (reads ? readLog(reads, jobId, query) : []));
  }

  async aggregate<K extends keyof Aggregates>(kind: K, ...query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    if (kind === 'workers')
      return this.#ask(async () => (await listWorkers([...this.#queues.values()].map(({ queue }) => queue))) as Aggregates[K]['answer']);
    if (kind === 'pulse') return this.#ask(async (mirror) => (await this.#lists(mirror).pulse()) as Aggregates[K]['answer']);
    return (await this.#ready()).aggregate(kind, query);
  }

  async describe(): Promise<EngineDescription> {
    return this.#ask(async (mirror) => {
      const { rev, oldestRev, queues } = mirror.describe();
      const known = new Map(queues.map((queue) => [queue.name, queue]));
      const schedulers = (await Promise.all([...this.#queues].map(([name, reads]) => listSchedulers(name, reads)))).flat();
      this.#timetables = new Map(schedulers.map((scheduler) => [keyOf(scheduler.queue, scheduler.fields.id), timetableOf(scheduler)]));
      return {
        engine: 'bullmq',
        rev,
        oldestRev,
        queues: [...this.#queues.keys()].sort().map((name) => known.get(name) ?? { name, paused: false, pause: null }),
        schedules: schedulers.map((scheduler) => toScheduleState(scheduler, mirror)),
      };
    });
  }

  /** No function is defined here, but what schedulers are known fire when their rules say. */
  definitions(): Definitions {
    return { functions: [], runsAfter: (schedule, next, count) => runsAfter(this.#timetables.get(schedule), next, count) };
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    const mirror = await this.#opening;
    this.#watchers += 1;
    try {
      yield* mirror.watch(after, signal);
    } finally {
      this.#watchers -= 1;
    }
  }

  control(command: Command, by: CommandBy): Promise<Outcome> {
    // Thousands of jobs take their time.
    return this.#ask((mirror) => this.#control(mirror, command, by), patience * 24);
  }

  async #control(mirror: JobMirror, command: Command, by: CommandBy): Promise<Outcome> {
    const control = new JobControl(this.#queues, mirror);
    const lists = this.#lists(mirror);
    if ('ids' in command && command.ids) await lists.load(command.ids);
    if ('queue' in command) return control.pause(command.queue, command.action === 'pause', by);
    if ('schedule' in command) return control.schedule(command);
    if (command.action === 'rerun') return control.rerun(command);
    if (!this.can.has(command.action)) throw new TaskflowError('NOT_SUPPORTED', `BullMQ cannot ${command.action} a job.`);
    const parts = {
      find: (query: TaskQuery) => lists.find(query),
      count: (filter: TaskFilter) => lists.count(filter),
      preview: async (action: TasksCommand['action'], ids: readonly string[], tasks?: readonly TaskSummary[]) =>
        withHindrances(
          this.#queues,
          action,
          previewByState(ids, tasks ?? mirror.summaries(ids), (status) => isAllowed(action, status)),
        ),
      allowed: isAllowed,
      act: control.act.bind(control),
    };
    return commandTasks(parts, command as Parameters<typeof commandTasks>[1], by);
  }
}
