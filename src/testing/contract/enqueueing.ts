import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine enqueues tasks and orders them. */
export function describeEnqueueing({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('starts tasks by priority, and tasks of equal priority by age', async () => {
    const order: string[] = [];
    tasks = manager({ concurrency: 1 });
    const note = tasks.task('note', (word: string) => {
      order.push(word);
    });
    const other = tasks.task('other', (word: string) => {
      order.push(word);
    });
    await note.with({ priority: -1 }).enqueue('last');
    await note.enqueue('second');
    await other.enqueue('third');
    await other.with({ priority: 9 }).enqueue('first');
    await note.enqueue('fourth');
    await tasks.start();
    await waitFor(() => order.length === 5);
    expect(order).toEqual(['first', 'second', 'third', 'fourth', 'last']);
  });

  it('does not start a delayed task before its time', async () => {
    const started: number[] = [];
    const note = tasks.task('note', () => {
      started.push(Date.now());
    });
    await tasks.start();
    const at = new Date(Date.now() + 250);
    const id = await note.with({ runAt: at }).enqueue();
    expect((await tasks.get(id))?.runAt).toBe(at.toISOString());
    await ended(id, 'success');
    expect(started[0]).toBeGreaterThanOrEqual(at.getTime());
    expect(started[0]).toBeLessThan(at.getTime() + 10_000);
  });

  it('stores no task of a batch if the arguments of one cannot be stored', async () => {
    const note = tasks.task('note', (_value: unknown) => {});
    await expect(note.enqueueMany([[1], [new Date()]])).rejects.toThrow('args[0] is a Date');
    expect((await tasks.find({ limit: 10 })).total).toBe(0);
  });

  it('reports since when the oldest ready task of a queue waits, at any priority', async () => {
    const waits = tasks.define('waits', { queue: 'bulk' });
    const oldest = async (): Promise<string | undefined> =>
      (await tasks.aggregate('waits')).find(({ queue }) => queue === 'bulk')?.since;
    await waits.with({ runIn: 60 }).enqueue();
    // A delayed task does not count as waiting before its time.
    expect(await oldest()).toBeUndefined();
    const first = await waits.enqueue();
    await sleep(0.01);
    await waits.with({ priority: 9 }).enqueue();
    await waits.with({ priority: -9 }).enqueue();
    await waits.enqueue();
    expect(await oldest()).toBe((await tasks.get(first))?.runAt);
    await tasks.control({ action: 'cancel', ids: [first] }, by);
    expect(Date.parse((await oldest()) ?? '')).toBeGreaterThan(
      Date.parse((await tasks.get(first))?.createdAt ?? ''),
    );
  });

  it('starts tasks of all queues except a paused one until it is resumed', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.control({ action: 'pause', queue: 'bulk' }, by);
    await tasks.start();
    const id = await noop.with({ queue: 'bulk' }).enqueue();
    await ended(await noop.enqueue(), 'success');
    await sleep(0.05);
    expect((await tasks.get(id))?.status).toBe('pending');
    expect((await tasks.describe()).queues.find(({ name }) => name === 'bulk')).toMatchObject({
      paused: true,
      pause: { by: 'test', reason: null },
    });
    await tasks.control({ action: 'resume', queue: 'bulk' }, by);
    await ended(id, 'success');
    expect((await tasks.describe()).queues.find(({ name }) => name === 'bulk')).toMatchObject({
      paused: false,
      pause: null,
    });
  });

  it('keeps who paused a queue first, when and why, until it is resumed', async () => {
    const pauseOf = async (queue: string) =>
      (await tasks.describe()).queues.find(({ name }) => name === queue)?.pause;
    const noop = tasks.task('noop', () => 1);
    await noop.with({ queue: 'bulk' }).enqueue();
    // The other queue never had a task.
    for (const queue of ['bulk', 'other']) {
      await tasks.control({ action: 'pause', queue }, { actor: 'first', reason: 'upgrade' });
      const first = await pauseOf(queue);
      expect(first).toMatchObject({ by: 'first', reason: 'upgrade' });
      await sleep(0.01);
      await tasks.control({ action: 'pause', queue }, { actor: 'second' });
      expect(await pauseOf(queue)).toEqual(first);
      await tasks.control({ action: 'resume', queue }, by);
      await tasks.control({ action: 'pause', queue }, { actor: 'second' });
      expect(await pauseOf(queue)).toMatchObject({ by: 'second', reason: null });
      await tasks.control({ action: 'resume', queue }, by);
    }
  });

  it('starts a delayed task at once on the run command', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const id = await noop.with({ runIn: 3600 }).enqueue();
    const { results } = await tasks.control({ action: 'run', ids: [id] }, by);
    expect(results[0]).toMatchObject({ ok: true });
    await ended(id, 'success');
    expect((await tasks.control({ action: 'run', ids: [id] }, by)).results[0]).toMatchObject({
      ok: false,
      status: 'success',
    });
  });
}
