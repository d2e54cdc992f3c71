import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { TaskManager, taskProgress } from '../../src/index.js';
import { recordingLogger } from '../helpers/logs.js';
import { waitFor } from '../helpers/wait.js';

let tasks: TaskManager | undefined;
afterEach(() => tasks?.stop({ timeout: 0 }));

async function* later(): AsyncGenerator<number> {
  yield 1;
}
function* now(): Generator<number> {
  yield 1;
}

/** Runs a handler once. Returns the ended task and the log lines. */
async function ran(handler: () => unknown) {
  const log = recordingLogger();
  const manager = new TaskManager({ database: ':memory:', logger: log.logger });
  tasks = manager;
  const task = manager.task('each', handler);
  await manager.start();
  const id = await task.enqueue();
  await waitFor(
    async () => !['pending', 'running'].includes((await manager.get(id))?.status ?? ''),
  );
  const ended = await manager.get(id);
  if (!ended) throw new Error('the task is gone');
  return { ended, lines: log.lines, again: () => task.enqueue(), manager };
}

describe('a handler', () => {
  it.each<[string, unknown]>([
    ['a generator function', now],
    ['an async generator function', later],
    ['a class', class Job {}],
    ['undefined', undefined],
    ['a task', { name: 'x', enqueue: () => 1 }],
  ])('is rejected if it is %s, also by define().handle and schedule', (_case, handler) => {
    const manager = new TaskManager({ database: ':memory:', logger: false });
    tasks = manager;
    const wrong = handler as () => void;
    expect(() => manager.task('a', wrong)).toThrow(TypeError);
    expect(() => manager.define('b').handle(wrong)).toThrow(TypeError);
    if (typeof handler === 'function')
      expect(() => manager.schedule('c', wrong, { every: 60 })).toThrow(TypeError);
    // The name of a rejected definition remains free.
    expect(() => manager.task('a', () => 1)).not.toThrow();
  });

  it.each<[string, () => unknown]>([
    ['a generator', () => now()],
    ['an async generator', () => later()],
    ['a promise of a generator', async () => now()],
  ])('that returns %s fails, because its work was not done', async (_case, handler) => {
    expect((await ran(handler)).ended).toMatchObject({
      status: 'failed',
      error: { name: 'TypeError' },
    });
  });

  it.each<[string, () => unknown, RegExp]>([
    ['a response', () => new Response('x'), /a Response/],
    ['a stream', () => Readable.from(['x']), /a Readable/],
    ['a web stream', () => new Blob(['x']).stream(), /a ReadableStream/],
    ['an iterator', () => new Map([[1, 2]]).values(), /an iterator/],
    ['a function', () => () => 1, /a function/],
  ])(
    'that returns %s succeeds without a result, and the task gives the reason',
    async (_case, handler, reason) => {
      const { ended } = await ran(handler);
      expect(ended).toMatchObject({ status: 'success', result: null });
      expect(ended.resultOmitted).toMatch(reason);
    },
  );
});

describe('taskProgress', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, '50%', undefined])(
    'throws a TypeError for %p',
    async (value) => {
      expect((await ran(() => taskProgress(value as number))).ended).toMatchObject({
        status: 'failed',
        error: { name: 'TypeError' },
      });
      expect(() => taskProgress(value as number)).toThrow(TypeError);
    },
  );

  it('treats a percentage as complete and warns once for each task name', async () => {
    const { ended, lines, again, manager } = await ran(() => {
      taskProgress(40);
      taskProgress(50);
    });
    expect(ended).toMatchObject({ status: 'success', progress: 1 });
    await again();
    await waitFor(async () => (await manager.aggregate('statsSnapshot')).counts.success === 2);
    expect(lines.filter(({ level }) => level === 40)).toMatchObject([{ task: 'each', value: 40 }]);
  });
});
