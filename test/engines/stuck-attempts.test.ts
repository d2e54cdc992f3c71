import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../src/manager.js';
import { taskLog } from '../../src/tasks/context.js';
import { gate, waitFor } from '../../src/testing/wait.js';
import { recordingLogger } from '../helpers/logs.js';
import { sleep } from '../helpers/wait.js';

describe('handlers that ignore the end of their attempt', () => {
  let log: ReturnType<typeof recordingLogger>;
  let tasks: TaskManager;
  let hang: ReturnType<typeof gate>;
  beforeEach(() => {
    log = recordingLogger();
    hang = gate();
    tasks = new TaskManager({ database: ':memory:', concurrency: 2, logger: log.logger });
  });
  afterEach(async () => {
    hang.open();
    await tasks.stop({ timeout: 1 });
  });

  /** Returns the log lines about slots with a given level. */
  const about = (level: number) =>
    log.lines.filter((line) => line.level === level && 'stuck' in line);
  const [info, warn, error] = [30, 40, 50];

  it('are logged once per attempt and again when they end', async () => {
    const hanging = tasks.task('hanging', () => hang.passed, { timeout: 0.05, cancelGrace: 0.05 });
    // It is cancelled first and exceeds its timeout later.
    const deaf = tasks.task('deaf', () => hang.passed, { timeout: 0.3, cancelGrace: 0.05 });
    await tasks.start();
    const first = await hanging.enqueue();
    await waitFor(() => about(warn).length === 1);
    expect(about(warn)).toMatchObject([
      { taskId: first, task: 'hanging', attempt: 1, stuck: 1, slots: 2 },
    ]);
    expect(about(error)).toEqual([]);
    const second = await deaf.enqueue();
    await waitFor(async () => (await tasks.get(second))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [second] }, { actor: 'test' });
    await waitFor(() => about(error).length === 1);
    expect(about(warn)[1]).toMatchObject({ taskId: second, task: 'deaf', stuck: 2, slots: 2 });
    expect(about(error)).toMatchObject([{ stuck: 2, slots: 2 }]);
    await sleep(0.5);
    hang.open();
    await waitFor(() => about(info).length === 2);
    expect(about(info).map(({ stuck }) => stuck)).toEqual([1, 0]);
    expect(new Set(about(info).map(({ taskId }) => taskId))).toEqual(new Set([first, second]));
    expect([about(warn).length, about(error).length]).toEqual([2, 1]);
  });

  it('are not logged if they end within the grace period', async () => {
    const slow = tasks.task('slow', () => sleep(0.1), { timeout: 0.05, cancelGrace: 5 });
    await tasks.start();
    const id = await slow.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    await sleep(0.05);
    expect(log.lines.filter((line) => 'stuck' in line)).toEqual([]);
  });

  it('keep running during a grace period that is longer than the longest timer', async () => {
    const cancelled = tasks.task('cancelled', () => hang.passed, { cancelGrace: 3_000_000 });
    const late = tasks.task('late', () => hang.passed, { timeout: 0.05, cancelGrace: 3_000_000 });
    await tasks.start();
    const ids = [await cancelled.enqueue(), await late.enqueue()] as const;
    await waitFor(async () => (await tasks.get(ids[0]))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [ids[0]] }, { actor: 'test' });
    await sleep(0.3);
    expect(await Promise.all(ids.map(async (id) => (await tasks.get(id))?.status))).toEqual([
      'running',
      'running',
    ]);
  });

  it('cause no error if they log after the manager has stopped', async () => {
    const late = tasks.task('late', () => {
      void hang.passed.then(() => taskLog('too late'));
    });
    await tasks.start();
    const id = await late.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    await tasks.stop();
    const lines = log.lines.length;
    hang.open();
    await sleep(0.2);
    expect(log.lines.slice(lines)).toEqual([]);
  });
});
