/**
 * `koa-taskflow/bullmq`: tasks on a Redis, run by any number of processes and hosts; queues of BullMQ that are there already,
 * in the dashboard behind the login; and sessions in a Redis.
 *
 * @packageDocumentation
 */
export { type AttachedQueues, type AttachOptions, attachQueues } from './attach.js';
export { type BullmqEngineOptions, bullmqEngine } from './engine.js';
export type { RedisConnection } from './redis-connection.js';
export { type RedisStore, type RedisStoreOptions, redisStore } from './redis-store.js';
