import { setTimeout as wait } from 'node:timers/promises';
import { taskContext, taskLog } from '../../tasks/context.js';
import type { LogLine, ProcessInfo, TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, waitFor } from '../wait.js';

/** Declares the tests of handlers that keep running after their attempt has ended. */
export function describeOutliving({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);
  const brief = ({ attempt, message, late }: LogLine) => [attempt, message, late ?? false];

  beforeEach(() => {
    tasks = manager({ concurrency: 3 });
  });

  it('keeps lines that a handler logs after it returned, and marks them as late', async () => {
    const { passed, open } = gate();
    const hasty = tasks.task('hasty', () => {
      taskLog('in time');
      void (async () => {
        await passed;
        taskLog('first');
        await wait(100);
        taskLog.warn('second', { n: 2 });
      })();
      return 'done';
    });
    await tasks.start();
    const id = await hasty.enqueue();
    await ended(id, 'success');
    await wait(100);
    open();
    await waitFor(async () => (await tasks.logs(id, {})).length === 3);
    const { logs, result, status } = await ended(id, 'success');
    expect(logs.map(brief)).toEqual([
      [1, 'in time', false],
      [1, 'first', true],
      [1, 'second', true],
    ]);
    expect([logs[2]?.level, logs[2]?.fields, result, status]).toEqual([
      'warn',
      { n: 2 },
      'done',
      'success',
    ]);
  });

  it('keeps late lines of a failed attempt under its number during the next attempt', async () => {
    const { passed, open } = gate();
    const twice = tasks.task(
      'twice',
      async () => {
        const { attempt } = taskContext();
        taskLog(`begun ${attempt}`);
        if (attempt === 2) return passed;
        void passed.then(() => taskLog('late'));
        throw new Error('again');
      },
      { retries: 1, delay: 0 },
    );
    await tasks.start();
    const id = await twice.enqueue();
    await waitFor(async () => (await tasks.logs(id, {})).length === 2);
    open();
    await ended(id, 'success');
    await waitFor(async () => (await tasks.logs(id, {})).length === 3);
    expect((await tasks.logs(id, {})).map(brief)).toEqual([
      [1, 'begun 1', false],
      [2, 'begun 2', false],
      [1, 'late', true],
    ]);
  });

  it('applies the limit of log lines to late lines', async () => {
    const { passed, open } = gate();
    tasks = manager({ limits: { logLines: 4 } });
    const chatty = tasks.task('chatty', () => {
      taskLog('in time');
      void passed.then(() => {
        for (let n = 0; n < 20; n++) taskLog(`late ${n}`);
      });
    });
    await tasks.start();
    const id = await chatty.enqueue();
    await ended(id, 'success');
    open();
    await waitFor(async () => (await tasks.logs(id, {})).length === 4);
    await wait(150);
    expect((await tasks.logs(id, {})).map(({ message }) => message)).toEqual([
      'in time',
      'late 0',
      'late 1',
      'only the first 4 lines of a task are kept',
    ]);
  });

  it('lists the slots of abandoned attempts until their handlers end', async () => {
    const { passed, open } = gate();
    const hanging = tasks.task('hanging', () => passed, { timeout: 0.05, cancelGrace: 0.05 });
    const cancelled = tasks.task('cancelled', () => passed, { cancelGrace: 0.05 });
    const quick = tasks.task('quick', () => 1, { timeout: 60 });
    await tasks.start();
    const workerWith = (stuck: number): Promise<ProcessInfo> =>
      waitFor(async () =>
        (await tasks.aggregate('workers')).find(
          (worker) => worker.slots === 3 && worker.stuck === stuck,
        ),
      );
    expect((await workerWith(0)).stuckAttempts).toEqual([]);
    const timedOut = await hanging.enqueue();
    await ended(timedOut, 'failed');
    const stopped = await cancelled.enqueue();
    await ended(stopped, 'running');
    await tasks.control({ action: 'cancel', ids: [stopped] }, by);
    await ended(stopped, 'cancelled');
    const worker = await workerWith(2);
    expect(worker.running).toBe(0);
    expect(worker.stuckAttempts.map(({ id, name, attempt }) => [id, name, attempt])).toEqual([
      [timedOut, 'hanging', 1],
      [stopped, 'cancelled', 1],
    ]);
    expect(Date.parse(worker.stuckAttempts[0]?.since ?? '')).toBeLessThanOrEqual(Date.now());
    await ended(await quick.enqueue(), 'success');
    await workerWith(2);
    open();
    expect((await workerWith(0)).stuckAttempts).toEqual([]);
  });
}
