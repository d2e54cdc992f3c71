import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { inState, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

const processes = useJobProcesses();
const queues = '{jobs}:~queues';
const signal = ['{jobs}:~signals', '*', 'queue', 'x'] as const;

(hasRedis ? describe : describe.skip)('a worker that cannot open one of its queues', () => {
  let redis: Redis;
  beforeEach(() => {
    redis = processes.client();
  });
  afterEach(() => redis.disconnect());

  const label = (name: string): Record<string, string> => ({
    [name]: JSON.stringify({ label: name }),
  });
  const idOf = async (task: { enqueue(): Promise<string> } | undefined): Promise<string> =>
    (await task?.enqueue()) ?? '';
  const polls = async (): Promise<number> =>
    Number(/^cmdstat_xrevrange:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1]);

  it('serves its other queues, logs an error per queue, and recovers', async () => {
    const labels = Array.from({ length: 99 }, (_, n) => `customer ${n}`);
    await redis.hset(queues, Object.assign({}, ...labels.map(label)) as Record<string, string>);
    const { logger, lines } = recordingLogger();
    const tasks = processes.manager(logger);
    const [first, second, third] = ['first', 'second', 'third'].map((queue) =>
      tasks.task(queue, () => 1, { queue }),
    );
    tasks.task('fourth', () => 1, { queue: 'third' });
    const said = (): unknown[][] =>
      lines
        .filter(({ queue }) => queue !== undefined)
        .map(({ level, queue, err }) => [level, queue, (err as { code?: string })?.code]);
    await tasks.start();
    const refused = ['second', 'third'].map((queue) => [50, queue, 'INVALID_INPUT']);
    await waitFor(() => said().length === 2, 5);
    await inState(tasks, await idOf(first), 'success');
    const before = await polls();
    await sleep(1.1);
    // If no task is due soon, it polls every five seconds.
    expect((await polls()) - before).toBeLessThanOrEqual(1);
    expect(said()).toEqual(refused);
    // Another process that still had room for it adds one of them.
    await redis.hset(queues, label('second'));
    await redis.xadd(...signal);
    await inState(tasks, await idOf(second), 'success');
    await expect(idOf(third)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await waitFor(() => said().length === 3, 5);
    expect(said()).toEqual([...refused, [30, 'second', undefined]]);
  });

  it('runs other tasks although the list has a name that BullMQ rejects', async () => {
    const tasks = processes.manager();
    const task = tasks.task('task', () => 1);
    await redis.hset(queues, label('a:b'));
    await tasks.start();
    await inState(tasks, await task.enqueue(), 'success');
    await redis.hset(queues, label('a:c'));
    await redis.xadd(...signal);
    await inState(tasks, await task.with({ queue: 'z' }).enqueue(), 'success');
  });

  it('serves new queues although a request to cancel is unreadable', async () => {
    const tasks = processes.manager();
    tasks.task('task', () => 1);
    await tasks.start();
    await redis.set('{jobs}:default:broken', 'no job');
    await redis.hset('{jobs}:~cancelling', 'default:broken', JSON.stringify({ by: 'test', at: 1 }));
    const web = processes.manager();
    const id = await web.define('task').with({ queue: 'new' }).enqueue();
    await inState(tasks, id, 'success', 5);
    await waitFor(async () => (await redis.exists('{jobs}:~cancelling')) === 0);
  });
});
