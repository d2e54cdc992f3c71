import { describe, expect, it } from '@jest/globals';
import { inState, said, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis } from '../../../helpers/redis.js';
import { eventually, waitFor } from '../../../helpers/wait.js';

const processes = useJobProcesses();

(hasRedis ? describe : describe.skip)('a process that dies', () => {
  it('has its tasks settled by a process that runs no tasks', async () => {
    const { logger, lines } = recordingLogger();
    const tasks = processes.manager(logger);
    const notified: string[] = [];
    for (const status of ['interrupted', 'pending'] as const)
      tasks.on(status, ({ name }) => notified.push(`${name} ${status}`));
    const worker = await processes.worker();
    await tasks.start({ run: false });
    const defined = tasks.define('once');
    const keyed = defined.with({ idempotencyKey: 'k' });
    const [once, cancelled, again] = await Promise.all([
      defined.enqueue(60_000),
      keyed.enqueue(60_000),
      tasks.define('again', { requeueOnInterrupt: true, maxInterrupts: 20 }).enqueue(60_000),
    ]);
    await waitFor(() => said(worker, 'began').length === 3);
    notified.length = 0;
    await processes.kill(worker);
    await tasks.control({ action: 'cancel', ids: [cancelled] }, { actor: 'test' });
    await inState(tasks, cancelled, 'cancelled');
    expect(await inState(tasks, once, 'interrupted')).toMatchObject({
      attempt: 1,
      error: { name: 'Interrupted' },
    });
    expect(await inState(tasks, again, 'pending')).toMatchObject({
      attempt: 1,
      error: { name: 'Interrupted' },
    });
    await eventually(async () =>
      expect(notified.sort()).toEqual(['again pending', 'once interrupted']),
    );
    const tookOver = lines.filter(
      ({ level, msg }) => level === 40 && String(msg).startsWith('took over'),
    );
    expect(
      tookOver.map(({ taskId, task, attempt, status }) => [taskId, task, attempt, status]).sort(),
    ).toEqual(
      [
        [once, 'once', 1, 'interrupted'],
        [cancelled, 'once', 1, 'cancelled'],
        [again, 'again', 1, 'pending'],
      ].sort(),
    );
    const { counts } = await tasks.aggregate('metrics', { from: '-5m' });
    expect(counts).toMatchObject({ interrupted: 1, cancelled: 1, failed: 0 });
    const next = await processes.worker();
    await waitFor(() => said(next, 'began').length === 1);
    expect(said(next, 'began')).toEqual([again]);
    expect(await keyed.enqueue(1)).not.toBe(cancelled);
  });

  it.each(['{broken', 'null', '{"attempts":null}'])(
    'has a task ended even if its options are %s',
    async (opts) => {
      const { logger, lines } = recordingLogger();
      const tasks = processes.manager(logger);
      const redis = processes.client();
      const id = await tasks.define('once').enqueue();
      await redis.hset(`{jobs}:default:${id}`, { opts });
      // A worker has taken it and died.
      await redis.lmove('{jobs}:default:wait', '{jobs}:default:active', 'RIGHT', 'LEFT');
      redis.disconnect();
      await tasks.start({ run: false });
      await inState(tasks, id, 'interrupted');
      await eventually(async () => {
        const { counts } = await tasks.aggregate('metrics', { from: '-5m' });
        expect(counts).toMatchObject({ interrupted: 1, failed: 0 });
      });
      expect(lines.filter(({ level }) => Number(level) >= 50)).toEqual([]);
      expect(lines).toContainEqual(expect.objectContaining({ taskId: id, status: 'interrupted' }));
    },
  );
});
