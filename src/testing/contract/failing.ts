import { taskContext, taskLog } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { sleep } from '../wait.js';

const fail = (): never => {
  throw new Error('no');
};

/** Declares the tests of how an engine handles failures, retries and reruns. */
export function describeFailing({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('retries a failed task with growing delays and keeps every attempt', async () => {
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
    expect(
      task.attempts.map(({ number, status, error }) => [number, status, error?.message]),
    ).toEqual([
      [1, 'failed', 'attempt 1'],
      [2, 'failed', 'attempt 2'],
      [3, 'failed', 'attempt 3'],
    ]);
    expect(task).toMatchObject({
      attempt: 3,
      maxAttempts: 3,
      error: { name: 'RangeError', message: 'attempt 3' },
      result: null,
    });
    expect(task.stack).toContain('RangeError: attempt 3');
    expect(task.fingerprint).toMatch(/^[0-9a-f]{16}$/);
    const [first = 0, second = 0, third = 0] = times;
    expect(second - first).toBeGreaterThanOrEqual(99);
    expect(third - second).toBeGreaterThanOrEqual(299);
  });

  it('clears the error of a task when a later attempt succeeds', async () => {
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

  it('retries a failed task under the same id and keeps its earlier attempts', async () => {
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
    expect(results[0]).toMatchObject({
      id,
      ok: true,
      task: { id, status: 'pending', maxAttempts: 4 },
    });
    const task = await ended(id, 'success');
    expect(task.attempts.map(({ number, status }) => [number, status])).toEqual([
      [1, 'failed'],
      [2, 'failed'],
      [3, 'success'],
    ]);
  });

  it('keeps the last error of a task until its next attempt or its cancellation', async () => {
    const flaky = tasks.task('flaky', () => {
      throw new Error('down');
    });
    await tasks.start();
    const id = await flaky.enqueue();
    await ended(id, 'failed');
    await tasks.control({ action: 'pause', queue: 'default' }, by);
    const shown: unknown[] = [];
    for (const action of ['retry', 'cancel', 'retry'] as const) {
      await tasks.control({ action, ids: [id] }, by);
      const { status, error, stack } = (await tasks.get(id)) ?? {};
      shown.push([status, error?.message, typeof stack]);
    }
    expect(shown).toEqual([
      ['pending', 'down', 'string'],
      ['cancelled', undefined, 'object'],
      ['pending', undefined, 'object'],
    ]);
  });

  it('rejects a retry of a pending task and of an unknown task', async () => {
    const noop = tasks.task('noop', () => {});
    const id = await noop.enqueue();
    const unknown = '01890000-0000-7000-8000-000000000000';
    const { results } = await tasks.control({ action: 'retry', ids: [id, unknown] }, by);
    expect(results).toEqual([
      { id, ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' },
      { id: unknown, ok: false, code: 'TASK_NOT_FOUND' },
    ]);
  });

  it('keeps the times, error, stack and log lines of each attempt separately', async () => {
    const flaky = tasks.task(
      'flaky',
      () => {
        taskLog(`line of ${taskContext().attempt}`);
        throw new RangeError(`error of ${taskContext().attempt}`);
      },
      { retries: 1, delay: 0.02 },
    );
    await tasks.start();
    const { attempts, logs } = await ended(await flaky.enqueue(), 'failed');
    expect(
      attempts.map(({ number, error }) => [
        number,
        error?.message,
        error?.stack?.includes(`error of ${number}`),
      ]),
    ).toEqual([
      [1, 'error of 1', true],
      [2, 'error of 2', true],
    ]);
    const [first, second] = attempts;
    expect(Date.parse(second?.startedAt ?? '')).toBeGreaterThanOrEqual(
      Date.parse(first?.endedAt ?? ''),
    );
    expect(logs.map(({ attempt, message }) => [attempt, message])).toEqual([
      [1, 'line of 1'],
      [2, 'line of 2'],
    ]);
  });

  it('keeps the code, the cause and the aggregated errors of each attempt', async () => {
    const flaky = tasks.task(
      'flaky',
      () => {
        const { attempt } = taskContext();
        const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
        throw new AggregateError([new RangeError(`member of ${attempt}`)], 'no mirror answered', {
          cause: refused,
        });
      },
      { retries: 1 },
    );
    await tasks.start();
    const { error, attempts } = await ended(await flaky.enqueue(), 'failed');
    expect(attempts).toHaveLength(2);
    for (const [n, kept] of [...attempts.map((attempt) => attempt.error), error].entries()) {
      expect(kept).toMatchObject({
        cause: { message: 'refused', code: 'ECONNREFUSED' },
        errors: [{ name: 'RangeError' }],
      });
      expect(kept?.errors?.[0]?.message).toBe(`member of ${Math.min(2, n + 1)}`);
      expect(kept?.cause?.stack).toContain('Error: refused');
    }
    expect((await tasks.find({ limit: 1 })).items[0]?.error).toEqual({
      name: 'AggregateError',
      message: 'no mirror answered',
    });
  });

  it('keeps the cause of an error only with the attempt that failed', async () => {
    const flaky = tasks.task(
      'flaky',
      () => {
        if (taskContext().attempt === 1) throw new Error('first', { cause: 'x' });
      },
      { retries: 1 },
    );
    await tasks.start();
    expect(await ended(await flaky.enqueue(), 'success')).toMatchObject({
      error: null,
      attempts: [{ error: { cause: {} } }, { error: null }],
    });
  });

  it('passes the attempt number and the error to a backoff function', async () => {
    const asked: unknown[][] = [];
    const backoff = (tryNumber: number, error: unknown): number => {
      asked.push([tryNumber, (error as Error).message]);
      return 0.01;
    };
    const flaky = tasks.task('flaky', fail, { retries: 2, backoff });
    await tasks.start();
    await ended(await flaky.enqueue(), 'failed');
    expect(asked).toEqual([
      [1, 'no'],
      [2, 'no'],
    ]);
  });

  it('waits no longer than maxDelay, and uses the delay if a backoff function fails', async () => {
    const patient = tasks.task('patient', fail, { retries: 1, backoff: () => 3600, maxDelay: 0.1 });
    const broken = tasks.task('broken', fail, {
      retries: 1,
      delay: 0.05,
      backoff: () => Number.NaN,
    });
    await tasks.start();
    const ids = [await patient.enqueue(), await broken.enqueue()];
    for (const id of ids) expect((await ended(id, 'failed')).attempts).toHaveLength(2);
  });

  it('does not retry an error if retryOn returns false or throws', async () => {
    const retryOn = (error: unknown): boolean => {
      const { message } = error as Error;
      if (message === 'odd') throw new Error('retryOn is broken');
      return message === 'again';
    };
    const picky = tasks.task(
      'picky',
      (message: string) => {
        throw new Error(message);
      },
      { retries: 3, retryOn },
    );
    await tasks.start();
    expect((await ended(await picky.enqueue('never'), 'failed')).attempts).toHaveLength(1);
    expect((await ended(await picky.enqueue('odd'), 'failed')).attempts).toHaveLength(1);
    expect((await ended(await picky.enqueue('again'), 'failed')).attempts).toHaveLength(4);
  });

  it('retries a cancelled task under the same id', async () => {
    const noop = tasks.task('noop', () => 1);
    const id = await noop.enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await tasks.start();
    await tasks.control({ action: 'retry', ids: [id] }, by);
    expect(await ended(id, 'success')).toMatchObject({
      id,
      attempts: [{ number: 1, status: 'success' }],
    });
  });

  it('retries a task once, even if several commands name it', async () => {
    let healthy = false;
    let runs = 0;
    const flaky = tasks.task('flaky', () => {
      runs += 1;
      if (!healthy) throw new Error('down');
    });
    await tasks.start();
    const id = await flaky.enqueue();
    await ended(id, 'failed');
    healthy = true;
    const outcomes = await Promise.all([
      tasks.control({ action: 'retry', ids: [id, id] }, by),
      tasks.control({ action: 'retry', ids: [id] }, by),
    ]);
    expect(outcomes.flatMap(({ results }) => results).filter(({ ok }) => ok)).toHaveLength(1);
    await ended(id, 'success');
    await sleep(0.05);
    expect([runs, (await tasks.find({ limit: 10 })).total]).toEqual([2, 1]);
  });

  it('reruns an ended task as a new task, and links the two', async () => {
    const add = tasks.task('add', (a: number, b: number) => a + b, { tags: { tenant: '7' } });
    await tasks.start();
    const id = await add.with({ queue: 'sums', priority: 3 }).enqueue(1, 2);
    await ended(id, 'success');
    const { results } = await tasks.control({ action: 'rerun', ids: [id] }, by);
    const made = results[0]?.ok ? results[0].task.id : '';
    expect(made === id).toBe(false);
    expect(await ended(made, 'success')).toMatchObject({
      args: [1, 2],
      result: 3,
      queue: 'sums',
      priority: 3,
      tags: { tenant: '7' },
      rerunOf: id,
      source: 'manual',
    });
    expect(await tasks.get(id)).toMatchObject({ status: 'success', rerunAs: made });
    const edited = await tasks.control({ action: 'rerun', ids: [id], args: [20, 22] }, by);
    expect(
      await ended(edited.results[0]?.ok ? edited.results[0].task.id : '', 'success'),
    ).toMatchObject({ args: [20, 22], result: 42 });
  });

  it('rejects a rerun of a task that has not ended', async () => {
    const id = await tasks.define('noop').enqueue();
    const { results } = await tasks.control({ action: 'rerun', ids: [id] }, by);
    expect(results).toEqual([{ id, ok: false, code: 'TASK_STATE_CONFLICT', status: 'pending' }]);
    expect((await tasks.find({ limit: 10 })).total).toBe(1);
  });
}
