import { AsyncLocalStorage } from 'node:async_hooks';
import { taskContext } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine isolates the AsyncLocalStorage contexts of an app. */
export function describeIsolating({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  const requests = new AsyncLocalStorage<string>();
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('runs handlers, retries and delayed tasks in an empty context', async () => {
    const seen: unknown[] = [];
    const look = tasks.task(
      'look',
      async (_request: string) => {
        seen.push(requests.getStore());
        await sleep(0.01);
        seen.push(requests.getStore());
        if (taskContext().attempt === 1) throw new Error('again');
      },
      { retries: 1, delay: 0.05 },
    );
    await requests.run('the request that starts', () => tasks.start());
    const names = ['one', 'two', 'three', 'four'];
    const now = await Promise.all(
      names.map((name) => requests.run(name, () => look.enqueue(name))),
    );
    const later = await requests.run('five', () => look.with({ runIn: 0.1 }).enqueue('five'));
    for (const id of [...now, later]) await ended(id, 'success');
    expect(seen).toHaveLength(4 * 5);
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });

  it('calls listeners in an empty context, without a current task', async () => {
    const seen: unknown[] = [];
    for (const status of ['pending', 'running', 'success', 'cancelled'] as const)
      tasks.on(status, ({ status: reached }) => {
        seen.push([reached, requests.getStore(), taskContext().id]);
      });
    const child = tasks.task('child', () => 1);
    const parent = tasks.task('parent', () => requests.run('the handler', () => child.enqueue()));
    await tasks.start();
    await ended(await requests.run('a request', () => parent.enqueue()), 'success');
    const waiting = await child.with({ runIn: 60 }).enqueue();
    await requests.run('an admin', () =>
      tasks.control({ action: 'cancel', ids: [waiting] }, { actor: 'test' }),
    );
    await waitFor(() => seen.length === 8);
    expect(new Set(seen.map((each) => JSON.stringify(each)))).toEqual(
      new Set(
        ['pending', 'running', 'success', 'cancelled'].map((status) =>
          JSON.stringify([status, undefined, '']),
        ),
      ),
    );
  });

  it('keeps a context that a handler enters out of other tasks and attempts', async () => {
    const seen: unknown[] = [];
    const child = tasks.task(
      'child',
      () => void seen.push([requests.getStore(), taskContext().name]),
    );
    const parent = tasks.task(
      'parent',
      async () => {
        seen.push([requests.getStore(), taskContext().name]);
        requests.enterWith('the handler');
        await child.enqueue();
        if (taskContext().attempt === 1) throw new Error('again');
      },
      { retries: 1, delay: 0 },
    );
    await tasks.start();
    const [one = '', two = ''] = await parent.enqueueMany([[], []]);
    await ended(one, 'success');
    await ended(two, 'success');
    await waitFor(() => seen.length === 8);
    expect(new Set(seen.map((each) => JSON.stringify(each)))).toEqual(
      new Set(['parent', 'child'].map((name) => JSON.stringify([undefined, name]))),
    );
  });

  it('runs the tasks of a schedule in an empty context, even if a request adds it', async () => {
    const seen: unknown[] = [];
    const tick = tasks.task('tick', () => void seen.push(requests.getStore()));
    await requests.run('the request that starts', () => tasks.start());
    requests.run('the request that schedules', () => {
      tasks.schedule('often', tick, { every: 0.05 });
      tasks.schedule('seldom', tick, { every: 3600 });
    });
    await waitFor(async () =>
      (await tasks.describe()).schedules.some(({ name }) => name === 'seldom'),
    );
    await requests.run('an admin', () =>
      tasks.control({ action: 'run', schedule: 'seldom' }, { actor: 'test' }),
    );
    await waitFor(
      async () =>
        (await tasks.find({ schedule: 'seldom', status: ['success'], limit: 1 })).total > 0,
    );
    await waitFor(() => seen.length > 3);
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });

  it('aborts a signal in the context of the handler, not of the cancelling request', async () => {
    const seen: unknown[] = [];
    const obedient = tasks.task(
      'obedient',
      () =>
        new Promise((_resolve, reject) => {
          const { signal } = taskContext();
          signal.addEventListener('abort', () => {
            seen.push([requests.getStore(), taskContext().name]);
            reject(signal.reason);
          });
        }),
      { timeout: 60 },
    );
    await tasks.start();
    const id = await obedient.enqueue();
    await ended(id, 'running');
    await requests.run('an admin', () =>
      tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' }),
    );
    await ended(id, 'cancelled');
    expect(seen).toEqual([[undefined, 'obedient']]);
  });
}
