/**
 * `koa-taskflow/bullmq`: queues of BullMQ in the dashboard, behind the login.
 *
 * @packageDocumentation
 */
export { type AttachedQueues, type AttachOptions, attachQueues } from './attach.js';
