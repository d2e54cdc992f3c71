import { taskContext } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** How a task ends. */
interface End {
  status: TaskStatus;
  /** Whether its idempotency key is free afterwards. */
  freesKey: boolean;
  /** Enqueues a task with an idempotency key and lets it end. Returns its id. */
  reach(): Promise<string>;
}

/** Declares the tests of idempotency keys. */
export function describeKeys({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);
  const cancel = async (id: string): Promise<void> => {
    const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
    expect(results).toMatchObject([{ ok: true }]);
  };
  let once: (options?: { runIn?: number }) => Promise<string>;
  const define = (handler: () => unknown, options: Parameters<Tasks['task']>[2] = {}): void => {
    const task = tasks.task('charge', handler, options);
    once = (more) => task.with({ idempotencyKey: 'k', ...more }).enqueue();
  };
  /** Enqueues a task with the key, and returns its id once it runs. */
  const running = async (
    handler: () => unknown,
    options: Parameters<Tasks['task']>[2] = {},
  ): Promise<string> => {
    define(handler, options);
    await tasks.start();
    const id = await once();
    await ended(id, 'running');
    return id;
  };
  const obeying = (): Promise<unknown> => {
    const { signal } = taskContext();
    return new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason)),
    );
  };

  beforeEach(() => {
    tasks = manager();
  });

  it('stores one task per idempotency key and returns its id to concurrent calls', async () => {
    let runs = 0;
    const charge = tasks.task('charge', (_order: number) => {
      runs += 1;
    });
    const other = tasks.define<[order: number]>('refund');
    await tasks.start();
    const once = charge.with({ idempotencyKey: 'order 7' });
    const ids = await Promise.all(Array.from({ length: 20 }, () => once.enqueue(7)));
    ids.push(...(await once.enqueueMany([[7], [7]])));
    expect(new Set(ids).size).toBe(1);
    await ended(ids[0] ?? '', 'success');
    expect(await once.enqueue(7)).toBe(ids[0]);
    expect(ids).not.toContain(await charge.with({ idempotencyKey: 'order 8' }).enqueue(8));
    expect(ids).not.toContain(await other.with({ idempotencyKey: 'order 7' }).enqueue(7));
    await waitFor(() => runs === 2);
    expect((await tasks.find({ limit: 10, name: 'charge' })).total).toBe(2);
  });

  it('frees an idempotency key after its window or when its task is cancelled', async () => {
    const charge = tasks.define<[]>('charge');
    const brief = charge.with({ idempotencyKey: 'k', idempotencyWindow: 0.05 });
    const first = await brief.enqueue();
    await sleep(0.08);
    expect([first]).not.toContain(await brief.enqueue());
    const long = charge.with({ idempotencyKey: 'l' });
    const second = await long.enqueue();
    await tasks.control({ action: 'cancel', ids: [second] }, by);
    expect([second]).not.toContain(await long.enqueue());
    // Another task does the work now, so a retry of the cancelled task would do it twice.
    const { results } = await tasks.control({ action: 'retry', ids: [second] }, by);
    expect(results[0]).toMatchObject({
      ok: false,
      code: 'TASK_STATE_CONFLICT',
      status: 'cancelled',
    });
  });

  it('keeps the idempotency key of a failed task, which can be retried', async () => {
    const charge = tasks.task('charge', () => {
      throw new Error('declined');
    });
    await tasks.start();
    const once = charge.with({ idempotencyKey: 'k' });
    const id = await once.enqueue();
    await ended(id, 'failed');
    expect(await once.enqueue()).toBe(id);
    expect((await tasks.control({ action: 'retry', ids: [id] }, by)).results[0]?.ok).toBe(true);
  });

  const ends: Record<string, End> = {
    'is cancelled before its time': {
      ...{ status: 'cancelled', freesKey: true },
      reach: async () => {
        define(() => undefined);
        const id = await once({ runIn: 60 });
        await cancel(id);
        return id;
      },
    },
    'is cancelled between two attempts': {
      ...{ status: 'cancelled', freesKey: true },
      reach: async () => {
        define(() => Promise.reject(new Error('down')), { retries: 1, delay: 60 });
        await tasks.start();
        const id = await once();
        await waitFor(
          async () =>
            (await tasks.get(id))?.attempts.length === 1 &&
            (await tasks.get(id))?.status === 'pending',
        );
        await cancel(id);
        return id;
      },
    },
    'is cancelled while it runs and stops': {
      ...{ status: 'cancelled', freesKey: true },
      reach: async () => {
        const id = await running(obeying);
        await cancel(id);
        return id;
      },
    },
    'is cancelled while it runs and returns a result': {
      ...{ status: 'cancelled', freesKey: true },
      reach: async () => {
        const { passed, open } = gate();
        const id = await running(() => passed.then(() => 'done'));
        await cancel(id);
        open();
        return id;
      },
    },
    'is cancelled while it runs and does not stop': {
      ...{ status: 'cancelled', freesKey: true },
      reach: async () => {
        const id = await running(() => new Promise(() => undefined), { cancelGrace: 0.05 });
        await cancel(id);
        return id;
      },
    },
    succeeds: {
      ...{ status: 'success', freesKey: false },
      reach: async () => {
        const { passed, open } = gate();
        const id = await running(() => passed);
        open();
        return id;
      },
    },
    fails: {
      ...{ status: 'failed', freesKey: false },
      reach: async () => {
        const { passed, open } = gate();
        const id = await running(() => passed.then(() => Promise.reject(new Error('down'))));
        open();
        return id;
      },
    },
    'misses its deadline': {
      ...{ status: 'failed', freesKey: false },
      reach: async () => {
        define(() => undefined, { deadline: 0.01 });
        const id = await once();
        await sleep(0.05);
        await tasks.start();
        return id;
      },
    },
  };

  it('frees the idempotency key of a running task as soon as it is cancelled', async () => {
    const { passed, open } = gate();
    const id = await running(() => passed);
    await cancel(id);
    expect([id]).not.toContain(await once());
    open();
  });

  for (const [way, { status, freesKey, reach }] of Object.entries(ends))
    it(`${freesKey ? 'frees' : 'keeps'} the idempotency key of a task that ${way}`, async () => {
      const id = await reach();
      await ended(id, status);
      expect((await once()) !== id).toBe(freesKey);
    });
}
