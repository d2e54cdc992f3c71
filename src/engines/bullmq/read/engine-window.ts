import type { Logger } from '../../../options.js';
import { RedisWork } from '../connection/connections.js';
import type { EngineKeys } from '../keys.js';
import { type CountSource, readCounts } from './counts.js';
import { EngineSource } from './job-source.js';
import type { WindowLimits } from './window-feed.js';
import { WindowModel } from './window-model.js';
import { engineJobs } from './window-task.js';

interface EngineWindowParts extends CountSource {
  keys: EngineKeys;
  logger: Logger;
  limits?: WindowLimits;
}

/** The default limits of a window. */
export const usualLimits: WindowLimits = { ended: 100_000, pending: 20_000 };
/** Milliseconds that answers wait for the window to be filled. */
const fillTimes = { first: 400, list: 10_000 };

/** Opens the window of a process that reads the tasks of `bullmqEngine`. */
export function openEngineWindow({ redis, keys, catalog, logger, limits = usualLimits }: EngineWindowParts): Promise<WindowModel> {
  return WindowModel.open({
    ...{ keys, catalog, limits, fillTimes, rules: engineJobs },
    source: new EngineSource(redis, keys),
    work: {
      looking: new RedisWork(logger, 'reading what changed in Redis'),
      filling: new RedisWork(logger, 'reading the tasks that are in Redis'),
    },
    countTasks: (entries) => readCounts({ redis, keys, catalog }, entries),
    onReconnect(listener) {
      redis.on('ready', listener);
      return () => void redis.off('ready', listener);
    },
  });
}
