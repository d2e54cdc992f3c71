import type { EnginePromises } from '../../tasks/promises.js';
import { maxAtOnce } from './jobs/enqueuer.js';
import { maxLabels } from './queues/queue-catalog.js';
import { usualLimits } from './read/engine-window.js';
import type { WindowLimits } from './read/window-feed.js';
import { returned } from './run/returned-jobs.js';

/** The options on which the promises depend. */
export interface PromisedOptions {
  /** Milliseconds after which a job counts as crashed if its worker has not renewed its lock. */
  lockDuration: number;
  /** Milliseconds between two checks for crashed jobs, across all processes. Default 5,000. */
  stalledInterval?: number;
  /** How many tasks a process that reads has in memory. */
  window?: WindowLimits;
}

/** Returns what the engine on Redis promises with some options. */
export function redisPromises({
  lockDuration,
  stalledInterval = 5000,
  window = usualLimits,
}: PromisedOptions): EnginePromises {
  return {
    stored: 'server',
    crashFoundWithin: (lockDuration + stalledInterval) / 1000,
    longestBlock: lockDuration / 1000,
    concurrencyPer: 'queue',
    limitedTasksApart: true,
    maxQueues: maxLabels,
    priorityOver: 'since',
    idempotencyPer: 'name and queue',
    deletionFreesKey: true,
    maxBatch: maxAtOnce,
    handlerFoundWithin: returned.longest,
    // Redis ends the wait of a worker up to a tenth of a second late, because its timers run ten
    // times per second.
    shortestInterval: 0.2,
    clockSetBack: 'extends',
    retentionOf: 'engine',
    window,
    resumesIn: 'same',
    cancelsWithin: 1,
    markedAsFailed: true,
  };
}
