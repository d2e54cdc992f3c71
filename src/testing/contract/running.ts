import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, sleep, waitFor } from '../wait.js';

/** Declares the tests of how an engine runs tasks. */
export function describeRunning({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);
  // On Redis, a task without a handler is shown as running while a worker returns it to its queue.
  const isPending = (id: string) =>
    waitFor(async () => (await tasks.get(id))?.status === 'pending');

  beforeEach(() => {
    tasks = manager();
  });

  it('runs a task and keeps its arguments, result and times', async () => {
    const add = tasks.task('add', (a: number, b: number) => ({ sum: a + b }));
    await tasks.start();
    const id = await add.enqueue(1, 2);
    const task = await ended(id, 'success');
    expect(task).toMatchObject({
      id,
      name: 'add',
      queue: 'default',
      priority: 0,
      tags: {},
      source: 'manual',
      attempt: 1,
      maxAttempts: 1,
      error: null,
      args: [1, 2],
      result: { sum: 3 },
      progress: null,
    });
    expect(task.attempts).toEqual([
      {
        number: 1,
        status: 'success',
        startedAt: task.startedAt,
        endedAt: task.endedAt,
        error: null,
      },
    ]);
    expect([task.createdAt, task.startedAt, task.endedAt].map(String)).toEqual(
      [task.createdAt, task.startedAt, task.endedAt].map(String).sort(),
    );
    expect(task.duration).toBeGreaterThanOrEqual(0);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  });

  it('accepts tasks before the start and runs them afterwards', async () => {
    const noop = tasks.task('noop', () => {});
    const id = await noop.enqueue();
    expect((await tasks.get(id))?.status).toBe('pending');
    await tasks.start();
    await ended(id, 'success');
  });

  it('runs a task that was defined after the start', async () => {
    await tasks.start();
    const late = tasks.define<[word: string]>('late');
    const id = await late.enqueue('x');
    await sleep(0.05);
    await isPending(id);
    late.handle((word) => word.length);
    expect((await ended(id, 'success')).result).toBe(1);
  });

  it('leaves a task pending if no process has a handler for it', async () => {
    const gone = tasks.define('gone');
    tasks.task('here', () => {});
    await tasks.start();
    const id = await gone.enqueue();
    await sleep(0.1);
    await isPending(id);
  });

  it('runs at most `concurrency` tasks at once', async () => {
    let now = 0;
    let most = 0;
    tasks = manager({ concurrency: 3 });
    const slow = tasks.task('slow', async (_n: number) => {
      most = Math.max(most, ++now);
      await sleep(0.02);
      now -= 1;
    });
    await tasks.start();
    const ids = await slow.enqueueMany(Array.from({ length: 12 }, (_, n) => [n]));
    await Promise.all(ids.map((id) => ended(id, 'success')));
    expect(most).toBe(3);
  });

  it('succeeds without a result if it cannot be stored, and records the reason', async () => {
    const odd = tasks.task('odd', () => ({ at: new Date() }));
    await tasks.start();
    expect(await ended(await odd.enqueue(), 'success')).toMatchObject({
      result: null,
      resultOmitted: 'result.at is a Date; JSON cannot represent that',
    });
  });

  const thrownThings: [string, unknown][] = [
    ['a string', 'plain'],
    ['null', null],
    ['undefined', undefined],
    [
      'a Proxy that throws',
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('trap');
          },
          has: () => {
            throw new Error('trap');
          },
        },
      ),
    ],
  ];
  for (const [what, thrown] of thrownThings) {
    it(`marks a task as failed if its handler throws ${what}`, async () => {
      const odd = tasks.task('odd', () => {
        throw thrown;
      });
      const next = tasks.task('next', () => 1);
      await tasks.start();
      const task = await ended(await odd.enqueue(), 'failed');
      expect(task.error).not.toBeNull();
      await ended(await next.enqueue(), 'success');
    });
  }

  it('emits one event for each state change', async () => {
    const seen: string[] = [];

    for (const status of ['pending', 'running', 'success', 'failed', 'cancelled'] as const)
      tasks.on(status, ({ name: task, status: reached }) => {
        seen.push(`${task} ${reached}`);
      });

    const good = tasks.task('good', () => 1);
    const bad = tasks.task('bad', () => {
      throw new Error('x');
    });
    await tasks.start();
    await ended(await good.enqueue(), 'success');
    await ended(await bad.enqueue(), 'failed');
    const waiting = await good.with({ runIn: 60 }).enqueue();
    await tasks.control({ action: 'cancel', ids: [waiting] }, by);
    await waitFor(() => seen.length === 8);
    expect(seen.filter((line) => line.startsWith('bad'))).toEqual(
      ['bad pending', 'bad running', 'bad failed'].sort(
        (a, b) => seen.indexOf(a) - seen.indexOf(b),
      ),
    );
    expect(new Set(seen)).toEqual(
      new Set([
        'good pending',
        'good running',
        'good success',
        'bad pending',
        'bad running',
        'bad failed',
        'good cancelled',
      ]),
    );
  });

  it('starts no task after start({ run: false })', async () => {
    const noop = tasks.task('noop', () => {});
    await tasks.start({ run: false });
    const id = await noop.enqueue();
    await sleep(0.1);
    expect((await tasks.get(id))?.status).toBe('pending');
  });

  it('starts each of a thousand concurrently enqueued tasks once', async () => {
    const starts = new Map<number, number>();
    tasks = manager({ concurrency: 50 });
    const count = tasks.task('count', (n: number) => {
      starts.set(n, (starts.get(n) ?? 0) + 1);
    });
    await tasks.start();
    await Promise.all(Array.from({ length: 1000 }, (_, n) => count.enqueue(n)));
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 1000);
    expect([starts.size, ...new Set(starts.values())]).toEqual([1000, 1]);
  });

  it('limits the concurrency of a task name while other tasks run', async () => {
    let now = 0;
    let most = 0;
    const narrow = tasks.task(
      'narrow',
      async () => {
        most = Math.max(most, ++now);
        await sleep(0.03);
        now -= 1;
      },
      { concurrency: 2 },
    );
    const wide = tasks.task('wide', () => 1);
    await tasks.start();
    const ids = await narrow.enqueueMany(Array.from({ length: 8 }, () => []));
    await ended(await wide.enqueue(), 'success');
    await Promise.all(ids.map((id) => ended(id, 'success')));
    expect(most).toBe(2);
  });

  it('starts ready tasks of other names while one name is at its limit', async () => {
    const gates = [gate(), gate()];
    const held = tasks.task('held', (n: number) => gates[n]?.passed, {
      concurrency: 1,
      priority: 9,
    });
    const free = tasks.task('free', () => 1);
    await tasks.start();
    const [first = '', second = ''] = await held.enqueueMany([[0], [1]]);
    await ended(first, 'running');
    await ended(await free.enqueue(), 'success');
    expect((await tasks.get(second))?.status).toBe('pending');
    gates[0]?.open();
    await ended(first, 'success');
    await ended(second, 'running');
    gates[1]?.open();
    await ended(second, 'success');
  });

  it('excludes the time before the start from the duration of a task', async () => {
    tasks = manager({ concurrency: 1 });
    const slow = tasks.task('slow', () => sleep(0.3));
    await tasks.start();
    const ids = await slow.enqueueMany([[], [], [], [], []]);
    await ended(ids[0] ?? '', 'running');
    expect((await tasks.get(ids[2] ?? ''))?.status).toBe('pending');
    const { createdAt, endedAt, duration } = await ended(ids[4] ?? '', 'success');
    // The other four tasks take 1.2 s on any machine.
    const waited = (Date.parse(String(endedAt)) - Date.parse(createdAt)) / 1000 - Number(duration);
    expect(waited).toBeGreaterThan(1.1);
  });

  it('runs, shows and retries tasks with encrypted arguments and results', async () => {
    tasks = manager({ encryptionKeys: 'a key of tests, 0123456789 abcdefgh' });
    const seen: unknown[] = [];
    const secret = tasks.task('secret', (word: string) => {
      seen.push(word);
      if (seen.length === 1) throw new Error('first');
      return { word };
    });
    await tasks.start();
    const id = await secret.enqueue('rosebud');
    await ended(id, 'failed');
    await tasks.control({ action: 'retry', ids: [id] }, by);
    expect(await ended(id, 'success')).toMatchObject({
      args: ['rosebud'],
      result: { word: 'rosebud' },
    });
    expect(seen).toEqual(['rosebud', 'rosebud']);
    const { results } = await tasks.control({ action: 'rerun', ids: [id], args: ['sled'] }, by);
    expect(await ended(results[0]?.ok ? results[0].task.id : '', 'success')).toMatchObject({
      args: ['sled'],
      result: { word: 'sled' },
    });
  });
}
