import { bullmqEngine } from 'koa-taskflow/bullmq';

/**
 * Returns the options of the TaskManager of a script.
 * @param {string} place The path of a database file, or a redis:// URL.
 */
export function where(place) {
  return place.startsWith('redis:')
    ? { engine: bullmqEngine({ connection: place, logger: false }) }
    : { database: place };
}
