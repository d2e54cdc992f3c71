import type { EnginePromises } from '../../tasks/promises.js';
import { shortestInterval } from '../../tasks/schedule.js';

/** What the engine promises whose tasks are in the memory of this process. */
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
 * Returns what the engine on a file promises.
 *
 * @param pollInterval Seconds between two looks for what other processes did.
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
