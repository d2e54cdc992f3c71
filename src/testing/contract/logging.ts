import { taskContext, taskLog, taskProgress } from '../../tasks/context.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, waitFor } from '../wait.js';

/** Declares the tests of the log lines and the progress of tasks. */
export function describeLogging({ runner, manager, ended: endedOf }: Suite): void {
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
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
    const found = async (query: Parameters<Tasks['logs']>[1]) =>
      (await tasks.logs(id, query)).map(({ n }) => n);
    const all = logs.map(({ n }) => n);
    expect(await found({ level: 'trace' })).toEqual(all);
    expect(await found({ level: 'warn' })).toEqual(
      logs.filter(({ level }) => level === 'warn' || level === 'error').map(({ n }) => n),
    );
    expect(await found({ attempt: 1 })).toEqual(
      logs.filter(({ attempt }) => attempt === 1).map(({ n }) => n),
    );
    expect(await found({ q: '"BIG":"1"' })).toEqual([3, 6]);
    expect(await found({ q: '%' })).toEqual([]);
  });

  it('shows the log of a running task', async () => {
    const { passed, open } = gate();
    const talk = tasks.task('talk', () => {
      taskLog('begun');
      return passed;
    });
    await tasks.start();
    const id = await talk.enqueue();
    await waitFor(async () => (await tasks.logs(id, {})).length === 1);
    open();
  });

  it('replaces NUL characters in log lines and progress texts', async () => {
    const { passed, open } = gate();
    const talk = tasks.task('talk', () => {
      taskLog('one\0two');
      taskProgress(0.5, 'three\0four');
      return passed;
    });
    await tasks.start();
    const id = await talk.enqueue();
    await waitFor(
      async () => (await tasks.logs(id)).length === 1 && (await tasks.get(id))?.progress !== null,
    );
    expect((await tasks.logs(id))[0]?.message).toBe('one\ufffdtwo');
    expect((await tasks.get(id))?.progressText).toBe('three\ufffdfour');
    open();
  });

  it('keeps log lines up to the limit and adds a line that says so', async () => {
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

  it('shows the progress of a running task and keeps the last value', async () => {
    const { passed, open } = gate();
    let notified: number | null | undefined;
    tasks.on('success', ({ progress }) => {
      notified = progress;
    });
    const copy = tasks.task('copy', async () => {
      taskProgress(0.4, '40 of 100 rows');
      await passed;
      taskProgress(7);
    });
    await tasks.start();
    const id = await copy.enqueue();
    const running = await waitFor(async () => {
      const task = await tasks.get(id);
      return typeof task?.progress === 'number' && task;
    });
    expect(running).toMatchObject({
      status: 'running',
      progress: 0.4,
      progressText: '40 of 100 rows',
    });
    open();
    expect((await ended(id, 'success')).progress).toBe(1);
    await waitFor(() => notified === 1);
  });
}
