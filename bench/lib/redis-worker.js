// Runs the tasks of redis.js, ours or BullMQ's, until it is told to stop.
import { Worker } from 'bullmq';
import { bullmqEngine } from '../../dist/engines/bullmq/index.js';
import { TaskManager } from '../../dist/index.js';

const [who, port] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const stop = who === 'ours' ? await startOurs() : await startTheirs();
process.send?.('started');
process.once('SIGTERM', stop);

async function startOurs() {
  const tasks = new TaskManager({ engine: bullmqEngine({ connection, logger: false }), concurrency: 50, logger: false });
  tasks.task('noop', () => {});
  await tasks.start();
  return () => tasks.stop();
}

async function startTheirs() {
  const worker = new Worker('noop', async () => {}, { connection, concurrency: 50 });
  await worker.waitUntilReady();
  return () => worker.close();
}
