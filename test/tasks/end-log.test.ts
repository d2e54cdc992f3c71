import { afterEach, describe, expect, it } from '@jest/globals';
import { lockKey } from '../../src/engines/bullmq/run/locks.js';
import type { Batch, BatchResult } from '../../src/engines/tables/write/batch.js';
import { TaskManager } from '../../src/manager.js';
import { taskContext } from '../../src/tasks/context.js';
import type { TaskDetail } from '../../src/tasks/types.js';
import { JobProcesses } from '../helpers/job-processes.js';
import { recordingLogger } from '../helpers/logs.js';
import { type Commit, engineWithCommits } from '../helpers/port.js';
import { hasRedis, RedisServer } from '../helpers/redis.js';
import { eventually, gate, sleep, waitFor } from '../helpers/wait.js';

const by = { actor: 'test' };

/** An engine with a store that the test can disturb. */
interface Disturbed {
  manager(logger: ReturnType<typeof recordingLogger>['logger']): TaskManager;
  /** Keeps ends of attempts from being stored, until the returned function is called. */
  block(): Promise<() => void>;
  /** Lets another process end the running task. */
  takeOver(id: string): Promise<void>;
  close(): Promise<void>;
}

const isFinish = ({ writes }: Batch): boolean => writes.some(({ kind }) => kind === 'finish');

async function embedded(): Promise<Disturbed> {
  let before:
    | ((batch: Batch, commit: (batch: Batch) => Promise<BatchResult>) => Promise<unknown>)
    | undefined;
  const apply: Commit = async (batch, commit) => {
    if (isFinish(batch)) await before?.(batch, commit);
    return commit(batch);
  };
  return {
    manager: (logger) => new TaskManager({ engine: engineWithCommits(apply, { logger }), logger }),
    async block() {
      const { passed, open } = gate();
      before = () => passed;
      return open;
    },
    async takeOver() {
      before = (batch, commit) => {
        const owner =
          batch.writes.flatMap((write) => (write.kind === 'finish' ? [write.owner] : []))[0] ?? '';
        return commit({
          ...batch,
          claim: undefined,
          writes: [{ kind: 'recover', owner, at: Date.now() }],
        });
      };
    },
    close: async () => undefined,
  };
}

async function onRedis(): Promise<Disturbed> {
  const processes = new JobProcesses();
  processes.redis = await RedisServer.start();
  return {
    manager: (logger) => processes.manager(logger),
    async block() {
      processes.redis.signal('SIGSTOP');
      return () => processes.redis.signal('SIGCONT');
    },
    async takeOver(id) {
      const client = processes.client();
      await client.set(
        lockKey({ jobKey: (jobId) => `{jobs}:default:${jobId}` }, id),
        'another process',
      );
      client.disconnect();
    },
    close: () => processes.end(),
  };
}

