import { deadlineError } from '../../engines/deadline-error.js';
import { taskContext, taskLog } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine handles timeouts and deadlines. */
export function describeTiming({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('aborts the signal of an attempt that times out, and retries the task', async () => {
    const slow = tasks.task(
      'slow',
      () => {
        const { signal, attempt } = taskContext();
        if (attempt === 2) return 'in time';
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('stopped'))),
        );
      },
      { timeout: 0.1, retries: 1 },
    );
    await tasks.start();
    const task = await ended(await slow.enqueue(), 'success');
    expect(task.attempts.map(({ status, error }) => [status, error?.name, error?.message])).toEqual(
      [
        ['failed', 'TimeoutError', 'the attempt took longer than 0.1 seconds'],
        ['success', undefined, undefined],
      ],
    );
  });

  it('fails a timed-out attempt after its grace period and marks later lines as late', async () => {
    const { passed, open } = gate();
    const deaf = tasks.task(
      'deaf',
      async () => {
        taskLog('begun');
        await passed;
        taskLog('still here');
      },
      { timeout: 0.05, cancelGrace: 0.05 },
    );
    const next = tasks.task('next', () => 1);
    await tasks.start();
    const id = await deaf.enqueue();
    expect((await ended(id, 'failed')).error?.name).toBe('TimeoutError');
    await ended(await next.enqueue(), 'success');
    open();
    const lines = await waitFor(async () => {
      const all = await tasks.logs(id, {});
      return all.length === 2 && all;
    });
    expect(lines.map(({ message, late }) => [message, late])).toEqual([
      ['begun', undefined],
      ['still here', true],
    ]);
    expect((await tasks.get(id))?.status).toBe('failed');
  });

  it('accepts the result of a timed-out attempt within its grace period', async () => {
    const finishing = tasks.task(
      'finishing',
      () => {
        const { signal } = taskContext();
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => resolve('wrapped up')),
        );
      },
      { timeout: 0.05, retries: 1 },
    );
    await tasks.start();
    expect(await ended(await finishing.enqueue(), 'success')).toMatchObject({
      attempt: 1,
      result: 'wrapped up',
    });
  });

  it('neither starts nor retries a task after its deadline', async () => {
    let ran = 0;
    const urgent = tasks.task(
      'urgent',
      () => {
        ran += 1;
        throw new Error('no');
      },
      { deadline: 1, retries: 100, delay: 0.1 },
    );
    const missed = await urgent.with({ deadline: 0.01 }).enqueue();
    await sleep(0.05);
    await tasks.start();
    const { name, message, fingerprint } = deadlineError('urgent');
    expect(await ended(missed, 'failed')).toMatchObject({
      attempt: 0,
      attempts: [],
      error: { name, message },
      fingerprint,
      stack: null,
    });
    expect(ran).toBe(0);
    const task = await ended(await urgent.enqueue(), 'failed');
    expect(task.attempts.length).toBeLessThan(12);
    expect(task.attempts.length).toBeGreaterThan(1);
  });
}
