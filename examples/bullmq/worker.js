// A worker: it runs the tasks that web.js enqueues. Start as many as you need. README.md says how.
import { setTimeout } from 'node:timers/promises';
import { taskContext, taskLog, taskProgress } from 'koa-taskflow';
import { connection, makeReport, sendWelcome, tasks } from './tasks.js';

sendWelcome.handle(async (address) => {
  await setTimeout(200);
  if (/\s/.test(address)) throw new TypeError(`'${address}' is not an address: it has a space`);
  taskLog(`sent to ${address}`);
});

makeReport.handle(async (customer, pages) => {
  const { signal } = taskContext();
  for (let page = 1; page <= pages; page++) {
    await setTimeout(300, undefined, { signal });
    taskLog(`page ${page} of the report for ${customer}`);
    taskProgress(page / pages);
  }
  return { customer, pages };
});

async function stop() {
  console.log(
    'Stopping: running tasks have 10 seconds to end. Press Ctrl+C again to stop at once.',
  );
  await tasks.stop();
}
process.once('SIGTERM', stop).once('SIGINT', stop);

await tasks.start();
console.log(
  `Worker ${process.pid} runs tasks from Redis at ${connection.host}:${connection.port}.`,
);
