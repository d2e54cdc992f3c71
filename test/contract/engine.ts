import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager, type TaskManagerOptions } from '../../src/manager.js';
import { taskContext, taskLog } from '../../src/tasks/context.js';
import type { TaskStatus } from '../../src/tasks/types.js';
import { recordingLogger } from '../helpers/logs.js';
import { sleep, waitFor } from '../helpers/wait.js';

/** What the suite needs of an engine under test. */
export interface EngineUnderTest {
  /** Options of a manager on a store of its own. */
  options(): TaskManagerOptions;
  cleanUp(): void;
}

const by = { actor: 'test' };

/** What every engine promises, each promise once. */
export function describeEngine(name: string, make: () => EngineUnderTest): void {
  describe(`the ${name} engine`, () => {
    let under: EngineUnderTest;
    let tasks: TaskManager;
    const managers: TaskManager[] = [];

    const manager = (more: TaskManagerOptions = {}): TaskManager => {
      const made = new TaskManager({ logger: false, ...under.options(), ...more });
      managers.push(made);
      return made;
    };
    const ended = (id: string, status: TaskStatus) =>
      waitFor(async () => (await tasks.get(id))?.status === status && (await tasks.get(id)));

    beforeEach(() => {
      under = make();
      tasks = manager();
    });
    afterEach(async () => {
      await Promise.all(managers.splice(0).map((each) => each.stop({ timeout: 0.1 })));
      under.cleanUp();
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
      expect(task.attempts).toEqual([{ number: 1, status: 'success', startedAt: task.startedAt, endedAt: task.endedAt, error: null }]);
      expect([task.createdAt, task.startedAt, task.endedAt].map(String)).toEqual(
        [task.createdAt, task.startedAt, task.endedAt].map(String).sort(),
      );
      expect(task.duration).toBeGreaterThanOrEqual(0);
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    });

    it('enqueues before it is started, and runs that afterwards', async () => {
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
      expect((await tasks.get(id))?.status).toBe('pending');
      late.handle((word) => word.length);
      expect((await ended(id, 'success')).result).toBe(1);
    });

    it('leaves a task pending that no process has a handler for', async () => {
      const gone = tasks.define('gone');
      tasks.task('here', () => {});
      await tasks.start();
      const id = await gone.enqueue();
      await sleep(0.1);
      expect((await tasks.get(id))?.status).toBe('pending');
    });

    it('tries a failed task again as often as it may, each time later, and keeps every attempt', async () => {
      const times: number[] = [];
      const flaky = tasks.task(
        'flaky',
        () => {
          times.push(Date.now());
          throw new RangeError(`attempt ${taskContext().attempt}`);
        },
        { retries: 2, delay: 0.1, backoff: 3 },
      );
      await tasks.start();
      const task = await ended(await flaky.enqueue(), 'failed');
      expect(task.attempts.map(({ number, status, error }) => [number, status, error?.message])).toEqual([
        [1, 'failed', 'attempt 1'],
        [2, 'failed', 'attempt 2'],
        [3, 'failed', 'attempt 3'],
      ]);
      expect(task).toMatchObject({ attempt: 3, maxAttempts: 3, error: { name: 'RangeError', message: 'attempt 3' }, result: null });
      expect(task.stack).toContain('RangeError: attempt 3');
      expect(task.fingerprint).toMatch(/^[0-9a-f]{16}$/);
      const [first = 0, second = 0, third = 0] = times;
      expect(second - first).toBeGreaterThanOrEqual(99);
      expect(third - second).toBeGreaterThanOrEqual(299);
    });

    it('succeeds at a later attempt and has no error then', async () => {
      const flaky = tasks.task(
        'flaky',
        () => {
          if (taskContext().attempt < 2) throw new Error('not yet');
          return 'done';
        },
        { retries: 3 },
      );
      await tasks.start();
      const task = await ended(await flaky.enqueue(), 'success');
      expect(task).toMatchObject({ attempt: 2, error: null, result: 'done', stack: null });
      expect(task.attempts.map(({ status }) => status)).toEqual(['failed', 'success']);
    });

    it('retries a failed task with the same id, as a new series with its history kept', async () => {
      let healthy = false;
      const flaky = tasks.task(
        'flaky',
        () => {
          if (!healthy) throw new Error('down');
        },
        { retries: 1 },
      );
      await tasks.start();
      const id = await flaky.enqueue();
      await ended(id, 'failed');
      healthy = true;
      const { results } = await tasks.control({ action: 'retry', ids: [id] }, by);
      expect(results[0]).toMatchObject({ id, ok: true, task: { id, status: 'pending', maxAttempts: 4 } });
      const task = await ended(id, 'success');
      expect(task.attempts.map(({ number, status }) => [number, status])).toEqual([
        [1, 'failed'],
        [2, 'failed'],
        [3, 'success'],
      ]);
    });

    it('refuses to retry what has not failed, and what it does not know', async () => {
      const noop = tasks.task('noop', () => {});
      const id = await noop.enqueue();
      const unknown = '01890000-0000-7000-8000-000000000000';
      const { results } = await tasks.control({ action: 'retry', ids: [id, unknown] }, by);
      expect(results).toEqual([
        { id, ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
        { id: unknown, ok: false, code: 'TASK_NOT_FOUND' },
      ]);
    });

    it('never starts a pending task that was cancelled', async () => {
      let ran = false;
      const later = tasks.task('later', () => {
        ran = true;
      });
      await tasks.start();
      const id = await later.with({ runIn: 0.15 }).enqueue();
      const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
      expect(results[0]).toMatchObject({ ok: true, task: { status: 'cancelled' } });
      await sleep(0.3);
      expect(ran).toBe(false);
      expect(await tasks.get(id)).toMatchObject({ status: 'cancelled', attempt: 0, attempts: [], startedAt: null, duration: null });
    });

    it('aborts the signal of a running task that is cancelled, and records it when it ends', async () => {
      const obedient = tasks.task('obedient', () => {
        const { signal } = taskContext();
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      });
      await tasks.start();
      const id = await obedient.enqueue();
      await ended(id, 'running');
      const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
      expect(results[0]).toMatchObject({ ok: true, task: { status: 'running', engineState: 'cancelling' } });
      const task = await ended(id, 'cancelled');
      expect(task).toMatchObject({ error: null, result: null, attempts: [{ number: 1, status: 'cancelled' }] });
      expect((await tasks.control({ action: 'cancel', ids: [id] }, by)).results[0]).toMatchObject({
        ok: false,
        code: 'TASK_STATE_CONFLICT',
      });
    });

    it('records a cancelled task that ignores its signal after its grace, keeps its slot taken, and ignores what it returns', async () => {
      let release = (): void => {};
      const one = manager({ concurrency: 1 });
      tasks = one;
      const stubborn = one.task(
        'deaf',
        () =>
          new Promise<string>((resolve) => {
            release = () => resolve('too late');
          }),
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
      release();
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
      await waitFor(async () => (await tasks.get(id))?.attempts.length === 1 && (await tasks.get(id))?.status === 'pending');
      await tasks.control({ action: 'cancel', ids: [id] }, by);
      expect(await tasks.get(id)).toMatchObject({ status: 'cancelled', attempts: [{ number: 1, status: 'failed' }] });
    });

    it('starts what has the larger priority first, and what is older among equals', async () => {
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

    it('starts nothing before its time', async () => {
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
      expect(started[0]).toBeLessThan(at.getTime() + 2000);
    });

    it('runs no more at once than it may', async () => {
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

    it('keeps log lines in order, with level, fields and attempt', async () => {
      const talk = tasks.task(
        'talk',
        () => {
          taskLog('one', { n: 1 });
          taskLog.warn('two');
          taskLog.error('three', { big: 1n, at: new Error('x') });
          if (taskContext().attempt === 1) throw new Error('again');
        },
        { retries: 1 },
      );
      await tasks.start();
      const { logs, id } = await ended(await talk.enqueue(), 'success');
      expect(logs.map(({ n, attempt, level, message }) => [n, attempt, level, message])).toEqual([
        [1, 1, 'info', 'one'],
        [2, 1, 'warn', 'two'],
        [3, 1, 'error', 'three'],
        [4, 2, 'info', 'one'],
        [5, 2, 'warn', 'two'],
        [6, 2, 'error', 'three'],
      ]);
      expect(logs[0]?.fields).toEqual({ n: 1 });
      expect(logs[1]?.fields).toBeNull();
      expect(logs[2]?.fields).toEqual({ big: '1', at: { name: 'Error', message: 'x' } });
      expect((await tasks.logs(id, { after: 4 })).map(({ n }) => n)).toEqual([5, 6]);
    });

    it('shows the log of a task while it runs', async () => {
      let release = (): void => {};
      const talk = tasks.task('talk', () => {
        taskLog('begun');
        return new Promise<void>((resolve) => {
          release = resolve;
        });
      });
      await tasks.start();
      const id = await talk.enqueue();
      await waitFor(async () => (await tasks.logs(id, {})).length === 1);
      release();
    });

    it('keeps no more log lines of a task than its limit, and says so', async () => {
      tasks = manager({ limits: { logLines: 5 } });
      const talk = tasks.task('talk', () => {
        for (let n = 0; n < 50; n++) taskLog(`line ${n}`);
      });
      await tasks.start();
      const { logs } = await ended(await talk.enqueue(), 'success');
      expect(logs.map(({ message }) => message)).toEqual([
        'line 0',
        'line 1',
        'line 2',
        'line 3',
        'only the first 5 lines of a task are kept',
      ]);
    });

    it('leaves a task success whose result cannot be kept, and says why', async () => {
      const odd = tasks.task('odd', () => ({ at: new Date() }));
      await tasks.start();
      expect(await ended(await odd.enqueue(), 'success')).toMatchObject({
        result: null,
        resultOmitted: 'result.at is a Date; JSON cannot carry that',
      });
    });

    it.each([
      ['a text', 'plain'],
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
    ])('records a handler that throws %s as failed', async (_case, thrown) => {
      const odd = tasks.task('odd', () => {
        throw thrown;
      });
      const next = tasks.task('next', () => 1);
      await tasks.start();
      const task = await ended(await odd.enqueue(), 'failed');
      expect(task.error).not.toBeNull();
      await ended(await next.enqueue(), 'success');
    });

    it('stores none of many tasks when one of them cannot be carried', async () => {
      const note = tasks.task('note', (_value: unknown) => {});
      await expect(note.enqueueMany([[1], [new Date()]])).rejects.toThrow('args[0] is a Date');
      expect((await tasks.find({ limit: 10 })).total).toBe(0);
    });

    it('tells of each transition once, in order, after it is stored', async () => {
      const seen: string[] = [];
      const { logger, lines } = recordingLogger();
      tasks = manager({ logger });
      for (const status of ['pending', 'running', 'success', 'failed', 'cancelled'] as const)
        tasks.on(status, ({ name: task, status: told }) => {
          seen.push(`${task} ${told}`);
        });
      tasks.on('success', () => {
        throw new Error('listener');
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
        ['bad pending', 'bad running', 'bad failed'].sort((a, b) => seen.indexOf(a) - seen.indexOf(b)),
      );
      expect(new Set(seen)).toEqual(
        new Set(['good pending', 'good running', 'good success', 'bad pending', 'bad running', 'bad failed', 'good cancelled']),
      );
      expect(lines.some(({ msg }) => msg === 'a listener failed')).toBe(true);
    });

    it('numbers every change, so that a reader gets the newest row of each task changed since', async () => {
      const noop = tasks.task('noop', () => {});
      const before = await noop.enqueue();
      const { rev } = await tasks.describe();
      const id = await noop.enqueue();
      await tasks.control({ action: 'cancel', ids: [id] }, by);
      const controller = new AbortController();
      for await (const changes of tasks.watch(rev, controller.signal)) {
        expect(changes.upserts.map((task) => [task.id, task.status])).toEqual([[id, 'cancelled']]);
        expect(changes.rev).toBeGreaterThan(rev + 1);
        expect(changes).toMatchObject({ removed: [], dropped: 0 });
        break;
      }
      expect(before).not.toBe(id);
    });

    it('ends a watch when its signal aborts or the engine stops', async () => {
      const drain = async (signal: AbortSignal): Promise<string> => {
        for await (const _changes of tasks.watch((await tasks.describe()).rev, signal)) return 'changed';
        return 'ended';
      };
      const controller = new AbortController();
      const [first, second] = [drain(controller.signal), drain(new AbortController().signal)];
      await sleep(0.05);
      controller.abort();
      expect(await first).toBe('ended');
      await tasks.stop();
      expect(await second).toBe('ended');
    });

    it('tells at most 500 changed rows, the newest, and how many others there are', async () => {
      const noop = tasks.define('noop');
      const { rev } = await tasks.describe();
      const ids = await noop.enqueueMany(Array.from({ length: 620 }, () => []));
      for await (const changes of tasks.watch(rev, new AbortController().signal)) {
        expect(changes.dropped).toBe(120);
        expect(changes.upserts.map((task) => task.id)).toEqual(ids.slice(120));
        break;
      }
    });

    it('lists tasks newest first, by state and name, and repeats and skips none over its pages', async () => {
      const a = tasks.task('a', () => 1);
      const b = tasks.task('b', () => {
        throw new Error('x');
      });
      const ids: string[] = [];
      for (let n = 0; n < 7; n++) ids.push(await a.enqueue(), await b.enqueue());
      await tasks.start();
      await waitFor(async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0);
      const pages = async (query: { status?: TaskStatus[]; name?: string }): Promise<string[]> => {
        const found: string[] = [];
        let after: string | null | undefined;
        do {
          const page = await tasks.find({ ...query, limit: 3, after: after ?? undefined });
          found.push(...page.items.map((task) => task.id));
          after = page.next;
        } while (after);
        return found;
      };
      expect(await pages({})).toEqual([...ids].reverse());
      expect(await pages({ status: ['failed'] })).toEqual(ids.filter((_, n) => n % 2 === 1).reverse());
      expect(await pages({ status: ['failed', 'success'] })).toEqual([...ids].reverse());
      expect(await pages({ name: 'a' })).toEqual(ids.filter((_, n) => n % 2 === 0).reverse());
      expect(await pages({ name: 'a', status: ['failed'] })).toEqual([]);
      expect(await tasks.find({ limit: 1, name: 'b' })).toMatchObject({ total: 7, totalRelation: 'eq' });
    });

    it('counts states, and measures durations within 2.2 %', async () => {
      const timed = tasks.task('timed', (ms: number) => sleep(ms / 1000));
      const bad = tasks.task('bad', () => {
        throw new Error('x');
      });
      await tasks.start();
      const ids = await timed.with({ queue: 'slow' }).enqueueMany([[50], [60], [300]]);
      await Promise.all(ids.map((id) => ended(id, 'success')));
      await ended(await bad.enqueue(), 'failed');
      const durations = (await Promise.all(ids.map((id) => tasks.get(id)))).map((task) => task?.duration ?? 0).sort((x, y) => x - y);
      const metrics = await tasks.aggregate('metrics', {});
      expect(metrics.counts).toEqual({ pending: 0, running: 0, success: 3, failed: 1, interrupted: 0, cancelled: 0 });
      expect(metrics.successRate).toBe(0.75);
      const { durations: measured } = metrics.functions.find((each) => each.name === 'timed') ?? { durations: undefined };
      expect(measured).toMatchObject({ min: durations[0], max: durations[2] });
      expect(Math.abs((measured?.p50 ?? 0) / (durations[1] ?? 1) - 1)).toBeLessThan(0.023);
      expect(metrics.queues.map((queue) => [queue.name, queue.counts.success])).toEqual([
        ['default', 0],
        ['slow', 3],
      ]);
      expect(metrics.series.reduce((sum, point) => sum + point.success + point.failed, 0)).toBe(4);
      const recent = await tasks.aggregate('metrics', { from: Date.now() - 60_000 });
      expect(recent.counts).toMatchObject({ success: 3, failed: 1 });
      expect((await tasks.aggregate('metrics', { from: Date.now() - 7_200_000, to: Date.now() - 3_600_000 })).successRate).toBeNull();
      expect(await tasks.aggregate('pulse')).toMatchObject({ running: 0, pending: 0, perMinute: 4 });
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
      await expect(slow.enqueue()).rejects.toThrow(expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }));
    });

    it('hands back at a stop what does not end in time, whether it obeys its signal or not', async () => {
      const told: string[] = [];
      for (const status of ['interrupted', 'failed', 'pending'] as const)
        tasks.on(status, ({ name: task }) => told.push(`${task} ${status}`));
      const obedient = (): Promise<unknown> => {
        const { signal } = taskContext();
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      };
      const once = tasks.task('once', obedient);
      const again = tasks.task('again', obedient, { requeueOnInterrupt: true, retries: 3 });
      const deaf = tasks.task('deaf', () => new Promise(() => {}));
      await tasks.start();
      const ids = await Promise.all([once.enqueue(), again.enqueue(), deaf.enqueue()]);
      await Promise.all(ids.map((id) => ended(id, 'running')));
      told.length = 0;
      await tasks.stop({ timeout: 0.05 });
      expect(told.sort()).toEqual(['again pending', 'deaf interrupted', 'once interrupted']);
    });

    it('fires a schedule while it is started', async () => {
      const tick = tasks.task('tick', (_word: string) => {});
      tasks.schedule('ticking', tick, { every: 0.1, args: ['x'] });
      await tasks.start();
      const page = await waitFor(async () => {
        const found = await tasks.find({ limit: 10, status: ['success'] });
        return found.total >= 3 && found;
      });
      expect(page.items[0]).toMatchObject({ name: 'tick', source: 'scheduled' });
    });

    it('only enqueues and shows when it is started with run: false', async () => {
      const noop = tasks.task('noop', () => {});
      await tasks.start({ run: false });
      const id = await noop.enqueue();
      await sleep(0.1);
      expect((await tasks.get(id))?.status).toBe('pending');
    });
  });
}
