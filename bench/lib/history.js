// A database with so many ended tasks and some that wait: three names, two queues, a tag, one in a
// hundred failed.
import { TaskManager } from '../../dist/index.js';

/**
 * @param {string} database
 * @param {number} ended
 * @param {number} pending
 */
export async function makeHistory(database, ended, pending) {
  const tasks = new TaskManager({ database, logger: false, concurrency: 2000 });
  const names = ['send_email', 'resize_image', 'charge_card'].map((name) =>
    tasks.task(name, (/** @type {number} */ n) => {
      if (n % 100 === 0) throw new Error(`no answer from host ${n % 7}`);
      return n;
    }),
  );
  await tasks.start();
  for (let n = 0; n < ended; n += 3000) {
    const stored = names.map((task, index) => {
      const list = Array.from(
        { length: Math.min(1000, Math.ceil((ended - n) / 3)) },
        (_, k) => /** @type {[number]} */ ([n + k * 3 + index]),
      );
      return task
        .with({
          queue: index === 0 ? 'default' : 'bulk',
          tags: n % 9 === 0 ? { tenant: String(n % 50) } : {},
        })
        .enqueueMany(list);
    });
    await Promise.all(stored);
  }
  const left = async () => (await tasks.aggregate('statsSnapshot')).counts;
  for (let counts = await left(); counts.pending + counts.running > 0; counts = await left())
    await new Promise((resolve) => setTimeout(resolve, 50));
  for (let n = 0; n < pending; n += 1000)
    await names[0]
      ?.with({ runIn: 86_400 })
      .enqueueMany(Array.from({ length: 1000 }, (_, k) => [k]));
  // The word index comes after.
  while (
    (await tasks.find({ limit: 1, q: 'answer' })).total < Math.min(10_000, Math.floor(ended / 100))
  )
    await new Promise((resolve) => setTimeout(resolve, 200));
  await tasks.stop();
}
