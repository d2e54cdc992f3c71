import type { Aggregates, LogQuery, QueueState } from '../../../tasks/engine.js';
import type { LogLine, TaskDetail, Worker } from '../../../tasks/types.js';
import type { Ask } from '../connection/redis-calls.js';
import type { Queues } from '../queues/queues.js';
import type { Statistics } from '../statistics/statistics.js';
import { type CountSource, readPulse } from './counts.js';
import { EngineSource } from './job-source.js';
import { countFailed, readLive } from './live-counts.js';
import { logOf, readLines } from './log-lines.js';
import { findJob } from './stored-jobs.js';
import { readTask } from './task-detail.js';
import { readWaits } from './waits.js';
import type { WindowModel } from './window-model.js';

interface EngineReadsParts {
  ask: Ask;
  /** Where jobs and counts outside the window are read. */
  source: CountSource;
  window(): Promise<WindowModel>;
  queues: Queues;
  statistics: Statistics;
  /** The queues, and which of them are paused. */
  queueStates(): Promise<QueueState[]>;
  workers(): Promise<Worker[]>;
}

/** Answers queries about one task, and aggregates over all tasks. */
export class EngineReads {
  readonly #parts: EngineReadsParts;

  constructor(parts: EngineReadsParts) {
    this.#parts = parts;
  }

  get(id: string, { logLines = 10_000 }: { logLines?: number | undefined }): Promise<TaskDetail | undefined> {
    const { ask, source, queues } = this.#parts;
    return ask(async () => {
      const found = await findJob(source, id);
      const task = found && (await readTask(queues, found, found.jobId, logLines));
      return task && { ...task, id };
    });
  }

  logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    const { ask, source, queues } = this.#parts;
    return ask(async () => {
      const found = await findJob(source, id);
      return found ? readLines(logOf(queues.get(found.queue), found.jobId), query) : [];
    });
  }

  aggregate<K extends keyof Aggregates>(kind: K, query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    const { ask, source, window, statistics, queueStates, workers } = this.#parts;
    const kinds: { [Kind in keyof Aggregates]: (...query: Aggregates[Kind]['query']) => Promise<Aggregates[Kind]['answer']> } = {
      pulse: async () => readPulse(source, await queueStates()),
      waits: () => readWaits({ ...source, source: new EngineSource(source.redis, source.keys) }),
      workers,
      metrics: async (range) => statistics.metrics(range, await readLive(source, await window()), Date.now()),
      failures: (failures) => statistics.failures.read(failures, async (fingerprints) => countFailed(await window(), fingerprints)),
      histograms: (bounds) => statistics.histograms(bounds),
    };
    return ask(async () => {
      await statistics.flush();
      return kinds[kind](...query);
    });
  }
}
