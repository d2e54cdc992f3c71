// Adds and runs a thousand jobs a second in a process of its own.
import { setTimeout } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const queue = new Queue('mail', { connection });
new Worker('mail', async () => {}, { connection, concurrency: 50 });
for (;;) {
  const next = Date.now() + 100;
  await queue.addBulk(
    Array.from({ length: 100 }, (_, n) => ({ name: 'noise', data: { n: n + 1 } })),
  );
  await setTimeout(Math.max(0, next - Date.now()));
}
