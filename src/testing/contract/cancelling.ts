import { taskContext, taskLog } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine cancels and deletes tasks. */
export function describeCancelling({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('never starts a pending task that was cancelled', async () => {
    let ran = false;
    const later = tasks.task('later', () => {
      ran = true;
    });
    await tasks.start();
    let [id, runIn] = ['', 0.05];
    // On a slow machine, the task may start before it is cancelled.
    for (let cancelled = false; !cancelled; ) {
      [ran, runIn] = [false, runIn * 4];
      id = await later.with({ runIn }).enqueue();
      const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
      cancelled = results[0]?.ok === true && results[0].task?.status === 'cancelled';
      expect(cancelled || runIn < 10).toBe(true);
    }
    await sleep(runIn + 0.15);
    expect(ran).toBe(false);
    expect(await tasks.get(id)).toMatchObject({
      status: 'cancelled',
      attempt: 0,
      attempts: [],
      startedAt: null,
      duration: null,
    });
  });

  it('aborts the signal of a cancelled task, and marks the task when it ends', async () => {
    const obedient = tasks.task('obedient', () => {
      const { signal } = taskContext();
      return new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      );
    });
    await tasks.start();
    const id = await obedient.enqueue();
    await ended(id, 'running');
    const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
    expect(results[0]).toMatchObject({
      ok: true,
      task: { status: 'running', engineState: 'cancelling' },
    });
    const task = await ended(id, 'cancelled');
    expect(task).toMatchObject({
      error: null,
      result: null,
      attempts: [{ number: 1, status: 'cancelled' }],
    });
    expect((await tasks.control({ action: 'cancel', ids: [id] }, by)).results[0]).toMatchObject({
      ok: false,
      code: 'TASK_STATE_CONFLICT',
    });
  });

  it('ends a cancelled task after its grace period while the handler keeps its slot', async () => {
    const { passed, open } = gate();
    const one = manager({ concurrency: 1 });
    tasks = one;
    const stubborn = one.task(
      'deaf',
      async () => {
        await passed;
        return 'too late';
      },
      { cancelGrace: 0.1, retries: 5 },
    );
    const next = one.task('next', () => 1);
    await one.start();
    const id = await stubborn.enqueue();
    await ended(id, 'running');
    const waiting = await next.enqueue();
    await one.control({ action: 'cancel', ids: [id] }, by);
    await ended(id, 'cancelled');
    await sleep(0.05);
    expect((await one.get(waiting))?.status).toBe('pending');
    open();
    await ended(waiting, 'success');
    expect(await one.get(id)).toMatchObject({ status: 'cancelled', result: null });
  });

  it('cancels a task that waits for its next attempt', async () => {
    const flaky = tasks.task(
      'flaky',
      () => {
        throw new Error('x');
      },
      { retries: 1, delay: 60 },
    );
    await tasks.start();
    const id = await flaky.enqueue();
    await waitFor(
      async () =>
        (await tasks.get(id))?.attempts.length === 1 && (await tasks.get(id))?.status === 'pending',
    );
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    expect(await tasks.get(id)).toMatchObject({
      status: 'cancelled',
      attempts: [{ number: 1, status: 'failed' }],
    });
  });

  it('marks log lines as late if a cancelled task has already ended', async () => {
    const { passed, open } = gate();
    const deaf = tasks.task(
      'deaf',
      async () => {
        await passed;
        taskLog('unheard');
      },
      { cancelGrace: 0.05 },
    );
    await tasks.start();
    const id = await deaf.enqueue();
    await ended(id, 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await ended(id, 'cancelled');
    open();
    await waitFor(async () => (await tasks.logs(id, {})).length === 1);
    expect((await tasks.get(id))?.logs[0]).toMatchObject({ message: 'unheard', late: true });
  });

  it('does not retry a cancelled task, whatever its handler throws', async () => {
    let runs = 0;
    const obedient = tasks.task(
      'obedient',
      () => {
        runs += 1;
        const { signal } = taskContext();
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('stopped'))),
        );
      },
      { retries: 5 },
    );
    await tasks.start();
    const id = await obedient.enqueue();
    await ended(id, 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await ended(id, 'cancelled');
    await sleep(0.05);
    expect(runs).toBe(1);
  });

  it('deletes only tasks that have ended, with all their data, and reports them', async () => {
    const talk = tasks.task(
      'talk',
      () => {
        taskLog('x');
        throw new Error('unmistakable');
      },
      { tags: { tenant: '7' } },
    );
    await tasks.start();
    const id = await talk.enqueue();
    await ended(id, 'failed');
    const waiting = await talk.with({ runIn: 60 }).enqueue();
    const { rev: before } = await tasks.describe();
    const { results } = await tasks.control({ action: 'delete', ids: [id, waiting] }, by);
    expect(results).toMatchObject([
      { id, ok: true, task: { id, status: 'failed' } },
      { id: waiting, ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
    ]);
    expect(await tasks.get(id)).toBeUndefined();
    expect(await tasks.logs(id, {})).toEqual([]);
    expect((await tasks.find({ limit: 10, tag: ['tenant'] })).items.map((task) => task.id)).toEqual(
      [waiting],
    );
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      failed: 0,
      pending: 1,
    });
    const { rev } = await tasks.describe();
    for await (const changes of tasks.watch(before, new AbortController().signal)) {
      expect(changes.removed).toEqual([id]);
      expect(changes.rev).toBeLessThanOrEqual(rev);
      break;
    }
  });
}
