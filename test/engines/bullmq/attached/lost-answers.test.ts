import { beforeEach, describe, expect, it } from '@jest/globals';
import { Job, Queue, Worker } from 'bullmq';
import { type AttachedQueues, attachQueues } from '../../../../src/engines/bullmq/index.js';
import type { Command } from '../../../../src/index.js';
import { beforeCalls } from '../../../helpers/before-calls.js';
import { type Cutter, cuttable } from '../../../helpers/cutter.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };

(hasRedis ? describe : describe.skip)('a command to attached queues', () => {
  const on = new RedisForEach();
  let line: Cutter;
  let direct: Queue;
  let tasks: AttachedQueues;
  let failed: string;
  let delayed: string;

  beforeEach(async () => {
    line = on.keep(await cuttable(on.redis.port));
    direct = on.keep(new Queue('mail', { connection: on.redis.connection }));
    failed = `mail:${(await direct.add('bad', {})).id}`;
    const worker = new Worker('mail', () => Promise.reject(new Error('bad')), {
      connection: on.redis.connection,
    });
    await waitFor(async () => (await direct.getFailedCount()) === 1);
    await worker.close();
    delayed = `mail:${(await direct.add('later', {}, { delay: 60_000 })).id}`;
    await direct.upsertJobScheduler('hourly', { every: 3_600_000, offset: 1 });
    const connection = { host: '127.0.0.1', port: line.port, maxRetriesPerRequest: 0 };
    const attached = on.keep(new Queue('mail', { connection }));
    attached.on('error', () => {});
    tasks = on.keep(attachQueues([attached], { logger: false }));
    await tasks.describe();
  });

  const stored = async (): Promise<string> =>
    JSON.stringify([await direct.getJobCounts(), await direct.isPaused()]);

  it.each<[what: string, of: object, method: string, command: () => Command]>([
    ['pause', Queue.prototype, 'pause', () => ({ action: 'pause', queue: 'mail' })],
    ['retry', Job.prototype, 'retry', () => ({ action: 'retry', ids: [failed] })],
    ['delete', Job.prototype, 'remove', () => ({ action: 'delete', ids: [failed] })],
    ['rerun', Queue.prototype, 'add', () => ({ action: 'rerun', ids: [failed] })],
    ['run a job', Job.prototype, 'promote', () => ({ action: 'run', ids: [delayed] })],
    ['run a scheduler', Queue.prototype, 'add', () => ({ action: 'run', schedule: 'mail:hourly' })],
  ])('to %s may have taken effect if its answer is lost', async (_what, of, method, command) => {
    const before = await stored();
    on.keep(
      beforeCalls(of, method, () => {
        line.loseAnswers();
        return undefined;
      }),
    );
    const answer = tasks.control(command(), by).catch((error: unknown) => error);
    await waitFor(async () => (await stored()) !== before);
    line.cut();
    expect(await answer).toMatchObject({ code: 'ENGINE_UNAVAILABLE', maybeDone: true });
  });

  it('has no effect if the jobs could not be read', async () => {
    line.loseAnswers();
    const answer = tasks
      .control({ action: 'retry', ids: [failed] }, by)
      .catch((error: unknown) => error);
    line.cut();
    expect(await answer).toMatchObject({ code: 'ENGINE_UNAVAILABLE', maybeDone: false });
  });
});
