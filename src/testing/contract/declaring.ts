import type { EnginePromises } from '../../tasks/promises.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, waitFor } from '../wait.js';

/**
 * The promises that can be tested on any engine with the public functions of one manager. Tests of
 * the other promises need several processes or a certain storage.
 */
export type PromiseOfManager =
  | 'concurrencyPer'
  | 'maxQueues'
  | 'priorityOver'
  | 'idempotencyPer'
  | 'deletionFreesKey'
  | 'maxBatch';

/** The name and the body of a test. */
type Declared = readonly [behaviour: string, test: (promises: EnginePromises) => Promise<void>];

/**
 * Declares a test for each promise that an engine declares in `promises`. The expected result
 * depends on the declared value.
 */
export function describeDeclaring({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  const by = { actor: 'test' };
  const invalid = expect.objectContaining({ code: 'INVALID_INPUT' });
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  const declared: Record<PromiseOfManager, Declared> = {
    concurrencyPer: [
      'limits concurrent tasks to `concurrency`, in total or in each queue',
      async ({ concurrencyPer }) => {
        tasks = manager({ concurrency: 2 });
        const { passed, open } = gate();
        let started = 0;
        const hold = tasks.task('hold', () => {
          started += 1;
          return passed;
        });
        const most = concurrencyPer === 'process' ? 2 : 4;
        const lists = ['one', 'two'].map((queue) => hold.with({ queue }).enqueueMany([[], [], []]));
        const ids = (await Promise.all(lists)).flat();
        await tasks.start();
        await waitFor(() => started === most);
        expect((await tasks.find({ status: ['pending'], limit: 1 })).total).toBe(6 - most);
        open();
        for (const id of ids) await ended(id, 'success');
      },
    ],
    maxQueues: [
      'accepts as many queues as it declares and rejects a further one',
      async ({ maxQueues }) => {
        const noop = tasks.define('noop');
        const into = (n: number) => noop.with({ queue: `queue ${n}` }).enqueue();
        const most = maxQueues ?? 120;
        for (let n = 0; n < most; n++) await into(n);
        if (maxQueues !== null) await expect(into(most)).rejects.toThrow(invalid);
        await into(0);
        expect((await tasks.find({ limit: 1 })).total).toBe(most + 1);
      },
    ],
    priorityOver: [
      'starts the first task with a priority before all waiting tasks or after them',
      async ({ priorityOver }) => {
        tasks = manager({ concurrency: 1 });
        const order: string[] = [];
        const note = tasks.task('note', (word: string) => void order.push(word));
        await note.enqueue('before');
        await note.with({ priority: 5 }).enqueue('first');
        await note.enqueue('plain');
        await note.with({ priority: 5 }).enqueue('second');
        await tasks.start();
        await waitFor(() => order.length === 4);
        expect(order).toEqual(
          priorityOver === 'all'
            ? ['first', 'second', 'before', 'plain']
            : ['before', 'first', 'second', 'plain'],
        );
      },
    ],
    idempotencyPer: [
      'stores one task per idempotency key for each name, or for each name and queue',
      async ({ idempotencyPer }) => {
        const once = tasks.define('charge');
        const into = (queue: string) => once.with({ idempotencyKey: 'k', queue }).enqueue();
        const id = await into('one');
        expect(await into('one')).toBe(id);
        expect((await into('two')) === id).toBe(idempotencyPer === 'name');
      },
    ],
    deletionFreesKey: [
      'keeps the idempotency key of a deleted task until its window ends, or frees it',
      async ({ deletionFreesKey }) => {
        const once = tasks.task('charge', () => 1).with({ idempotencyKey: 'k' });
        await tasks.start();
        const id = await once.enqueue();
        await ended(id, 'success');
        await tasks.control({ action: 'delete', ids: [id] }, by);
        expect((await once.enqueue()) !== id).toBe(deletionFreesKey);
      },
    ],
    maxBatch: [
      'stores as many tasks in one call as it declares and rejects a larger batch',
      async ({ maxBatch }) => {
        const note = tasks.define<[text?: string]>('note');
        const most = maxBatch?.tasks ?? 12_000;
        const total = async () => (await tasks.aggregate('statsSnapshot')).pending;
        if (maxBatch) {
          const text = 'x'.repeat(1_000_000);
          const large = Math.ceil(maxBatch.bytes / text.length);
          await expect(
            note.enqueueMany(Array.from({ length: most + 1 }, () => [])),
          ).rejects.toThrow(invalid);
          await expect(
            note.enqueueMany(Array.from({ length: large }, () => [text])),
          ).rejects.toThrow(invalid);
          expect(await total()).toBe(0);
        }
        await note.enqueueMany(Array.from({ length: most }, () => []));
        expect(await total()).toBe(most);
      },
    ],
  };

  for (const [behaviour, test] of Object.values(declared))
    it(behaviour, () => test(tasks.promises));
}
