import { taskContext } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** What an engine promises of stopping. */
export function describeStopping({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('waits at a stop for what runs', async () => {
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

  it('runs to its end at a stop, or leaves to wait, what it was about to take', async () => {
    const told = { running: 0, success: 0 };
    // However far the taking is by the time of the stop; where a server is slow to hand out, until
    // one was taken in time.
    for (
      let turns = 0;
      turns < 12 || (told.running === 0 && turns < 1000);
      turns += 1 + (turns >> 2)
    ) {
      const each = manager();
      const slow = each.task('slow', () => sleep(0.05));
      for (const status of ['running', 'success'] as const)
        each.on(status, () => {
          told[status] += 1;
        });
      await each.start();
      const stored = slow.enqueue();
      for (let turn = 0; turn < turns; turn++)
        await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([each.stop({ timeout: 5 }), stored]);
    }
    expect(told.running).toBeGreaterThan(0);
    expect(told.success).toBe(told.running);
  });

  it('hands back at a stop what does not end in time, whether it obeys its signal or not', async () => {
    const told: string[] = [];
    for (const status of ['interrupted', 'failed', 'pending'] as const)
      tasks.on(status, ({ name: task, error }) => told.push(`${task} ${status} ${error?.name}`));
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
    told.length = 0;
    await tasks.stop({ timeout: 0.05 });
    expect(told.sort()).toEqual([
      'again pending Interrupted',
      'deaf interrupted Interrupted',
      'once interrupted Interrupted',
    ]);
  });

  it('lets running handlers enqueue, read and command until the drain ends, and starts nothing new', async () => {
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
    const told: string[] = [];
    for (const status of ['success', 'failed', 'interrupted'] as const)
      tasks.on(status, ({ name }) => told.push(`${name} ${status}`));
    await tasks.start();
    await ended(await parent.enqueue(), 'running');
    const stopped = tasks.stop({ timeout: 10 });
    await sleep(0.05);
    open();
    await stopped;
    expect(seen).toEqual(['pending', 'cancelled', 2]);
    expect(told).toEqual(['parent success']);
    expect(childRuns).toBe(0);
  });

  it('hands back a task whose handler fails because the drain has ended', async () => {
    const told: string[] = [];
    for (const status of ['failed', 'interrupted'] as const)
      tasks.on(status, ({ name }) => told.push(`${name} ${status}`));
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
    expect(told).toEqual(['late interrupted']);
  });

  it('refuses what is enqueued after a stop, so that nobody takes it for stored', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await tasks.stop();
    await expect(noop.enqueue()).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
  });
}
