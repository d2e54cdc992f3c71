import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { taskLog, taskProgress } from '../../../../src/tasks/context.js';
import { flushing } from '../../../helpers/flushing.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the log lines and the progress of a handler', () => {
  const forEach = new RedisForEach();

  async function manager(): Promise<TaskManager> {
    const { port } = forEach.keep(await flushing(forEach.redis.port));
    const engine = bullmqEngine({ connection: { host: '127.0.0.1', port }, logger: false });
    const tasks = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  it('are stored although Redis drops its scripts again and again', async () => {
    const tasks = await manager();
    const { passed, open } = gate();
    const chatty = tasks.task('chatty', async () => {
      for (let n = 1; n <= 20; n++) {
        taskLog(`line ${n}`);
        taskProgress(n / 40);
        // Longer than the time for which output is gathered.
        await sleep(0.06);
      }
      await passed;
    });
    await tasks.start();
    const ids = await chatty.enqueueMany(Array.from({ length: 10 }, () => []));
    const written = async (id: string): Promise<unknown> => [
      (await tasks.get(id))?.progress,
      (await tasks.logs(id, {})).map(({ message }) => message),
    ];
    const all = Array.from({ length: 20 }, (_, n) => `line ${n + 1}`);
    try {
      for (const id of ids)
        await waitFor(
          async () => JSON.stringify(await written(id)) === JSON.stringify([0.5, all]),
          20,
        );
    } finally {
      open();
    }
    for (const id of ids) expect(await written(id)).toEqual([0.5, all]);
  });

  it('wait for a slow Redis, which then gets only the latest progress', async () => {
    const { client, redis } = forEach;
    const engine = bullmqEngine({ connection: redis.connection, logger: false });
    const tasks = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const ended = gate();
    const busy = tasks.task('busy', async () => {
      for (let n = 1; n <= 20; n++) {
        taskLog(`line ${n}`);
        taskProgress(n / 20, 'working');
        // Longer than the time for which output is gathered.
        await sleep(0.06);
      }
      await ended.passed;
    });
    const monitor = await client.monitor();
    forEach.keep({ close: async () => monitor.disconnect() });
    const updates: string[] = [];
    monitor.on('monitor', (_time: string, args: string[]) => {
      updates.push(...args.filter((arg) => /^\{"percent":\d+,"text":"working"\}$/.test(arg)));
    });
    await tasks.start();
    const id = await busy.enqueue();
    await waitFor(() => updates.length > 0, 20);
    await client.client('PAUSE', 1500, 'WRITE');
    await waitFor(async () => (await tasks.get(id))?.progress === 1, 20);
    // In 1.5 seconds, 20 updates would have been sent.
    expect(updates.length).toBeLessThan(10);
    expect(await tasks.logs(id, {})).toHaveLength(20);
    ended.open();
  });

  it('are dropped while Redis refuses them, which is logged once with their number', async () => {
    const { client, redis } = forEach;
    const log = recordingLogger();
    const connection = { host: '127.0.0.1', port: redis.port };
    const engine = bullmqEngine({ connection, logger: log.logger });
    const tasks = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const [full, ended] = [gate(), gate()];
    const about = () => log.lines.filter(({ msg }) => /log lines and progress/.test(String(msg)));
    const chatty = tasks.task('chatty', async () => {
      taskLog('before');
      await full.passed;
      for (const progress of [0.1, 0.2]) {
        taskLog('lost');
        taskProgress(progress);
        // Longer than the time for which output is gathered.
        await sleep(0.2);
      }
      await waitFor(() => about().length > 0, 20);
      await client.config('SET', 'maxmemory', '0');
      taskLog('after');
      await ended.passed;
    });
    await tasks.start();
    const id = await chatty.enqueue();
    const written = async () => (await tasks.logs(id, {})).map(({ message }) => message);
    await waitFor(async () => (await written()).length === 1, 20);
    try {
      await client.config('SET', 'maxmemory', '1');
      full.open();
      await waitFor(() => about().length === 2, 20);
    } finally {
      await client.config('SET', 'maxmemory', '0');
      ended.open();
    }
    expect(about()).toMatchObject([
      {
        level: 40,
        lines: 1,
        err: { message: expect.stringMatching(/OOM/) },
        msg: 'Redis refuses log lines and progress of tasks, so they are dropped',
      },
      { level: 30, lines: 2, msg: 'Redis stores log lines and progress of tasks again' },
    ]);
    await waitFor(async () => (await written()).length === 2, 20);
    expect(await written()).toEqual(['before', 'after']);
  });
});
