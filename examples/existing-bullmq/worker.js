// A producer and a worker that use plain BullMQ, without koa-taskflow. web.js shows their jobs. README.md says how to start both.
import { setTimeout } from 'node:timers/promises';
import { FlowProducer, Queue, Worker } from 'bullmq';

const connection = {
  host: process.env.REDIS_HOST ?? '127.0.0.1',
  port: Number(process.env.REDIS_PORT ?? 6379),
};
const mail = new Queue('mail', { connection });
const pages = new Queue('pages', { connection });

const workers = [
  new Worker(
    'mail',
    async (job) => {
      await job.log(`connecting to the mail server for ${job.data.to}`);
      await setTimeout(300);
      if (job.name === 'send_invoice')
        throw new TypeError(`no address for order ${job.data.order}`);
      await job.log('sent');
      return { sent: true };
    },
    { connection, concurrency: 5 },
  ),
  new Worker(
    'pages',
    async (job) => {
      for (let done = 0; done <= 100; done += 20) {
        await job.updateProgress(done);
        await setTimeout(100);
      }
      return job.name === 'bind_book'
        ? Object.values(await job.getChildrenValues())
        : `page ${job.data.page}`;
    },
    { connection, concurrency: 2 },
  ),
];

const flows = new FlowProducer({ connection });
/**
 * Without Redis, BullMQ reports the same error at each attempt to connect.
 * @type {string | undefined}
 */
let reported;
/** @param {Error} error */
function report({ message }) {
  if (message !== reported) console.error(message);
  reported = message;
}
for (const worker of workers) worker.on('error', report);
for (const queue of [mail, pages]) queue.on('error', report);
flows.on('error', report);

async function stop() {
  console.log('Stopping. Press Ctrl+C again to stop at once.');
  // While Redis is unreachable, BullMQ waits for it before it closes anything.
  await Promise.race([
    Promise.all([...workers, mail, pages, flows].map((each) => each.close())),
    setTimeout(3000),
  ]);
  // What could not be closed in this time would keep the process alive.
  process.exit();
}
process.once('SIGTERM', stop).once('SIGINT', stop);

await mail.addBulk([
  { name: 'send_welcome', data: { to: 'ada@example.com' } },
  { name: 'send_invoice', data: { to: 'bob@example.com', order: 1042 } },
  { name: 'send_reminder', data: { to: 'eve@example.com' }, opts: { delay: 3_600_000 } },
]);
await mail.upsertJobScheduler(
  'newsletter',
  { pattern: '0 9 * * 1', tz: 'Europe/Berlin' },
  { name: 'send_newsletter', data: { to: 'all' } },
);
await flows.add({
  name: 'bind_book',
  queueName: 'pages',
  children: [1, 2, 3].map((page) => ({ name: 'print_page', queueName: 'pages', data: { page } })),
});
console.log('working');
