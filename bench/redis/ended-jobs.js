import { setTimeout } from 'node:timers/promises';
import { bullmqEngine } from '../../dist/engines/bullmq/index.js';
import { TaskManager } from '../../dist/index.js';

/** Copies of one script: Redis does nothing else meanwhile. */
const step = 5000;
/** One in so many ended tasks has failed. */
const share = 100;
/**
 * Milliseconds over which the ends are spread. They stay below the seven days after which tasks are
 * removed.
 */
const age = 6 * 86_400_000;

/**
 * Makes copies of an ended job, with ids and times of their own. KEYS: the job, its set. ARGV: the
 * prefix of all jobs, the time of the first copy in Unix milliseconds, milliseconds from one to the
 * next, the number of the first, how many.
 */
const copy = `
  for n = 0, ARGV[5] - 1 do
    local at = math.floor(ARGV[2] + n * ARGV[3])
    local time = string.format('%012x', at)
    local id = string.sub(time, 1, 8) .. '-' .. string.sub(time, 9) .. '-7000-8000-' .. string.format('%012x', ARGV[4] + n)
    redis.call('COPY', KEYS[1], ARGV[1] .. id)
    redis.call('HSET', ARGV[1] .. id, 'timestamp', at, 'processedOn', at + 1, 'finishedOn', at + 5)
    redis.call('ZADD', KEYS[2], at + 5, id)
  end`;

/**
 * Fills the Redis of our side with ended tasks. The engine runs two, one of which fails, and the
 * rest are copies of those.
 * @param {import('./sides.js').Side} side
 * @param {number} amount
 */
export async function makeEndedJobs({ connection, admin, prefix }, amount) {
  // Only reads are measured on it, so its file is of no use.
  await admin.config('SET', 'appendonly', 'no');
  const tasks = new TaskManager({
    engine: bullmqEngine({ connection, logger: false }),
    logger: false,
  });
  const noop = tasks.task('noop', () => {});
  const failing = tasks.task('failing', () => {
    throw new Error('no answer from the host');
  });
  await tasks.start();
  const [done, failed] = [await noop.enqueue(), await failing.enqueue()];
  for (const id of [done, failed]) while (!(await tasks.get(id))?.endedAt) await setTimeout(20);
  await tasks.stop();
  const interval = age / amount;
  const first = Date.now() - age;
  const copies = amount - 2;
  for (let from = 0; from < copies; from += step) {
    const batch = Math.min(step, copies - from);
    const failures = Math.ceil(batch / share);
    for (const [id, set, n] of /** @type {const} */ ([
      [done, 'completed', batch - failures],
      [failed, 'failed', failures],
    ])) {
      const keys = [`${prefix}:default:${id}`, `${prefix}:default:${set}`];
      const spacing = (interval * batch) / n;
      const number = from + (set === 'failed' ? batch - failures : 0);
      await admin.eval(
        copy,
        2,
        ...keys,
        `${prefix}:default:`,
        first + from * interval,
        spacing,
        number,
        n,
      );
    }
  }
}