for (const [name, make] of Object.entries({ embedded, 'on Redis': onRedis })) {
  (name === 'embedded' || hasRedis ? describe : describe.skip)(
    `the log line of an ended attempt (${name})`,
    () => {
      let engine: Disturbed | undefined;
      let tasks: TaskManager | undefined;
      afterEach(async () => {
        await tasks?.stop({ timeout: 0.1 });
        await engine?.close();
      });

      /** Starts tasks that run until `open` is called, and records their log lines. */
      async function start() {
        engine = await make();
        const { logger, lines } = recordingLogger();
        tasks = engine.manager(logger);
        const { passed, open } = gate();
        const definitions = {
          good: tasks.task('good', () => passed),
          bad: tasks.task('bad', () => passed.then(() => Promise.reject(new Error('broken')))),
          retried: tasks.task(
            'retried',
            () => passed.then(() => Promise.reject(new Error('broken'))),
            { retries: 1, backoff: () => 60 },
          ),
          obedient: tasks.task('obedient', () => untilAborted(), { requeueOnInterrupt: true }),
          dutiful: tasks.task('dutiful', () => untilAborted().catch(() => 'done')),
          deaf: tasks.task('deaf', () => passed, { cancelGrace: 0.1 }),
        };
        await tasks.start();
        const logged = () =>
          lines.flatMap(({ msg, task, status }) =>
            isEnd(msg) ? [[task, msg, ...(status ? [status] : [])]] : [],
          );
        const run = async (task: keyof typeof definitions) => {
          const id = await definitions[task].enqueue();
          await inState(id, 'running');
          return id;
        };
        return { tasks, engine, open, run, lines, logged };
      }

      const untilAborted = () => {
        const { signal } = taskContext();
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        );
      };
      const isEnd = (msg: unknown): boolean => /^task |was dropped/.test(String(msg));
      const inState = (id: string, status: TaskDetail['status']) =>
        waitFor(async () => (await tasks?.get(id))?.status === status);

      it('is written after the end is stored', async () => {
        const { engine, open, run, lines, logged } = await start();
        const begun = performance.now();
        for (const task of ['good', 'bad', 'retried'] as const) await run(task);
        const resume = await engine.block();
        open();
        const ran = performance.now() - begun;
        await sleep(0.3);
        expect(logged()).toEqual([]);
        resume();
        await eventually(async () =>
          expect(logged().sort()).toEqual([
            ['bad', 'task failed'],
            ['good', 'task succeeded'],
            ['retried', 'task failed and will be retried'],
          ]),
        );
        // The duration is that of the handler, without the time until its end was stored.
        for (const { msg, durationMs } of lines)
          if (isEnd(msg)) expect(durationMs).toBeLessThan(ran + 150);
      });

      it('states that the result was dropped if another process took over the task', async () => {
        const { engine, open, run, lines, logged } = await start();
        const id = await run('good');
        await engine.takeOver(id);
        open();
        await eventually(async () => expect(logged()).toHaveLength(1));
        await sleep(0.1);
        expect(lines.filter(({ msg }) => isEnd(msg))).toMatchObject([
          {
            level: 40,
            taskId: id,
            task: 'good',
            attempt: 1,
            msg: expect.stringMatching(/^the result of a task was dropped/),
          },
        ]);
      });

      it('states once that a cancelled task stopped, whatever its handler returns', async () => {
        const { tasks, open, run, logged } = await start();
        const ids = [await run('dutiful'), await run('obedient'), await run('deaf')];
        await tasks.control({ action: 'cancel', ids }, by);
        for (const id of ids) await inState(id, 'cancelled');
        const expected = ['deaf', 'dutiful', 'obedient'].map((task) => [
          task,
          'task stopped',
          'cancelled',
        ]);
        await eventually(async () => expect(logged().sort()).toEqual(expected));
        open();
        await sleep(0.2);
        expect(logged().sort()).toEqual(expected);
      });

      it('states the outcome of a task that a stop ends', async () => {
        const { tasks, run, lines, logged } = await start();
        for (const task of ['good', 'dutiful', 'obedient'] as const) await run(task);
        await tasks.stop({ timeout: 0 });
        expect(logged().sort()).toEqual([
          ['dutiful', 'task succeeded'],
          ['good', 'task stopped', 'interrupted'],
          ['obedient', 'task stopped', 'pending'],
        ]);
        expect(lines.find(({ msg }) => msg === 'task stopped')).toMatchObject({
          level: 30,
          reason: 'the process stops',
        });
      });
    },
  );
}

describe('the log line of an attempt if the store loses the answer to its end', () => {
  it.each<[string, () => unknown, string]>([
    ['success', () => 'done', 'task succeeded'],
    ['failed', () => Promise.reject(new Error('broken')), 'task failed'],
  ])('states %s', async (status, handler, message) => {
    const { logger, lines } = recordingLogger();
    let first = true;
    const apply: Commit = async (batch, commit) => {
      const result = await commit(batch);
      if (!first || !isFinish(batch)) return result;
      first = false;
      throw new Error('the answer was lost');
    };
    const tasks = new TaskManager({ engine: engineWithCommits(apply, { logger }), logger });
    const work = tasks.task('work', handler);
    await tasks.start();
    const id = await work.enqueue();
    const ends = (): unknown[] =>
      lines.map(({ msg }) => msg).filter((msg) => /^task |was dropped/.test(String(msg)));
    await eventually(async () => expect(ends()).toEqual([message]));
    expect((await tasks.get(id))?.status).toBe(status);
    await tasks.stop();
  });
});
