import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type Answer, ask, postForm } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { freePort } from '../helpers/free-port.js';
import { type Child, startProcess } from '../helpers/process.js';
import { itNeeds, programPath } from '../helpers/program.js';
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
    'api-tokens/app.js',
    'bullmq/web.js',
    'database/web.js',
    'existing-bullmq/web.js',
    'htpasswd/web.js',
    'ldap/web.js',
    'oidc/app.js',
    'prices/app.js',
    'quickstart/app.js',
    'trusted-header/web.js',
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

  /** Starts a script of an example with a free port, and resolves to the URL that it prints. */
  const start = async (
    script: string,
    env: Record<string, string> = {},
  ): Promise<{ url: string; child: Child }> => {
    const child = startProcess(process.execPath, [`examples/${script}`], { PORT: '0', ...env });
    children.push(child);
    return { child, url: await waitFor(() => /(http\S+)/.exec(child.lines.join('\n'))?.[1]) };
  };
  const loginAt = (url: string): string => String(new URL('/tasks/auth/login', url));

  it('signs in users of an htpasswd file', async () => {
    const folder = temporaryFolder();
    const [file, example] = [folder.file('users'), 'examples/htpasswd/users.htpasswd'];
    copyFileSync(example, file);
    const { url } = await start('htpasswd/web.js', { HTPASSWD_FILE: file });
    const password = 'ann-secret';
    const { cookie = '' } = await postForm(loginAt(url), { username: 'ann', password });
    const shown = await ask(url, { headers: { cookie } });
    expect(shown.json).toEqual({ username: 'ann', roles: ['admin'] });
    folder.remove();
  });

  it('signs in users of a database, and ends the session of a removed user', async () => {
    const folder = temporaryFolder();
    const env = { DATABASE: folder.file('users.db') };
    const { url } = await start('database/web.js', { ...env, ADMIN_PASSWORD: 'boss-secret' });
    const signIn = async (username: string, password: string): Promise<unknown> => {
      const { cookie = '' } = await postForm(loginAt(url), { username, password });
      return (await ask(url, { headers: { cookie, Accept: 'application/json' } })).json;
    };
    expect(await signIn('Admin', 'boss-secret')).toEqual({ username: 'admin', roles: ['admin'] });
    const user = async (...args: string[]): Promise<string> => {
      const child = startProcess(process.execPath, ['examples/database/user.js', ...args], env);
      expect(await child.ended).toBe(0);
      return / \/ (\S+)/.exec(child.lines.join('\n'))?.[1] ?? '';
    };
    const password = await user('add', 'bob', 'viewer');
    expect(await signIn('bob', password)).toEqual({ username: 'bob', roles: ['viewer'] });
    await user('remove', 'bob');
    expect(await signIn('bob', password)).toMatchObject({ code: 'UNAUTHENTICATED' });
    folder.remove();
  });

  it('creates, rotates and revokes a token', async () => {
    const env = { DATABASE: ':memory:', ADMIN_PASSWORD: 'boss-secret' };
    const { url } = await start('api-tokens/app.js', env);
    const child = startProcess(process.execPath, ['examples/api-tokens/script.js'], {
      ...env,
      TASKS_URL: String(new URL('/tasks', url)),
    });
    expect(await child.ended).toBe(0);
    expect(child.lines.map((line) => line.slice(0, 3))).toEqual([
      ...['200', '201', '200', '403', '201', '401', '200', '204', '401'],
    ]);
  });

  itNeeds('nginx')('trusts the users of nginx', async () => {
    const folder = temporaryFolder();
    const { url } = await start('trusted-header/web.js');
    const port = await freePort();
    for (const file of ['users', 'nginx.conf'])
      copyFileSync(`examples/trusted-header/${file}`, folder.file(file));
    const placed = readFileSync(folder.file('nginx.conf'), 'utf8')
      .replace('127.0.0.1:8080', `127.0.0.1:${port}`)
      .replace('http://127.0.0.1:3000', new URL(url).origin)
      .replace('daemon off;', 'daemon off; master_process off;');
    writeFileSync(folder.file('nginx.conf'), placed);
    const args = ['-p', folder.path, '-c', 'nginx.conf', '-e', 'stderr'];
    children.push(startProcess(programPath('nginx') ?? 'nginx', args));
    const page = `http://127.0.0.1:${port}/`;
    await waitFor(() => existsSync(folder.file('nginx-pid')));
    const shown = (name: string): Promise<Answer> => {
      const authorization = `Basic ${Buffer.from(`${name}:${name}-secret`).toString('base64')}`;
      const headers = { authorization, 'Remote-User': 'boss', Accept: 'application/json' };
      return ask(page, { headers });
    };
    expect((await shown('ann')).json).toEqual({ username: 'ann', roles: ['operator'] });
    expect((await shown('bob')).json).toEqual({ username: 'bob', roles: ['viewer'] });
    for (const name of ['kim', 'max']) expect((await shown(name)).status).toBe(401);
    const direct = { 'Remote-User': 'ann', Accept: 'application/json' };
    expect((await ask(url, { headers: direct })).status).toBe(401);
    folder.remove();
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
