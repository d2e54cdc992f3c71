// What web.js and worker.js share: where the tasks are, and what they are called.
import { TaskManager } from 'koa-taskflow';
import { bullmqEngine } from 'koa-taskflow/bullmq';

const connection = { host: process.env.REDIS_HOST ?? '127.0.0.1', port: Number(process.env.REDIS_PORT ?? 6379) };

// With `new TaskManager({ database: 'tasks.db' })` both are processes on one file: that is all that differs.
export const tasks = new TaskManager({ engine: bullmqEngine({ connection, retentionDays: 30 }) });

/** @type {import('koa-taskflow').DeclaredTask<[address: string]>} */
export const sendWelcome = tasks.define('send_welcome', { retries: 3, delay: 1 });
/** @type {import('koa-taskflow').DeclaredTask<[customer: string, pages: number]>} */
export const makeReport = tasks.define('make_report', { queue: 'reports', concurrency: 2, requeueOnInterrupt: true });
