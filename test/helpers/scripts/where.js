import { bullmqEngine } from 'koa-taskflow/bullmq';

/** Where a script has its tasks: in a file, or on a Redis. @param {string} place */
export function where(place) {
  return place.startsWith('redis:')
    ? { engine: bullmqEngine({ connection: place, logger: false }) }
    : { database: place };
}
