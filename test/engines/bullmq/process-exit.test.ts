import { describe, expect, it } from '@jest/globals';
import { type Child, startProcess } from '../../helpers/process.js';
import { hasRedis, RedisForEach, type RedisServer } from '../../helpers/redis.js';
import { sleep, waitFor } from '../../helpers/wait.js';

/**
 * Uses every part that connects to Redis, stops all of them on SIGTERM, and prints how long the
 * process then takes to end.
 */
const script = (connection: RedisServer['connection']): string => `
  import { Queue } from 'bullmq';
  import { Redis } from 'ioredis';
  import { TaskManager } from 'koa-taskflow';
  import { attachQueues, bullmqEngine, redisStore } from 'koa-taskflow/bullmq';
  const connection = ${JSON.stringify(connection)};
  const logger = false;
  const client = new Redis({ ...connection, maxRetriesPerRequest: null, disconnectTimeout: 10 });
  client.on('error', () => {});
  const queue = new Queue('plain', { connection: client }).on('error', () => {});
  await queue.add('job', {});
  const store = redisStore(connection, { logger });
  const watching = new AbortController();
  void (async () => {
    for await (const _entries of store.watch('', watching.signal));
  })().catch(() => {});
  const tasks = new TaskManager({ engine: bullmqEngine({ connection, logger }), logger });
  const attached = attachQueues([queue], { logger });
  const noop = tasks.task('noop', () => 1);
  tasks.schedule('hourly', noop, { every: 3600 });
  await tasks.start();
  for (const each of [tasks, attached]) {
    await each.find({ limit: 10 });
    await each.describe();
  }
  await noop.enqueue();
  await store.set('key', 1, 60);
  process.on('SIGTERM', async () => {
    watching.abort();
    await Promise.all([tasks.stop({ timeout: 0.1 }), attached.close(), store.close()]);
    // The client belongs to the app.
    if (client.status === 'reconnecting') client.status = 'wait';
    client.disconnect();
    const stopped = performance.now();
    process.on('exit', () => console.log('ended ' + (performance.now() - stopped)));
  });
  console.log('ready');
`;

const states: Record<string, (redis: RedisServer) => unknown> = {
  'is reachable': () => undefined,
  'was killed': (redis) => redis.stop('SIGKILL'),
  hangs: (redis) => redis.signal('SIGSTOP'),
};

(hasRedis ? describe : describe.skip)(
  'a process that has stopped everything that uses Redis',
  () => {
    const on = new RedisForEach();

    for (const [state, change] of Object.entries(states))
      it(`exits within a second if Redis ${state}`, async () => {
        const child: Child = startProcess(process.execPath, [
          '--input-type=module',
          '--eval',
          script(on.redis.connection),
        ]);
        on.keep({
          close: async () => {
            child.process.kill('SIGKILL');
            await child.ended;
          },
        });
        await waitFor(() => child.lines.includes('ready'), 30);
        await change(on.redis);
        await sleep(0.2);
        child.process.kill('SIGTERM');
        const code = await Promise.race([child.ended, sleep(15)]);
        expect({ code, lines: child.lines.length }).toEqual({ code: 0, lines: 2 });
        expect(Number(child.lines[1]?.split(' ')[1])).toBeLessThan(5000);
      });
  },
);
