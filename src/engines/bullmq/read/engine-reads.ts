import type { EngineDescription } from '../../../tasks/engine.js';
import type { Aggregates, LogQuery } from '../../../tasks/engine-queries.js';
import type { QueueState, ScheduleState } from '../../../tasks/queue-state.js';
import {
  type LogLine,
  type ProcessInfo,
  type TaskDetail,
  taskStatuses,
} from '../../../tasks/types.js';
import type { Live } from '../../metrics.js';
import type { Ask } from '../connection/redis-calls.js';
import type { Queues } from '../queues/queues.js';
import type { Statistics } from '../statistics/statistics.js';
import { readCounts, readStatsSnapshot } from './counts.js';
import { EngineSource } from './job-source.js';
import { logOf, readLines } from './log-lines.js';
import type { CountedQueues } from './marked-jobs.js';
import { findJobs } from './stored-jobs.js';
import { readTask } from './task-detail.js';
import { readWaits } from './waits.js';
import type { WindowModel } from './window-model.js';

interface EngineReadsDeps {
  ask: Ask;
  /** Where jobs and counts outside the window are read. */
  source: CountedQueues;
  window(): Promise<WindowModel>;
  queues: Queues;
  statistics: Statistics;
  /** The queues, and which of them are paused. */
  queueStates(): Promise<QueueState[]>;
  workers(): Promise<ProcessInfo[]>;
}

/**
 * Answers queries about one task, and aggregates over all tasks. The details and the log of a task
 * are read from its job. Counts are BullMQ's own, and the past is in the counters of `Statistics`.
 * Lists are answered elsewhere, by the window.
 */
export class EngineReads {
  readonly #deps: EngineReadsDeps;

  constructor(deps: EngineReadsDeps) {
    this.#deps = deps;
  }

  get(id: string, logLines = 10_000): Promise<TaskDetail | undefined> {
    const { ask, source, queues } = this.#deps;
    return ask(async () => {
      const found = (await findJobs(source, [id])).get(id);
      const task = found && (await readTask(queues, found, logLines));
      return task && { ...task, id };
    });
  }

  logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    const { ask, source, queues } = this.#deps;
    return ask(async () => {
      const found = (await findJobs(source, [id])).get(id);
      return found ? readLines(logOf(queues.get(found.queue), found.jobId), query) : [];
    });
  }

  describe(schedules: () => Promise<ScheduleState[]>): Promise<EngineDescription> {
    const { ask, window, queueStates } = this.#deps;
    return ask(async () => {
      const [revs, queues, states] = await Promise.all([
        window().then((model) => model.revs()),
        queueStates(),
        schedules(),
      ]);
      return { engine: 'bullmq', ...revs, queues, schedules: states };
    });
  }

  aggregate<K extends keyof Aggregates>(
    kind: K,
    query: Aggregates[K]['query'],
  ): Promise<Aggregates[K]['answer']> {
    const { ask, source, window, statistics, queueStates, workers } = this.#deps;
    const kinds: {
      [Kind in keyof Aggregates]: (
        ...query: Aggregates[Kind]['query']
      ) => Promise<Aggregates[Kind]['answer']>;
    } = {
      statsSnapshot: async () => readStatsSnapshot(source, await queueStates()),
      waits: () => readWaits({ ...source, source: new EngineSource(source.redis, source.keys) }),
      workers,
      metrics: async (range) =>
        statistics.metrics(range, await readLive(source, await window()), Date.now()),
      failures: (failures) =>
        statistics.failures.read(failures, async (fingerprint) => {
          // Only the window can count them.
          const model = await window();
          return (await model.count({ fingerprint, status: ['failed'] })).n;
        }),
      histograms: (bounds) => statistics.histograms(bounds),
    };
    return ask(async () => {
      // What this process could not write is missing from the answer. Redis can still be read when
      // its memory is full.
      await statistics.flush().catch(() => undefined);
      return kinds[kind](...query);
    });
  }
}

/** The name under which tasks outside the window are counted. No task has an empty name. */
const beyondWindow = '';

/**
 * Counts the present tasks by name, queue and state. BullMQ counts by queue and not by name, so
 * tasks outside the window are counted under an empty name.
 */
async function readLive(source: CountedQueues, window: WindowModel): Promise<Live[]> {
  const inWindow = await window.live();
  const live: Live[] = [...inWindow];
  for (const queue of new Set(source.catalog.all().map(({ label }) => label))) {
    const counts = await readCounts(source, source.catalog.covered(queue));
    for (const each of inWindow) if (each.queue === queue) counts[each.status] -= each.n;
    for (const status of taskStatuses)
      if (counts[status] !== 0) live.push({ name: beyondWindow, queue, status, n: counts[status] });
  }
  return live;
}
