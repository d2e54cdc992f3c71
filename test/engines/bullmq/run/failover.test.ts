import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { jobFields } from '../../../../src/engines/bullmq/jobs/task-job.js';
import type { TaskManager } from '../../../../src/manager.js';
import { taskContext, taskLog } from '../../../../src/tasks/context.js';
import type { TaskStatus } from '../../../../src/tasks/types.js';
import { type Cutter, cuttable } from '../../../helpers/cutter.js';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { hasRedis, RedisServer, replicated } from '../../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../../helpers/wait.js';

const processes = useJobProcesses();

/** Starts the handler of the test in a manager. */
async function startWorker(tasks: TaskManager): Promise<void> {
  tasks.task('work', async (n: number, milliseconds: number) => {
    taskLog(`of ${n}`);
    await sleep(milliseconds / 1000);
    if (n % 10 === 9) throw new Error(`failure of ${n}`);
    return { n, id: taskContext().id };
  });
  await tasks.start();
}

/** Two Redis servers, of which the second replicates the first, behind one port. */
class Failover {
  readonly #copying: Cutter;
  readonly #copy: RedisServer;
  readonly #clients: readonly [primary: Redis, replica: Redis];
  readonly line: Cutter;

  private constructor(line: Cutter, copying: Cutter, copy: RedisServer) {
    this.line = line;
    this.#copying = copying;
    this.#copy = copy;
    this.#clients = [new Redis(processes.redis.connection), new Redis(copy.connection)];
  }

  static async prepare(): Promise<Failover> {
    const { port } = processes.redis;
    const [line, copying] = [await cuttable(port), await cuttable(port)];
    const copy = await RedisServer.start('--replicaof', '127.0.0.1', String(copying.port));
    const failover = new Failover(line, copying, copy);
    const [primary, other] = failover.#clients;
    await primary.config('SET', 'repl-diskless-sync-delay', '0');
    await waitFor(async () => /master_link_status:up/.test(await other.info('replication')));
    return failover;
  }

  get replica(): Redis {
    return this.#clients[1];
  }

  /** Ends the replication. The replica keeps what was written before. */
  async cutOff(): Promise<void> {
    await replicated(this.#clients[0]);
    this.#copying.loseAnswers();
  }

  /** Kills the primary, and puts the replica in its place. */
  async happen(): Promise<void> {
    await processes.redis.stop('SIGKILL');
    this.#copying.cut();
    await this.#clients[1].replicaof('NO', 'ONE');
    this.line.leadTo(this.#copy.port);
  }

  async end(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await Promise.all(processes.managers.map((each) => each.stop({ timeout: 0.1 })));
    await Promise.all([this.line.close(), this.#copying.close(), this.#copy.remove()]);
  }
}

(hasRedis ? describe : describe.skip)('a failover to a replica that lacks the last writes', () => {
  let failover: Failover;
  const manager = (): TaskManager => processes.manager(false, 'jobs', failover.line.port);

  beforeEach(async () => {
    failover = await Failover.prepare();
  });
  afterEach(() => failover.end());

  it('gives no task the result of another, and leaves no task running', async () => {
    const web = manager();
    const work = web.define<[n: number, milliseconds: number]>('work');
    await Promise.all([web.start({ run: false }), startWorker(manager()), startWorker(manager())]);
    const enqueued = new Map<string, number>();
    let n = 0;
    const load = async (seconds: number): Promise<void> => {
      for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(0.05)) {
        // Tasks of a batch end at the same moment. Some handlers take longer than the failover.
        const milliseconds = n % 5 === 0 ? 2500 : 20;
        const batch = Array.from({ length: 8 }, (): [number, number] => [n++, milliseconds]);
        const ids = await work.enqueueMany(batch).catch(() => []);
        for (const [at, id] of ids.entries()) enqueued.set(id, batch[at]?.[0] ?? 0);
      }
    };
    await load(0.5);
    await failover.cutOff();
    await load(1.2);
    await failover.happen();
    await waitFor(() => web.aggregate('statsSnapshot').catch(() => undefined), 20);
    await load(0.5);

    await waitFor(async () => {
      const { pending, running } = await web.aggregate('statsSnapshot');
      return pending + running === 0;
    });
    const tasks = await Promise.all(
      [...enqueued].map(async ([id, own]) => ({ id, own, task: await web.get(id) })),
    );
    const kept = tasks.flatMap(({ id, own, task }) => (task ? [{ id, own, task }] : []));
    const wrong = (status: TaskStatus, isRight: (one: (typeof kept)[number]) => boolean) =>
      kept.filter((one) => one.task.status === status && !isRight(one));
    expect(
      wrong(
        'success',
        ({ id, own, task }) => JSON.stringify(task.result) === JSON.stringify({ n: own, id }),
      ),
    ).toEqual([]);
    expect(wrong('failed', ({ own, task }) => task.error?.message === `failure of ${own}`)).toEqual(
      [],
    );
    expect(
      kept.filter(({ own, task }) => task.logs.some(({ message }) => message !== `of ${own}`)),
    ).toEqual([]);
    expect(
      kept.filter(({ task }) => !['success', 'failed', 'interrupted'].includes(task.status)),
    ).toEqual([]);
    // Without a loss, this test would prove nothing.
    expect(kept.length).toBeLessThan(tasks.length);
    // A process that reads forgets the tasks that Redis has lost.
    await waitFor(async () => (await web.find({ limit: 1 })).total === kept.length);
  });

  it('reruns tasks with a lost start after their first run has ended', async () => {
    const [web, tasks] = [manager(), manager()];
    const { passed, open } = gate();
    const runs: string[] = [];
    const twice = tasks.task('twice', async (n: number) => {
      const run = `${n} ${runs.length < 3 ? 'first' : 'second'}`;
      runs.push(run);
      if (run.endsWith('first')) await passed;
      // This is longer than a lock lasts, and longer than another process waits before it checks.
      else await sleep(4);
      return run;
    });
    await Promise.all([web.start({ run: false }), tasks.start()]);
    const ids = await twice.with({ runIn: 3600 }).enqueueMany([[0], [1], [2]]);
    const start = async (): Promise<boolean> =>
      (await web.control({ action: 'run', ids }, { actor: 'test' })).results.every(({ ok }) => ok);
    await failover.cutOff();
    expect(await start()).toBe(true);
    await waitFor(() => runs.length === ids.length);
    await failover.happen();
    await waitFor(() => start().catch(() => false), 20);
    // They are fetched and returned to the queue.
    const returns = async (id: string) =>
      Number(await failover.replica.hget(`{jobs}:default:${id}`, jobFields.returned));
    for (const id of ids) await waitFor(async () => (await returns(id)) >= 2, 20);
    expect(runs).toHaveLength(3);
    open();
    for (const [n, id] of ids.entries())
      expect(await inState(web, id, 'success')).toMatchObject({
        result: `${n} second`,
        attempt: 1,
      });
    expect(runs).toHaveLength(6);
  });
});
