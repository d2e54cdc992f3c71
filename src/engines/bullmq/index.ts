/**
 * `koa-taskflow/bullmq` has three parts: an engine that runs tasks as BullMQ jobs, in any number of
 * processes and hosts; the dashboard and its login for BullMQ queues that exist already; and a
 * store that keeps sessions in Redis.
 *
 * @packageDocumentation
 */
export { type AttachedQueues, type AttachOptions, attachQueues } from './attached/attach-queues.js';
export type { RedisConnection } from './connection/connection-option.js';
export { type BullmqEngineOptions, bullmqEngine } from './engine.js';
export { type RedisStore, type RedisStoreOptions, redisStore } from './store/redis-store.js';
