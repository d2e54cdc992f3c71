import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { type Child, startProcess } from '../../../helpers/process.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { gate, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a process in the list of processes', () => {
  const server = new RedisForEach();

  it('has one slot for each task that it can run at once over all its queues', async () => {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
      concurrency: 2,
    });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const { passed, open } = gate();
    const hold = tasks.task('hold', () => passed);
    const narrow = tasks.task('narrow', () => passed, { concurrency: 1 });
    await tasks.start();
    for (const queue of ['one', 'two']) await hold.with({ queue }).enqueueMany([[], [], []]);
    await narrow.enqueueMany([[], []]);
    // Two in each of the queues `default`, `one` and `two`, and one of the limited task.
    await waitFor(async () => (await tasks.aggregate('workers'))[0]?.slots === 7, 20);
    await waitFor(
      async () => (await tasks.find({ status: ['running'], limit: 1 })).total === 5,
      20,
    );
    expect((await tasks.aggregate('workers'))[0]).toMatchObject({ slots: 7, stuck: 0 });
    open();
  });

  it('stays in the list and logs one error if its clock is wrong', async () => {
    const children = [-3600, 3600].map((seconds) => startSkewed(server.redis.port, seconds));
    server.keep({
      async close() {
        for (const child of children) child.process.kill('SIGKILL');
        await Promise.all(children.map(({ ended }) => ended));
      },
    });
    const web = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
    });
    server.keep({ close: () => web.stop({ timeout: 0.1 }) });
    await web.start({ run: false });
    const listings = (child: Child): string[] =>
      child.lines.filter((line) => line.startsWith('listed'));
    await waitFor(() => children.every((child) => listings(child).includes('listed 3')), 20);
    const before = new Map(children.map((child) => [child, listings(child).length]));
    const since = (child: Child): string[] => listings(child).slice(before.get(child));
    await waitFor(() => children.every((child) => since(child).length >= 5));
    expect(new Set(children.flatMap(since))).toEqual(new Set(['listed 3']));
    expect((await web.aggregate('workers')).map(({ lastSign }) => lastSign < 60)).toEqual([
      true,
      true,
      true,
    ]);
    expect((await web.describe()).schedules).toMatchObject([
      { name: 'often', undefinedSince: null },
    ]);
    await expect(
      web.control({ action: 'remove', schedule: 'often' }, { actor: 'test' }),
    ).rejects.toMatchObject({
      code: 'SCHEDULE_DEFINED',
    });
    for (const child of children)
      expect(child.lines.filter((line) => line.startsWith('error'))).toHaveLength(1);
  });

  it('removes entries that describe no process', async () => {
    const instances = '{koa-taskflow}:~instances';
    const odd = { owner: 'odd', startedAt: 'never', lastSeen: Date.now() + 60_000 };
    const entries = { text: 'not JSON', empty: 'null', other: '{}', odd: JSON.stringify(odd) };
    await server.client.hset(instances, entries);
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
    });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    await tasks.start({ run: false });
    expect(await tasks.aggregate('workers')).toHaveLength(1);
    expect(await server.client.hlen(instances)).toBe(1);
  });

  it('removes dead processes, although no process reads the list', async () => {
    const instances = '{koa-taskflow}:~instances';
    const dead = {
      owner: 'dead',
      host: 'a',
      pid: 1,
      slots: 1,
      running: 0,
      startedAt: 1,
      lastSeen: Date.now() - 120_000,
    };
    await server.client.hset(instances, { dead: JSON.stringify(dead) });
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
    });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    await tasks.start({ run: false });
    await waitFor(async () => (await server.client.hexists(instances, 'dead')) === 0);
    expect(await server.client.hlen(instances)).toBe(1);
  });
});

/**
 * Starts a worker with a clock that is wrong by some seconds. It prints its errors and the number
 * of processes that it lists.
 */
function startSkewed(port: number, seconds: number): Child {
  const script = `import { TaskManager } from 'koa-taskflow';
    import { bullmqEngine } from 'koa-taskflow/bullmq';
    const RealDate = Date;
    globalThis.Date = class extends RealDate {
      constructor(...args) { super(...(args.length === 0 ? [Date.now()] : args)); }
      static now() { return RealDate.now() + ${seconds * 1000}; }
    };
    const error = (fields, message) => console.log('error', message, fields.secondsAhead);
    const logger = { debug() {}, info() {}, warn() {}, error };
    const connection = { host: '127.0.0.1', port: ${port} };
    const tasks = new TaskManager({ engine: bullmqEngine({ connection, logger }), logger });
    tasks.schedule('often', tasks.task('often', () => 1), { every: 60 });
    await tasks.start();
    const list = async () => console.log('listed', (await tasks.aggregate('workers')).length);
    setInterval(list, 100);`;
  return startProcess(process.execPath, ['--input-type=module', '-e', script]);
}
