import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ask } from '../helpers/client.js';
import { type Child, startProcess } from '../helpers/process.js';
import { hasRedis, RedisServer } from '../helpers/redis.js';
import { waitFor } from '../helpers/wait.js';

describe('the example with web and worker processes', () => {
  const children: Child[] = [];
  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL');
    await Promise.all(children.splice(0).map(({ ended }) => ended));
  });
  /** Starts a script with port 1 for Redis, which refuses connections. */
  function run(script: string, env: Record<string, string> = {}): Child {
    const child = startProcess(process.execPath, [`examples/bullmq/${script}`], {
      PORT: '0',
      REDIS_PORT: '1',
      ...env,
    });
    children.push(child);
    return child;
  }

  it('answers 503 while Redis is unreachable, and stops on one signal', async () => {
    const [web, worker] = [run('web.js'), run('worker.js')];
    const address = await waitFor(() => /Dashboard +(http\S+)/.exec(web.lines.join('\n'))?.[1]);
    await waitFor(() => worker.lines.some((line) => line.startsWith('Worker ')));
    const answer = await ask(String(new URL('/customers/ada', address)), { method: 'POST' });
    expect([answer.status, answer.json]).toEqual([503, { error: expect.any(String) }]);
    for (const child of [web, worker]) child.process.kill('SIGINT');
    expect(await Promise.all([web.ended, worker.ended])).toEqual([0, 0]);
    // Log lines are JSON.
    expect([...web.lines, ...worker.lines].filter((line) => /^\s+at /.test(line))).toEqual([]);
  });

  it.each(['bullmq/web.js', 'existing-bullmq/web.js', 'prices/app.js', 'quickstart/app.js'])(
    'reports a port in use and ends: %s',
    async (script) => {
      const other = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => other.once('listening', resolve));
      const port = String((other.address() as { port: number }).port);
      const child = startProcess(process.execPath, [`examples/${script}`], {
        PORT: port,
        REDIS_PORT: '1',
        DATABASE: ':memory:',
      });
      children.push(child);
      await waitFor(() => child.lines.some((line) => line.startsWith(`Port ${port} is in use.`)));
      expect(await child.ended).toBe(1);
      other.close();
    },
  );

  (hasRedis ? it : it.skip)(
    'for existing queues stops on one signal after a lost connection to Redis',
    async () => {
      const redis = await RedisServer.start();
      const env = { PORT: '0', REDIS_PORT: String(redis.port) };
      const [web, worker] = ['web.js', 'worker.js'].map((script) =>
        startProcess(process.execPath, [`examples/existing-bullmq/${script}`], env),
      ) as [Child, Child];
      children.push(web, worker);
      await waitFor(
        () =>
          web.lines.some((line) => line.startsWith('Redis ')) && worker.lines.includes('working'),
      );
      await redis.remove();
      await waitFor(() =>
        web.lines.some((line) => line.includes('cannot be used for the attached queues')),
      );
      for (const child of [web, worker]) child.process.kill('SIGINT');
      expect(await Promise.all([web.ended, worker.ended])).toEqual([0, 0]);
    },
  );
});
