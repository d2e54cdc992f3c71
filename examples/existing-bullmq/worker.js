// A producer and a worker as any app with BullMQ has them; nothing here knows of koa-taskflow.
// Run it with `node examples/existing-bullmq/worker.js`, beside a Redis.
import { setTimeout } from 'node:timers/promises';
import { FlowProducer, Queue, Worker } from 'bullmq';

const connection = { host: process.env.REDIS_HOST ?? '127.0.0.1', port: Number(process.env.REDIS_PORT ?? 6379) };
const mail = new Queue('mail', { connection });
const pages = new Queue('pages', { connection });

const workers = [
  new Worker(
    'mail',
    async (job) => {
      await job.log(`connecting to the mail server for ${job.data.to}`);
      await setTimeout(300);
      if (job.name === 'send_invoice') throw new TypeError(`no address for order ${job.data.order}`);
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
      return job.name === 'bind_book' ? Object.values(await job.getChildrenValues()) : `page ${job.data.page}`;
    },
    { connection, concurrency: 2 },
  ),
];

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
const flows = new FlowProducer({ connection });
await flows.add({
  name: 'bind_book',
  queueName: 'pages',
  children: [1, 2, 3].map((page) => ({ name: 'print_page', queueName: 'pages', data: { page } })),
});
console.log('working');

for (const signal of ['SIGTERM', 'SIGINT'])
  process.once(signal, async () => {
    await Promise.all([...workers, mail, pages, flows].map((each) => each.close()));
  });
