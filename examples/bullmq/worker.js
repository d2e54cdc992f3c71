// A worker: it runs the tasks. Start one or more on any host that can reach Redis, with `node examples/bullmq/worker.js`.
import { setTimeout } from 'node:timers/promises';
import { taskContext, taskLog, taskProgress } from 'koa-taskflow';
import { makeReport, sendWelcome, tasks } from './tasks.js';

sendWelcome.handle(async (address) => {
  await setTimeout(200);
  if (!address.includes('@')) throw new TypeError(`'${address}' is no address`);
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

await tasks.start();
console.log('working');

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => tasks.stop());
