import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ask, postForm } from '../helpers/client.js';
import { type Child, startProcess } from '../helpers/process.js';
import { hasRedis, RedisServer } from '../helpers/redis.js';
import { hasSlapd, startExampleDirectory } from '../helpers/slapd.js';
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

  it.each([
    'bullmq/web.js',
    'existing-bullmq/web.js',
    'ldap/web.js',
    'oidc/app.js',
    'prices/app.js',
    'quickstart/app.js',
  ])('reports a port in use and ends: %s', async (script) => {
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
  });

  (hasSlapd ? it : it.skip)('signs in users of a directory with their roles', async () => {
    const directory = await startExampleDirectory();
    const script = ['examples/ldap/web.js'];
    const env = { PORT: '0', LDAP_URL: directory.url, ADMIN_PASSWORD: 'boss-secret' };
    const child = startProcess(process.execPath, script, env);
    children.push(child);
    const page = await waitFor(() => /Page +(http\S+)/.exec(child.lines.join('\n'))?.[1]);
    const login = String(new URL('/tasks/auth/login', page));
    for (const [username, strategy, roles] of [
      ['ann', 'ldap', ['operator']],
      ['bob', 'ldap', ['viewer']],
      ['admin', 'admin', ['admin']],
    ] as const) {
      const password = username === 'admin' ? 'boss-secret' : `${username}-secret`;
      const { cookie = '' } = await postForm(login, { username, password });
      const shown = await ask(page, { headers: { cookie } });
      expect(shown.json).toEqual({ username, strategy, roles });
    }
    child.process.kill('SIGINT');
    expect(await child.ended).toBe(0);
    await directory.remove();
  });

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
