import type { EnginePromises } from '../../tasks/promises.js';
import { shortestInterval } from '../../tasks/schedule.js';

/** The guarantees of the engine in memory. */
export const memoryPromises: EnginePromises = {
  stored: 'memory',
  crashFoundWithin: null,
  longestBlock: null,
  concurrencyPer: 'process',
  limitedTasksApart: false,
  maxQueues: null,
  priorityOver: 'all',
  idempotencyPer: 'name',
  deletionFreesKey: false,
  maxBatch: null,
  handlerFoundWithin: 0,
  shortestInterval,
  clockSetBack: 'restarts',
  retentionOf: 'manager',
  window: null,
  resumesIn: 'same',
  cancelsWithin: 0,
  markedAsFailed: false,
};

/**
 * Returns the guarantees of the engine on a file.
 *
 * @param pollInterval Seconds between two checks for changes by other processes.
 */
export function filePromises(pollInterval: number): EnginePromises {
  return {
    ...memoryPromises,
    stored: 'disk',
    crashFoundWithin: 2,
    resumesIn: 'any',
    handlerFoundWithin: pollInterval,
    cancelsWithin: pollInterval,
  };
}
