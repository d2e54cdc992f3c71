import type { Logger } from '../../../options.js';
import { RedisWork } from '../connection/connections.js';
import { readCounts } from './counts.js';
import { EngineSource } from './job-source.js';
import type { CountedQueues } from './marked-jobs.js';
import type { WindowLimits } from './window-feed.js';
import { WindowModel } from './window-model.js';
import { engineJobs } from './window-task.js';

interface EngineWindowDeps extends CountedQueues {
  logger: Logger;
  limits?: WindowLimits | undefined;
}

/** The default limits of a window. */
export const usualLimits: WindowLimits = { ended: 100_000, pending: 20_000 };
/** Milliseconds that answers wait for the window to be filled. */
const fillTimes = { first: 400, list: 10_000 };

/**
 * The window of a process that reads the tasks of `bullmqEngine`. The first read opens it, so that
 * a process that never reads does not fill a window.
 */
export class EngineWindow {
  readonly #deps: EngineWindowDeps;
  #opened: Promise<WindowModel> | undefined;

  constructor(deps: EngineWindowDeps) {
    this.#deps = deps;
  }

  /** Opens the window unless it is open. After a failure, the next call tries again. */
  open(): Promise<WindowModel> {
    this.#opened ??= open(this.#deps).catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async close(): Promise<void> {
    const model = await this.#opened?.catch(() => undefined);
    await model?.close();
  }
}

function open({ logger, limits = usualLimits, ...source }: EngineWindowDeps): Promise<WindowModel> {
  const { redis, keys, catalog } = source;
  return WindowModel.open({
    catalog,
    limits,
    fillTimes,
    rules: engineJobs,
    source: new EngineSource(redis, keys),
    work: {
      looking: new RedisWork(logger, 'reading what changed in Redis'),
      filling: new RedisWork(logger, 'reading the tasks that are in Redis'),
    },
    countTasks: (entries) => readCounts(source, entries),
    onReconnect(listener) {
      redis.on('ready', listener);
      return () => void redis.off('ready', listener);
    },
  });
}
