import { bullmqEngine } from 'koa-taskflow/bullmq';

/**
 * Returns the options for the tasks of a script, in a file or on a Redis server.
 * @param {string} place
 */
export function where(place) {
  return place.startsWith('redis:')
    ? { engine: bullmqEngine({ connection: place, logger: false }) }
    : { database: place };
}
