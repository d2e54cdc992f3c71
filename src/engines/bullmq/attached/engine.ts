import type { Queue } from 'bullmq';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import { memoryStore } from '../../../store/memory-store.js';
import type { SharedStore } from '../../../store/shared-store.js';
import type { Action, Command, CommandBy, Outcome } from '../../../tasks/commands.js';
import type {
  Changes,
  EngineControl,
  EngineDescription,
  EngineReader,
} from '../../../tasks/engine.js';
import type { Aggregates, LogQuery, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { Definitions } from '../../../tasks/function-settings.js';
import { type Recurrence, runsAfter } from '../../../tasks/schedule.js';
import type { LogLine, StatsSnapshot, TaskDetail } from '../../../tasks/types.js';
import { waitUnref } from '../../../waiting.js';
import { successRate } from '../../metrics.js';
import { CallProgress } from '../connection/redis-calls.js';
import { plainError, withinTime } from '../connection/redis-connection.js';
import { keyOf, partsOf } from '../jobs/job-ids.js';
import { listWorkers } from '../processes/workers.js';
import { QueueReads } from '../queues/queue-reads.js';
import type { WindowModel } from '../read/window-model.js';
import { openRedisStore, type RedisStore } from '../store/redis-store.js';
import { readDetail, readLog } from './detail.js';
import { attachedActions, JobControl } from './job-control.js';
import { coverageOf, readMetrics } from './metrics.js';
import { AttachedPauses } from './pauses.js';
import { connectionOf } from './queues-option.js';
import { AvailabilityWork, cannotUse, RedisAvailability } from './redis-availability.js';
import { listSchedulers, recurrenceOf, toScheduleState } from './schedulers.js';
import { openAttachedWindow } from './window.js';

/** Timeouts in milliseconds: for one answer of BullMQ, and for a command to many jobs. */
const timeouts = { answer: 5000, command: 120_000 };
/**
 * Milliseconds that the first answers wait for the queues to be read. That takes several answers of
 * Redis, one after the other.
 */
const firstRead = 10_000;
/** Milliseconds between two attempts to read the queues for the first time. */
const openInterval = 500;
/** Milliseconds that `close` waits for Redis. */
const closeTime = 1000;

/** The validated options of {@link attachQueues}. */
interface AttachedDeps {
  history: number;
  keep: number;
  namespace: string;
  logger: Logger;
}

/**
 * The engine of attached queues. `WindowModel` keeps the newest jobs in memory and answers lists,
 * as for `bullmqEngine`; `AttachedSource` tells it about changes, from BullMQ's events. Details are
 * read from the job. Commands are BullMQ's own methods (`job-control.ts`). `RedisAvailability` says
 * whether Redis answers. Sessions are in a `redisStore`, opened on first use.
 */
export class AttachedEngine implements EngineReader, EngineControl {
  readonly can: ReadonlySet<Action> = attachedActions;
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #options: AttachedDeps;
  readonly #availability: RedisAvailability;
  readonly #pauses: AttachedPauses;
  readonly #opening: Promise<WindowModel>;
  readonly #firstRead: Promise<void>;
  #settleFirstRead = (): void => {};
  #model: WindowModel | undefined;
  #closed = false;
  /** Since when every event is read, in Unix milliseconds. */
  #readSince = 0;
  /** The recurrence rules of the schedulers that the last `describe` found. */
  #recurrences: ReadonlyMap<string, Recurrence | undefined> = new Map();
  #store: SharedStore | undefined;
  #redis: RedisStore | undefined;
  readonly #endListening: (() => void)[] = [];

  constructor(queues: readonly Queue[], options: AttachedDeps) {
    this.#queues = new Map(queues.map((queue) => [queue.name, new QueueReads(queue)]));
    this.#options = options;
    this.#availability = new RedisAvailability(options.logger);
    this.#pauses = new AttachedPauses(this.#queues);
    this.#firstRead = new Promise((resolve) => {
      const timer = setTimeout(resolve, firstRead).unref();
      this.#settleFirstRead = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    for (const queue of queues) this.#listen(queue);
    this.#opening = runInEmptyContext(() => this.#open());
    this.#opening.catch(() => undefined);
  }

  /** Opened on first use, because an app with its own login does not need it. */
  get store(): SharedStore {
    if (!this.#store) {
      const { namespace, logger } = this.#options;
      const connection = connectionOf([...this.#queues.values()][0]?.queue);
      const options = {
        prefix: namespace,
        logger,
        option: 'namespace of attachQueues',
        claimsAtOnce: true,
      };
      this.#redis = connection === undefined ? undefined : openRedisStore(connection, options);
      this.#store = this.#redis ?? memoryStore();
    }
    return this.#store;
  }

  #listen(queue: Queue): void {
    const onError = (error: unknown): void => {
      this.#availability.setLost(error, queue.name);
      this.#settleFirstRead();
    };
    // This listener stays after `close`. Without a listener, BullMQ prints the whole error, and
    // some errors contain a password.
    queue.on('error', onError);
    const onClose = (): void => onError(new Error('the connection was closed'));
    queue.getBackend().on('close', onClose);
    this.#endListening.push(() => queue.getBackend().off('close', onClose));
  }

  /**
   * Reads the queues as soon as Redis can be used. From then on, the window follows their events.
   */
  async #open(): Promise<WindowModel> {
    const { history, keep, logger } = this.#options;
    const work = {
      looking: new AvailabilityWork(
        logger,
        'reading the events of attached queues',
        this.#availability,
      ),
      filling: new AvailabilityWork(logger, 'reading attached queues', this.#availability),
    };
    while (!this.#closed) {
      try {
        const model = await openAttachedWindow({
          queues: this.#queues,
          history,
          keep,
          work,
          on: {
            started: (at) => {
              this.#readSince = at;
            },
            resumed: (queue) => this.#pauses.resumed(queue),
          },
        });
        if (this.#closed) await model.close();
        else this.#model = model;
        this.#availability.setUsable();
      } catch (error) {
        this.#availability.setLost(error);
      }
      this.#settleFirstRead();
      if (this.#model) return this.#model;
      if (!this.#closed) await waitUnref(openInterval);
    }
    throw isClosed();
  }

  async #ready(): Promise<WindowModel> {
    if (this.#closed) throw isClosed();
    await this.#firstRead;
    const { lost } = this.#availability;
    if (lost) throw cannotUse(lost, { reported: true });
    if (!this.#model) throw this.#closed ? isClosed() : cannotUse(new Error('it does not answer'));
    return this.#model;
  }

  /**
   * Asks BullMQ. If Redis fails or does not answer in time, the error has the code
   * ENGINE_UNAVAILABLE.
   */
  async #ask<T>(
    call: (model: WindowModel, progress: CallProgress) => Promise<T>,
    milliseconds = timeouts.answer,
  ): Promise<T> {
    const model = await this.#ready();
    const progress = new CallProgress();
    try {
      return await withinTime(call(model, progress), milliseconds);
    } catch (error) {
      const maybeDone = progress.fail(error);
      throw error instanceof TaskflowError ? error : cannotUse(plainError(error), { maybeDone });
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#availability.close();
    this.#settleFirstRead();
    for (const end of this.#endListening) end();
    // Closing the model can take forever if Redis never answers, so the wait has a limit. A model
    // that is still closing does no more work.
    await Promise.race([this.#model?.close(), waitUnref(closeTime)]);
    await this.#redis?.close();
  }

  find(query: TaskQuery): Promise<TaskPage> {
    return this.#ask((model) => model.find(query));
  }

  get(
    id: string,
    { logLines = 10_000 }: { logLines?: number | undefined } = {},
  ): Promise<TaskDetail | undefined> {
    return this.#ask((model) => readDetail({ model, queues: this.#queues }, id, logLines));
  }

  async logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    const { queue, jobId } = partsOf(id);
    const reads = this.#queues.get(queue);
    return this.#ask(async () => (reads ? readLog(reads, jobId, query) : []));
  }

  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    return this.#ask(async (model): Promise<Aggregates[K]['answer']> => {
      if (kind === 'workers')
        return (await listWorkers(
          [...this.#queues.values()].map(({ queue }) => queue),
        )) as Aggregates[K]['answer'];
      if (kind === 'waits') return (await model.waits()) as Aggregates[K]['answer'];
      if (kind === 'statsSnapshot')
        return (await this.#statsSnapshot(model)) as Aggregates[K]['answer'];
      if (kind === 'histograms') return model.aggregate(kind, query);
      const [range] = query as Aggregates['metrics' | 'failures']['query'];
      const read =
        kind === 'metrics'
          ? readMetrics(model, [...this.#queues.keys()], range)
          : model.aggregate(kind, query);
      return {
        ...(await read),
        ...coverageOf(range.from, this.#readSince),
      } as Aggregates[K]['answer'];
    });
  }

  async #statsSnapshot(model: WindowModel): Promise<StatsSnapshot> {
    const { perMinute } = await model.aggregate('statsSnapshot', []);
    const [counts, queues] = await Promise.all([model.counts({}), this.#pauses.states()]);
    const paused = queues.flatMap(({ name, pause }) => (pause ? [{ queue: name, ...pause }] : []));
    const { running, pending } = counts;
    return { counts, running, pending, successRate: successRate(counts), perMinute, paused };
  }

  describe(): Promise<EngineDescription> {
    return this.#ask(async (model) => {
      const revs = await model.revs();
      const reading = [...this.#queues].map(([name, reads]) => listSchedulers(name, reads));
      const [queues, ...lists] = await Promise.all([this.#pauses.states(), ...reading]);
      const schedulers = lists.flat();
      this.#recurrences = new Map(
        schedulers.map((scheduler) => [
          keyOf(scheduler.queue, scheduler.fields.id),
          recurrenceOf(scheduler),
        ]),
      );
      return {
        engine: 'bullmq',
        ...revs,
        queues,
        schedules: schedulers.map((scheduler) => toScheduleState(scheduler, model)),
      };
    });
  }

  /**
   * Returns no functions. `runsAfter` calculates the runs of the schedulers that the last
   * `describe` found.
   */
  definitions(): Definitions {
    return {
      functions: [],
      runsAfter: (schedule, next, count) => runsAfter(this.#recurrences.get(schedule), next, count),
    };
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    await this.#ask((model) => model.revs());
    yield* (await this.#opening).watch(after, signal);
  }

  control(command: Command, by: CommandBy): Promise<Outcome> {
    return this.#ask(
      (model, progress) =>
        new JobControl({
          ...{ queues: this.#queues, model, pauses: this.#pauses, progress },
        }).control(command, by),
      timeouts.command,
    );
  }
}

function isClosed(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the queues are no longer attached');
}
