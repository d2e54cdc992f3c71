// Used by web.js and worker.js: where Redis is, and how the tasks are declared.
import { TaskManager } from 'koa-taskflow';
import { bullmqEngine } from 'koa-taskflow/bullmq';

export const connection = {
  host: process.env.REDIS_HOST ?? '127.0.0.1',
  port: Number(process.env.REDIS_PORT ?? 6379),
};

// With `new TaskManager({ database: 'tasks.db' })` instead, both processes use one SQLite file.
export const tasks = new TaskManager({ engine: bullmqEngine({ connection, retentionDays: 30 }) });

/** @type {import('koa-taskflow').DeclaredTask<[address: string]>} */
export const sendWelcome = tasks.define('send_welcome', { retries: 3, delay: 1 });
/** @type {import('koa-taskflow').DeclaredTask<[customer: string, pages: number]>} */
export const makeReport = tasks.define('make_report', {
  queue: 'reports',
  concurrency: 2,
  requeueOnInterrupt: true,
});
