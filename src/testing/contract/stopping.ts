import { taskContext } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine stops. */
export function describeStopping({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('waits for running tasks', async () => {
    const slow = tasks.task('slow', () => sleep(0.2));
    let succeeded = false;
    tasks.on('success', () => {
      succeeded = true;
    });
    await tasks.start();
    const id = await slow.enqueue();
    await ended(id, 'running');
    await tasks.stop({ timeout: 5 });
    expect(succeeded).toBe(true);
    await expect(slow.enqueue()).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
  });

  it('finishes a task that it is about to start, or leaves it pending', async () => {
    const notified = { running: 0, success: 0 };
    // Each round stops at a later point of the claim. If the server is slow, further rounds follow
    // until a task was started before the stop.
    for (
      let turns = 0;
      turns < 12 || (notified.running === 0 && turns < 1000);
      turns += 1 + (turns >> 2)
    ) {
      const each = manager();
      const slow = each.task('slow', () => sleep(0.05));
      for (const status of ['running', 'success'] as const)
        each.on(status, () => {
          notified[status] += 1;
        });
      await each.start();
      const stored = slow.enqueue();
      for (let turn = 0; turn < turns; turn++)
        await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([each.stop({ timeout: 5 }), stored]);
    }
    expect(notified.running).toBeGreaterThan(0);
    expect(notified.success).toBe(notified.running);
  });

  it('hands back tasks that exceed the timeout, even if they ignore their signal', async () => {
    const notified: string[] = [];
    for (const status of ['interrupted', 'failed', 'pending'] as const)
      tasks.on(status, ({ name: task, error }) =>
        notified.push(`${task} ${status} ${error?.name}`),
      );
    const obedient = (): Promise<unknown> => {
      const { signal } = taskContext();
      return new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      );
    };
    const once = tasks.task('once', obedient);
    const again = tasks.task('again', obedient, { requeueOnInterrupt: true, retries: 3 });
    const deaf = tasks.task('deaf', () => new Promise(() => {}));
    await tasks.start();
    const ids = await Promise.all([once.enqueue(), again.enqueue(), deaf.enqueue()]);
    await Promise.all(ids.map((id) => ended(id, 'running')));
    notified.length = 0;
    await tasks.stop({ timeout: 0.05 });
    expect(notified.sort()).toEqual([
      'again pending Interrupted',
      'deaf interrupted Interrupted',
      'once interrupted Interrupted',
    ]);
  });

  it('lets running handlers use the engine until the drain ends, but starts no task', async () => {
    const { passed, open } = gate();
    let childRuns = 0;
    const child = tasks.task('child', () => {
      childRuns += 1;
    });
    const seen: unknown[] = [];
    const parent = tasks.task('parent', async () => {
      await passed;
      const [kept = '', cancelled = ''] = await child.enqueueMany([[], []]);
      await tasks.control({ action: 'cancel', ids: [cancelled] }, { actor: 'test' });
      seen.push((await tasks.get(kept))?.status, (await tasks.get(cancelled))?.status);
      seen.push((await tasks.find({ name: 'child', limit: 5 })).total);
    });
    const notified: string[] = [];
    for (const status of ['success', 'failed', 'interrupted'] as const)
      tasks.on(status, ({ name }) => notified.push(`${name} ${status}`));
    await tasks.start();
    await ended(await parent.enqueue(), 'running');
    const stopped = tasks.stop({ timeout: 10 });
    await sleep(0.05);
    open();
    await stopped;
    expect(seen).toEqual(['pending', 'cancelled', 2]);
    expect(notified).toEqual(['parent success']);
    expect(childRuns).toBe(0);
  });

  it('hands back a task if its handler fails because the drain has ended', async () => {
    const notified: string[] = [];
    for (const status of ['failed', 'interrupted'] as const)
      tasks.on(status, ({ name }) => notified.push(`${name} ${status}`));
    const noop = tasks.define('noop');
    const { passed, open } = gate();
    let refused: unknown;
    const late = tasks.task('late', async () => {
      await new Promise<void>((resolve) =>
        taskContext().signal.addEventListener('abort', () => resolve()),
      );
      await passed;
      await noop.enqueue().catch((error: unknown) => {
        refused = error;
        throw error;
      });
    });
    await tasks.start();
    await ended(await late.enqueue(), 'running');
    await tasks.stop({ timeout: 0.05 });
    open();
    await waitFor(() => refused);
    expect(refused).toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    expect(notified).toEqual(['late interrupted']);
  });

  it('rejects tasks that are enqueued afterwards', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await tasks.stop();
    await expect(noop.enqueue()).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
  });
}
