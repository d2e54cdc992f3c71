/**
 * `koa-taskflow/bullmq`: queues of BullMQ in the dashboard, behind the login, and sessions in a Redis.
 *
 * @packageDocumentation
 */
export { type AttachedQueues, type AttachOptions, attachQueues } from './attach.js';
export type { RedisConnection } from './redis-connection.js';
export { type RedisStore, type RedisStoreOptions, redisStore } from './redis-store.js';
