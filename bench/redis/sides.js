// Ours and BullMQ alone, each with a Redis of its own and with processes of its own.
import { setTimeout } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { startChild } from '../lib/child.js';
import { startRedis } from '../lib/redis.js';
import { prefix } from './plain.js';

/** @typedef {Awaited<ReturnType<typeof startSide>>} Side */

const program = new URL('./child.js', import.meta.url);

/**
 * Does some work with both sides, and ends them.
 * @param {(mine: Side, peer: Side) => Promise<void>} work
 */
export async function withSides(work) {
  const [mine, peer] = [await startSide('ours'), await startSide('plain')];
  await work(mine, peer);
  await Promise.all([mine.end(), peer.end()]);
}

/**
 * @param {'ours' | 'plain'} who
 * @param {{ connection: { host: string, port: number } }} [other] whose Redis it shares
 */
export async function startSide(who, other) {
  const redis = other ? undefined : await startRedis();
  const connection = other?.connection ?? { host: '127.0.0.1', port: redis?.port ?? 0 };
  const admin = new Redis(connection);
  // Both sides keep their jobs in BullMQ queues of this name, so BullMQ's own client can pause
  // either.
  const queue = new Queue('default', { connection, prefix });
  await queue.waitUntilReady();
  /** @type {Set<import('../lib/child.js').Child>} */
  const children = new Set();
  let polls = 0;

  /**
   * What Redis has done so far, apart from the questions of this process: commands, also those of
   * scripts, and milliseconds.
   */
  async function usage() {
    const [stats, cpu] = await Promise.all([admin.info('commandstats'), admin.info('cpu')]);
    const calls = [...stats.matchAll(/^cmdstat_(?!info)[^:]+:calls=(\d+)/gm)].map(([, n]) =>
      Number(n),
    );
    const seconds = [...cpu.matchAll(/^used_cpu_(?:user|sys):([\d.]+)/gm)].map(([, n]) =>
      Number(n),
    );
    const sum = (/** @type {number[]} */ values) =>
      values.reduce((total, value) => total + value, 0);
    return { commands: sum(calls) - polls, cpu: sum(seconds) * 1000 };
  }

  /** The ids of the jobs that run. */
  const active = () => admin.lrange(`${prefix}:default:active`, 0, -1);

  /** Waits until no job waits or runs. */
  async function untilRun() {
    for (;;) {
      const answers = await admin
        .pipeline()
        .llen(`${prefix}:default:wait`)
        .llen(`${prefix}:default:active`)
        .exec();
      polls += 2;
      if (answers?.every(([, length]) => length === 0)) return;
      await setTimeout(10);
    }
  }

  return {
    ...{ who, connection, admin, queue, prefix, usage, active, untilRun },
    /**
     * Starts a process, which ends with this side.
     * @param {string} role
     * @param {string} [extra]
     */
    async child(role, extra) {
      const child = await startChild(program, [
        who,
        role,
        String(connection.port),
        ...(extra === undefined ? [] : [extra]),
      ]);
      children.add(child);
      return child;
    },
    async end() {
      for (const child of children) child.kill();
      admin.disconnect();
      await queue.close();
      redis?.stop();
    },
  };
}
