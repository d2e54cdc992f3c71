import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { said, useJobProcesses } from '../../../helpers/job-processes.js';
import type { Child } from '../../../helpers/process.js';
import { hasRedis } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

const processes = useJobProcesses();
/** Tasks of the two web processes together. */
const amount = Number(process.env.JOB_TORTURE_TASKS ?? 1500);
/** Seconds. */
const timeout = 30 + amount / 50;

interface Ended {
  id: string;
  name: string;
  /** The name of the state in BullMQ. */
  state: 'completed' | 'failed' | undefined;
  marker: string | null;
}

/** The ends of tasks, as they are stored in Redis. */
async function endsOf(client: Redis, ids: readonly [name: string, id: string][]): Promise<Ended[]> {
  const pipeline = client.pipeline();
  for (const [, id] of ids) {
    pipeline.zscore('{jobs}:default:completed', id).zscore('{jobs}:default:failed', id);
    pipeline.hget(`{jobs}:default:${id}`, 'tfm');
  }
  const answers = ((await pipeline.exec()) ?? []).map(([, value]) => value as string | null);
  return ids.map(([name, id], n) => {
    const [completed, failed, marker = null] = answers.slice(n * 3, n * 3 + 3);
    return { id, name, state: completed ? 'completed' : failed ? 'failed' : undefined, marker };
  });
}

(hasRedis ? describe : describe.skip)(
  'workers that are killed and stopped at random while Redis is restarted once',
  () => {
    it(
      'lose no task, rerun only tasks that allow it, and leave none running',
      async () => {
        const webs = await Promise.all(
          [0, 1].map(() => processes.worker({ run: false, amount: amount / 2 })),
        );
        let workers = await Promise.all([0, 1, 2].map(() => processes.worker()));
        const faults = { killed: 0, stopped: 0 };
        const isStored = (): boolean => webs.every(({ lines }) => lines.includes('enqueued'));

        const disturb = async (): Promise<void> => {
          const worker = workers[Math.floor(Math.random() * workers.length)] as Child;
          // The two faults alternate, so that each run has both.
          if (faults.killed <= faults.stopped) {
            faults.killed += 1;
            workers = workers.filter((each) => each !== worker);
            await processes.kill(worker);
            workers.push(await processes.worker());
          } else {
            faults.stopped += 1;
            worker.process.kill('SIGSTOP');
            // This pause is shorter or longer than a lock lasts.
            await sleep(0.1 + Math.random() * 3);
            worker.process.kill('SIGCONT');
          }
        };
        const stored = () => webs.flatMap((web) => said(web, 'stored'));
        while (!isStored() && stored().length < amount / 2) await disturb();
        await processes.redis.stop();
        await sleep(0.5);
        await processes.redis.start();
        while (!isStored()) await disturb();
        for (let n = 0; n < 3; n++) await disturb();

        const client = new Redis(processes.redis.connection);
        const ids = stored().map((line) => line.split(' ') as [string, string]);
        const ends = await waitFor(async () => {
          const all = await endsOf(client, ids);
          return all.every(({ state }) => state !== undefined) ? all : undefined;
        }, timeout);
        const left = await Promise.all(
          ['active', 'wait'].map((list) => client.llen(`{jobs}:default:${list}`)),
        );
        const marked = await client.zcard('{jobs}:~interrupted:default');
        const interrupted = await client.zcard('{jobs}:default:failed');
        client.disconnect();

        expect(ids).toHaveLength(amount);
        expect(left).toEqual([0, 0]);
        // A failed task was interrupted, because no handler fails.
        expect(
          ends.filter(
            ({ state, marker }) => state === 'failed' && !marker?.startsWith('interrupted'),
          ),
        ).toEqual([]);
        expect(marked).toBe(interrupted);
        expect(ends.filter(({ name, state }) => name === 'again' && state === 'failed')).toEqual(
          [],
        );
        const began = processes.children.flatMap((child) => said(child, 'began'));
        const did = new Set(processes.children.flatMap((child) => said(child, 'did')));
        const times = new Map<string, number>();
        for (const id of began) times.set(id, (times.get(id) ?? 0) + 1);
        expect(ends.filter(({ name, id }) => name === 'once' && (times.get(id) ?? 0) > 1)).toEqual(
          [],
        );
        expect(ends.filter(({ id, state }) => state === 'completed' && !did.has(id))).toEqual([]);
        expect(processes.children.flatMap((child) => said(child, 'unhandled'))).toEqual([]);
        const unstarted = ends.filter(
          ({ id, state }) => state === 'failed' && !times.has(id),
        ).length;
        if (process.env.JOB_TORTURE_TASKS)
          process.stderr.write(
            `${JSON.stringify({ amount, ...faults, interrupted, unstarted })}\n`,
          );
      },
      timeout * 2000,
    );
  },
);
