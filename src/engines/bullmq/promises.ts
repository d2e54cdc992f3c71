import type { EnginePromises } from '../../tasks/promises.js';
import type { JobEngineOptions } from './job-engine.js';
import { mostAtOnce } from './jobs/enqueuer.js';
import { mostLabels } from './queues/queue-catalog.js';
import { usualLimits } from './read/engine-window.js';
import { returned } from './run/executor.js';

/** Returns what the engine on Redis promises with some options. */
export function redisPromises({
  lockDuration,
  stalledInterval = 5000,
  window = usualLimits,
}: Pick<JobEngineOptions, 'lockDuration' | 'stalledInterval' | 'window'>): EnginePromises {
  return {
    stored: 'server',
    crashFoundWithin: (lockDuration + stalledInterval) / 1000,
    longestBlock: lockDuration / 1000,
    concurrencyPer: 'queue',
    limitedTasksApart: true,
    maxQueues: mostLabels,
    priorityOver: 'since',
    idempotencyPer: 'name and queue',
    deletionFreesKey: true,
    maxBatch: mostAtOnce,
    handlerFoundWithin: returned.longest,
    // Redis ends the wait of a worker up to a tenth of a second late, because its timers run ten times per second.
    shortestInterval: 0.2,
    clockSetBack: 'extends',
    retentionOf: 'engine',
    window,
    resumesIn: 'same',
    cancelsWithin: 1,
    markedAsFailed: true,
  };
}
