import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { TaskManager } from '../../src/manager.js';
import { taskContext, taskLog } from '../../src/tasks/context.js';
import { type TestEngine, testEngine } from '../../src/testing/index.js';
import { gate, sleep } from '../../src/testing/wait.js';

const by = { actor: 'test' };

describe('testEngine', () => {
  let engine: TestEngine;
  let tasks: TaskManager;
  beforeEach(() => {
    engine = testEngine({ now: new Date('2030-01-01T00:00:00Z') });
    tasks = new TaskManager({ engine, logger: false });
  });
  afterEach(() => tasks.stop());

  it('has run a task when enqueue resolves', async () => {
    const add = tasks.task('add', (a: number, b: number) => {
      taskLog('adding');
      return a + b;
    });
    await tasks.start();
    const id = await add.enqueue(1, 2);
    expect(await tasks.get(id)).toMatchObject({
      status: 'success',
      result: 3,
      createdAt: '2030-01-01T00:00:00.000Z',
      duration: 0,
    });
    expect((await tasks.logs(id, {})).map(({ message, at }) => [message, at])).toEqual([
      ['adding', '2030-01-01T00:00:00.000Z'],
    ]);
  });

  it('runs tasks in order at the start, and none before', async () => {
    const order: string[] = [];
    const note = tasks.task('note', (word: string) => {
      order.push(word);
    });
    await note.enqueue('second');
    await note.with({ priority: 1 }).enqueue('first');
    expect(order).toEqual([]);
    await tasks.start();
    expect(order).toEqual(['first', 'second']);
  });

  it('waits for run() if inline is false', async () => {
    engine = testEngine({ inline: false });
    const own = new TaskManager({ engine, logger: false });
    const noop = own.task('noop', () => 1);
    await own.start();
    const id = await noop.enqueue();
    expect((await own.get(id))?.status).toBe('pending');
    await engine.run();
    expect((await own.get(id))?.status).toBe('success');
    await own.stop();
  });

  it('runs retries, delayed tasks and schedules at their times as the clock moves', async () => {
    const seen: string[] = [];
    const flaky = tasks.task(
      'flaky',
      () => {
        seen.push(`flaky ${engine.time.toISOString()}`);
        if (taskContext().attempt < 3) throw new Error('no');
      },
      { retries: 3, delay: 60, backoff: 2 },
    );
    const note = tasks.task('note', () => {
      seen.push(`note ${engine.time.toISOString()}`);
    });
    tasks.schedule('nightly', note, { cron: '0 3 * * *', timezone: 'Europe/Berlin' });
    await tasks.start();
    const id = await flaky.enqueue();
    await note.with({ runIn: 90 }).enqueue();
    expect((await tasks.get(id))?.status).toBe('pending');
    await engine.advance(59.999);
    expect(seen).toHaveLength(1);
    await engine.advance(3 * 3600);
    expect(seen).toEqual(
      [
        'flaky 2030-01-01T00:00:00.000Z',
        'flaky 2030-01-01T00:01:00.000Z',
        'note 2030-01-01T00:01:30.000Z',
        'note 2030-01-01T02:00:00.000Z',
        'flaky 2030-01-01T00:03:00.000Z',
      ].sort((a, b) => (a.slice(-24) < b.slice(-24) ? -1 : 1)),
    );
    expect(engine.time.toISOString()).toBe('2030-01-01T03:00:59.999Z');
    expect((await tasks.get(id))?.status).toBe('success');
  });

  it('runs the tasks of a handler after the handler, and retries on command', async () => {
    const order: string[] = [];
    let healthy = false;
    const child = tasks.task('child', () => {
      order.push('child');
      if (!healthy) throw new Error('down');
    });
    const parent = tasks.task('parent', async () => {
      await child.enqueue();
      order.push('parent');
    });
    await tasks.start();
    await parent.enqueue();
    expect(order).toEqual(['parent', 'child']);
    const { items } = await tasks.find({ limit: 1, status: ['failed'] });
    healthy = true;
    await tasks.control({ action: 'retry', ids: [items[0]?.id ?? ''] }, by);
    expect((await tasks.find({ limit: 1, status: ['failed'] })).total).toBe(0);
    expect(order).toEqual(['parent', 'child', 'child']);
  });

  it('applies deadlines by its own clock', async () => {
    const past = testEngine({ now: new Date('2020-01-01T00:00:00Z') });
    const own = new TaskManager({ engine: past, logger: false });
    const heeds = async (): Promise<void> => {
      const { signal } = taskContext();
      await sleep(0.02);
      signal.throwIfAborted();
    };
    const task = own.task('heeds', heeds, { deadline: 60 });
    await own.start();
    const ids = [await task.enqueue(), await task.with({ runIn: 30 }).enqueue()];
    await own.control({ action: 'pause', queue: 'default' }, by);
    await past.advance(91);
    await own.control({ action: 'resume', queue: 'default' }, by);
    const states = await Promise.all(ids.map(async (id) => (await own.get(id))?.status));
    expect(states).toEqual(['success', 'failed']);
    await own.stop();
  });

  it('keeps whole milliseconds if its clock is turned by a fraction of a second', async () => {
    const note = tasks.task('note', () => {});
    await tasks.start();
    // 1.005 * 1000 is 1004.9999999999999.
    await engine.advance(1.005);
    const id = await note.enqueue();
    expect((await tasks.get(id))?.createdAt).toBe('2030-01-01T00:00:01.005Z');
  });

  it('works while the global timers are replaced', async () => {
    jest.useFakeTimers();
    try {
      const flaky = tasks.task('flaky', () => Promise.reject(new Error('no')), {
        retries: 1,
        delay: 60,
      });
      await tasks.start();
      const id = await flaky.enqueue();
      await engine.advance(60);
      expect(await tasks.get(id)).toMatchObject({
        status: 'failed',
        attempt: 2,
        endedAt: '2030-01-01T00:01:00.000Z',
      });
    } finally {
      jest.useRealTimers();
    }
  });

  it('runs other tasks while the handlers of timed-out attempts continue', async () => {
    const own = new TaskManager({ engine: testEngine(), logger: false, concurrency: 1 });
    const held = gate();
    const hung = own.task('hung', () => held.passed, { timeout: 0.05, cancelGrace: 0.05 });
    const noop = own.task('noop', () => 1);
    await own.start();
    const ids = [await hung.enqueue(), await hung.enqueue(), await noop.enqueue()];
    const states = await Promise.all(ids.map(async (id) => (await own.get(id))?.status));
    held.open();
    expect(states).toEqual(['failed', 'failed', 'success']);
    await own.stop();
  });

  it('has stored late log lines when run() resolves', async () => {
    const late = gate();
    const task = tasks.task('late', async () => {
      void late.passed.then(() => taskLog('late'));
    });
    await tasks.start();
    const id = await task.enqueue();
    late.open();
    await late.passed;
    await engine.run();
    expect((await tasks.logs(id, {})).map(({ message }) => message)).toEqual(['late']);
  });

  it('cancels a running task on command', async () => {
    const begun = gate();
    const task = tasks.task('waits', async () => {
      begun.open();
      await new Promise((resolve) => taskContext().signal.addEventListener('abort', resolve));
    });
    await tasks.start();
    const enqueued = task.enqueue();
    await begun.passed;
    const [running] = (await tasks.find({ limit: 1, status: ['running'] })).items;
    await tasks.control({ action: 'cancel', ids: [running?.id ?? ''] }, by);
    expect((await tasks.get(await enqueued))?.status).toBe('cancelled');
  });

  it('rejects with the error of an abort listener', async () => {
    const task = tasks.task(
      'listens',
      async () => {
        taskContext().signal.addEventListener('abort', () => {
          throw new Error('listener');
        });
        await new Promise(() => {});
      },
      { timeout: 0.05, cancelGrace: 0.05 },
    );
    await tasks.start();
    await expect(task.enqueue()).rejects.toThrow('listener');
  });

  it.each([
    ['an invalid Date', { now: new Date('soon') }],
    ['a time that is not a Date', { now: 5 }],
    ['an unknown option', { inlin: true }],
  ])('rejects %s', (_case, options) => {
    expect(() => testEngine(options as never)).toThrow(TypeError);
  });
});
