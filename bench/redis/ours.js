// What redis/child.js does with this project's engine; plain.js does the same with BullMQ alone.
import Koa from 'koa';
import { bullmqEngine } from '../../dist/engines/bullmq/index.js';
import { TaskManager, taskAdmin } from '../../dist/index.js';

/** @typedef {{ host: string, port: number }} Connection */

/**
 * @param {Connection} connection
 * @param {number} [concurrency]
 */
const manager = (connection, concurrency) =>
  new TaskManager({
    engine: bullmqEngine({ connection, logger: false }),
    logger: false,
    ...(concurrency && { concurrency }),
  });

/**
 * Runs tasks.
 * @param {Connection} connection
 * @param {number} concurrency
 * @param {(value?: number) => unknown} handler
 */
export async function run(connection, concurrency, handler) {
  const tasks = manager(connection, concurrency);
  tasks.task('noop', handler);
  await tasks.start();
  return { close: () => tasks.stop({ timeout: 1 }) };
}

/**
 * Enqueues tasks and runs none.
 * @param {Connection} connection
 */
export async function call(connection) {
  const tasks = manager(connection);
  const noop = /** @type {import('../../dist/index.js').DeclaredTask<[value?: number]>} */ (
    tasks.define('noop')
  );
  await tasks.start({ run: false });
  return {
    one: (/** @type {[value?: number]} */ ...args) => noop.enqueue(...args),
    many: (/** @type {number} */ amount) =>
      noop.enqueueMany(Array.from({ length: amount }, () => /** @type {[]} */ ([]))),
    close: () => tasks.stop(),
  };
}

/** Is ready to enqueue, and does nothing. */
export const idle = call;

/**
 * Serves the dashboard.
 * @param {Connection} connection
 */
export async function web(connection) {
  const tasks = manager(connection);
  await tasks.start({ run: false });
  const app = new Koa();
  app.silent = true;
  app.use(taskAdmin(tasks, { auth: null, logger: false }));
  return { app, close: () => tasks.stop() };
}
