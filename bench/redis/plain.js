// What redis/child.js does with BullMQ alone, with the options that this project's engine gives it.
import { Queue, QueueEvents, Worker } from 'bullmq';
import Koa from 'koa';

/** @typedef {import('./ours.js').Connection} Connection */

/** What the engine keeps by default. */
const kept = { age: 7 * 86_400, count: 100_000 };
const options = { attempts: 1 };
/** The prefix of the engine. BullMQ's own is shorter, and Redis Cluster cannot use it. */
export const prefix = '{koa-taskflow}';

/**
 * Runs jobs.
 * @param {Connection} connection
 * @param {number} concurrency
 * @param {(value?: number) => unknown} handler
 */
export async function run(connection, concurrency, handler) {
  const worker = new Worker('default', async ({ data }) => handler(...data), {
    ...{ connection, prefix, concurrency, removeOnComplete: kept, removeOnFail: kept },
  });
  worker.on('error', () => undefined);
  await worker.waitUntilReady();
  return { close: () => worker.close() };
}

/**
 * Adds jobs and runs none.
 * @param {Connection} connection
 */
export async function call(connection) {
  const queue = new Queue('default', { connection, prefix });
  await queue.waitUntilReady();
  return {
    one: async (/** @type {unknown[]} */ ...data) => (await queue.add('noop', data, options)).id,
    many: async (/** @type {number} */ amount) =>
      (
        await queue.addBulk(
          Array.from({ length: amount }, () => ({ name: 'noop', data: [], opts: options })),
        )
      ).map(({ id }) => id),
    close: () => queue.close(),
  };
}

/** Is ready to add jobs, and does nothing. */
export const idle = call;

/**
 * Serves the newest 50 jobs with the counts of all, as a dashboard would, and listens to all
 * events.
 * @param {Connection} connection
 */
export async function web(connection) {
  const queue = new Queue('default', { connection, prefix });
  const events = new QueueEvents('default', { connection, prefix });
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  /** @type {Set<(state: string, id: string) => void>} */
  const listeners = new Set();
  for (const state of /** @type {const} */ (['waiting', 'active', 'completed', 'failed']))
    events.on(state, ({ jobId }) => {
      for (const listener of listeners) listener(state, jobId);
    });
  const app = new Koa();
  app.silent = true;
  app.use(async (ctx) => {
    if (ctx.path === '/tasks') {
      const [counts, items] = await Promise.all([
        queue.getJobCounts(),
        queue.getJobs(['active', 'wait', 'delayed', 'completed', 'failed'], 0, 49),
      ]);
      ctx.body = { total: Object.values(counts).reduce((sum, n) => sum + n, 0), items };
      return;
    }
    ctx.respond = false;
    ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': ok\n\n');
    const listener = (/** @type {string} */ state, /** @type {string} */ id) =>
      ctx.res.write(`event: ${state}\ndata: ${id}\n\n`);
    listeners.add(listener);
    ctx.res.on('close', () => listeners.delete(listener));
  });
  return { app, close: () => Promise.all([queue.close(), events.close()]) };
}
