import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openDatabase } from '../../../src/engines/tables/schema/database.js';
import { TaskManager } from '../../../src/manager.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { recordingLogger } from '../../helpers/logs.js';
import { type Commit, engineWithCommits } from '../../helpers/port.js';
import { sleep, waitFor } from '../../helpers/wait.js';

describe('an idle process', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let tasks: TaskManager | undefined;
  const success = (id: string) => waitFor(async () => (await tasks?.get(id))?.status === 'success');
  beforeEach(() => {
    folder = temporaryFolder();
    tasks = undefined;
  });
  afterEach(async () => {
    await tasks?.stop({ timeout: 0.1 });
    folder.remove();
  });

  it('runs a delayed task and a retry after failed claims, with one log line for all', async () => {
    const database = folder.file('tasks.db');
    const { logger, lines } = recordingLogger();
    // The long interval prevents the commits of the test from waking the process.
    tasks = new TaskManager({ database, logger, pollInterval: 3600 });
    const delayed = tasks.task('delayed', () => 1);
    let failed = false;
    const flaky = tasks.task(
      'flaky',
      () => {
        if (failed) return;
        failed = true;
        throw new Error('once');
      },
      { retries: 1, delay: 0.3, jitter: 0 },
    );
    await tasks.start();
    const ids = [await delayed.with({ runIn: 0.3 }).enqueue(), await flaky.enqueue()];
    await waitFor(() => failed);
    const other = await openDatabase(database);
    other.exec(
      `CREATE TRIGGER refuse BEFORE UPDATE OF status ON task WHEN NEW.status = 1 BEGIN
        SELECT RAISE(ABORT, 'not now'); END`,
    );
    await sleep(1.2);
    other.exec('DROP TRIGGER refuse');
    other.close();
    for (const id of ids) await success(id);
    const about = lines
      .map(({ msg }) => String(msg))
      .filter((msg) => msg.startsWith('looking for tasks'));
    expect(about).toEqual([
      'looking for tasks to run failed',
      'looking for tasks to run works again',
    ]);
  });

  it('runs a delayed task after a claim without an answer', async () => {
    let broken = false;
    const apply: Commit = async (batch, commit) => {
      if (broken && batch.claim) throw new Error('no answer');
      return commit(batch);
    };
    tasks = new TaskManager({ engine: engineWithCommits(apply), logger: false });
    const delayed = tasks.task('delayed', () => 1);
    await tasks.start();
    const id = await delayed.with({ runIn: 0.1 }).enqueue();
    broken = true;
    await sleep(0.5);
    broken = false;
    await success(id);
  });

  it('runs tasks once if the answer to the commit of their claim is lost', async () => {
    let lose = false;
    const apply: Commit = async (batch, commit) => {
      const result = await commit(batch);
      if (!lose || result.claimed.length === 0) return result;
      lose = false;
      throw new Error('the answer was lost');
    };
    tasks = new TaskManager({ engine: engineWithCommits(apply), logger: false });
    let runs = 0;
    const count = tasks.task('count', () => {
      runs += 1;
    });
    await tasks.start();
    lose = true;
    const enqueued = await Promise.allSettled([count.enqueue(), count.enqueue()]);
    expect(enqueued.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await waitFor(async () => (await tasks?.aggregate('statsSnapshot'))?.counts.success === 2);
    expect(runs).toBe(2);
    expect((await tasks.find({ limit: 5 })).items.map(({ attempt }) => attempt)).toEqual([1, 1]);
  });

  it('shows the start of the last attempt if the claim of the next gets no answer', async () => {
    let [lose, isLost] = [false, false];
    const apply: Commit = async (batch, commit) => {
      const result = await commit(isLost ? { ...batch, claim: undefined } : batch);
      if (!lose || result.claimed.length === 0) return result;
      isLost = true;
      throw new Error('the answer was lost');
    };
    tasks = new TaskManager({ engine: engineWithCommits(apply), logger: false });
    const flaky = tasks.task('flaky', () => Promise.reject(new Error('once')), {
      retries: 1,
      delay: 0.2,
      jitter: 0,
    });
    await tasks.start();
    const id = await flaky.enqueue();
    const first = await waitFor(async () => {
      const task = await tasks?.get(id);
      return task?.status === 'pending' && task.attempts.length === 1 ? task : undefined;
    });
    lose = true;
    await waitFor(() => isLost);
    const after = await waitFor(async () => {
      const task = await tasks?.get(id);
      return task?.status === 'pending' ? task : undefined;
    });
    expect(after).toMatchObject({
      attempt: 1,
      startedAt: first.startedAt,
      attempts: [{ startedAt: first.startedAt }],
    });
  });

  it('reuses the slot of an abandoned attempt if its handler ends during the commit', async () => {
    let end = (): void => {};
    let ended = Promise.resolve();
    const apply: Commit = async (batch, commit) => {
      // The word index of failures would also claim tasks, one second later.
      const indexes = batch.writes.some(({ kind }) => kind === 'makeSearchable');
      const result = await commit(indexes ? { ...batch, claim: undefined } : batch);
      if (batch.writes.some(({ kind }) => kind === 'finish')) {
        end();
        await ended;
        await sleep(0.01);
      }
      return result;
    };
    tasks = new TaskManager({ engine: engineWithCommits(apply), logger: false, concurrency: 1 });
    const deaf = tasks.task(
      'deaf',
      () => {
        ended = new Promise((resolve) => {
          end = resolve;
        });
        return ended;
      },
      { timeout: 0.02, cancelGrace: 0.02 },
    );
    const next = tasks.task('next', () => 1);
    await tasks.start();
    await deaf.enqueue();
    await success(await next.enqueue());
  });

  it('claims a large task alone if others would not fit into the claim', async () => {
    const claimed: number[] = [];
    const apply: Commit = async (batch, commit) => {
      const small = batch.claim && { ...batch, claim: { ...batch.claim, bytes: 1000 } };
      const result = await commit(small ?? batch);
      if (result.claimed.length > 0) claimed.push(result.claimed.length);
      return result;
    };
    tasks = new TaskManager({ engine: engineWithCommits(apply), logger: false, concurrency: 10 });
    const large = tasks.task('large', (text: string) => text.length);
    await large.enqueueMany([400, 400, 400, 5000, 400].map((length) => ['x'.repeat(length)]));
    await tasks.start();
    await waitFor(async () => (await tasks?.aggregate('statsSnapshot'))?.counts.success === 5);
    expect(claimed).toEqual([2, 1, 1, 1]);
  });
});
