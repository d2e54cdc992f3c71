import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Batch, BatchResult } from '../../../src/engines/tables/write/batch.js';
import { TaskManager } from '../../../src/manager.js';
import { taskLog } from '../../../src/tasks/context.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { type Commit, engineWithCommits } from '../../helpers/port.js';
import { gate, sleep, waitFor } from '../../helpers/wait.js';

/** Returns the result of a batch if the file is locked for longer than SQLite waits. */
const locked = ({ writes, claim }: Batch): BatchResult => {
  const error = { message: 'database is locked', errcode: 5 };
  const outcomes = writes.map(() => ({ ok: false, error }) as const);
  return {
    outcomes,
    claimed: [],
    begun: [],
    expired: [],
    nextDue: null,
    diskBound: true,
    ...(claim && { claimError: error }),
  };
};

describe('a stop while the file is locked', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  beforeEach(() => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
  });
  afterEach(() => folder.remove());

  /**
   * Runs a task that ends during a stop, with the given commits. Returns the task as another
   * process reads it afterwards.
   */
  async function stopWith(apply: Commit) {
    const tasks = new TaskManager({ engine: engineWithCommits(apply, { path }), logger: false });
    const { passed, open } = gate();
    const work = tasks.task('work', async () => {
      await passed;
      taskLog('done');
      return 'kept';
    });
    await tasks.start();
    const id = await work.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    const stopped = tasks.stop({ timeout: 0.2 });
    open();
    await stopped;
    const after = new TaskManager({ database: path, logger: false });
    const task = await after.get(id);
    await after.stop();
    return {
      status: task?.status,
      result: task?.result,
      lines: task?.logs.map(({ message }) => message),
    };
  }
  const has = (batch: Batch, kind: string): boolean =>
    batch.writes.some((write) => write.kind === kind);

  it('records a task that ended meanwhile together with the tasks handed back', async () => {
    const apply: Commit = async (batch, commit) =>
      has(batch, 'finish') && !has(batch, 'recover') ? locked(batch) : commit(batch);
    expect(await stopWith(apply)).toEqual({ status: 'success', result: 'kept', lines: ['done'] });
  });

  it('records a task if storing its end fails after the timeout of the stop', async () => {
    let first = true;
    const apply: Commit = async (batch, commit) => {
      if (!first || !has(batch, 'finish')) return commit(batch);
      first = false;
      await sleep(0.8);
      return locked(batch);
    };
    expect(await stopWith(apply)).toEqual({ status: 'success', result: 'kept', lines: ['done'] });
  });

  it('keeps the log lines of a task once if the answer to its end is lost', async () => {
    let first = true;
    const apply: Commit = async (batch, commit) => {
      const result = await commit(batch);
      if (!first || !has(batch, 'finish')) return result;
      first = false;
      throw new Error('the answer was lost');
    };
    expect(await stopWith(apply)).toEqual({ status: 'success', result: 'kept', lines: ['done'] });
  });
});
