import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import type { AuditEvent } from '../../src/http/access.js';
import { TaskManager } from '../../src/manager.js';
import type { TaskSummary } from '../../src/tasks/types.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { ask, postJson } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
const add = tasks.task('add', (a: number, b: number) => a + b);
const bad = tasks.task('bad', (_card: string) => {
  throw new Error('declined');
});
const roles: Record<string, string[]> = { admin: ['admin'], vera: ['viewer'], none: [] };
const recorded: AuditEvent[] = [];
const access = {
  who: (ctx: Koa.Context) => {
    const name = ctx.get('X-Test-User');
    return name === '' ? undefined : { name, roles: roles[name] ?? [] };
  },
  record: (event: AuditEvent) => void recorded.push(event),
};
let served: Served;
let shown: Served;
let api: string;
const as = (user: string): Record<string, string> => ({ 'X-Test-User': user });
const get = (path: string, user = 'admin') => ask(api + path, { headers: as(user) });
const code = (answer: { json: unknown }): string => (answer.json as { code: string }).code;
let ids: string[];

beforeAll(async () => {
  const app = new Koa();
  app.use(taskRoutes(tasks, { access, logger: false }));
  app.use((ctx) => {
    ctx.body = 'elsewhere';
  });
  served = await serve(app);
  api = `${served.url}/tasks`;
  const open = new Koa();
  open.use(taskRoutes(tasks, { displayFuncArgs: true, logger: false }));
  shown = await serve(open);
  await tasks.start();
  ids = [
    await add.with({ tags: { tenant: '7' }, priority: 3 }).enqueue(1, 2),
    await bad.enqueue('4111'),
    await add.with({ runIn: 3600 }).enqueue(3, 4),
  ];
  await waitFor(
    async () => (await tasks.find({ limit: 1, status: ['success', 'failed'] })).total === 2,
  );
});
afterAll(async () => {
  await Promise.all([served.close(), shown.close(), tasks.stop()]);
});

describe('GET P', () => {
  it('lists summaries, newest first, with a total', async () => {
    const { status, json, headers } = await get('');
    expect(status).toBe(200);
    expect(headers.get('Cache-Control')).toBe('no-store');
    const { items, ...rest } = json as { items: TaskSummary[] };
    expect(items.map(({ id }) => id)).toEqual([...ids].reverse());
    expect(rest).toEqual({ nextCursor: null, total: 3, totalRelation: 'eq' });
    expect(items[2]).toEqual({
      id: ids[0],
      name: 'add',
      status: 'success',
      queue: 'default',
      priority: 3,
      tags: { tenant: '7' },
      source: 'manual',
      createdAt: expect.stringMatching(/Z$/),
      runAt: expect.any(String),
      startedAt: expect.any(String),
      endedAt: expect.any(String),
      duration: expect.any(Number),
      attempt: 1,
      maxAttempts: 1,
      progress: null,
      error: null,
      fingerprint: null,
    });
    expect(items[1]).toMatchObject({
      status: 'failed',
      error: { name: 'Error', message: 'declined' },
    });
  });

  it('filters by name and by several states', async () => {
    const names = async (query: string): Promise<unknown> =>
      ((await get(query)).json as { items: TaskSummary[] }).items.map(({ id }) => ids.indexOf(id));
    expect(await names('?status=failed')).toEqual([1]);
    expect(await names('?status=failed&status=pending')).toEqual([2, 1]);
    expect(await names('?name=add')).toEqual([2, 0]);
    expect(await names('?name=add&status=success')).toEqual([0]);
    expect(await names('?name=unknown')).toEqual([]);
  });

  it('continues after a cursor, with any limit', async () => {
    const first = (await get('?limit=2')).json as { items: TaskSummary[]; nextCursor: string };
    const second = (await get(`?limit=500&cursor=${first.nextCursor}`)).json as {
      items: TaskSummary[];
      nextCursor: null;
    };
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual([...ids].reverse());
    expect(second.nextCursor).toBeNull();
  });

  it.each([
    ['?status=done', 'INVALID_INPUT'],
    ['?limit=0', 'INVALID_INPUT'],
    ['?limit=501', 'INVALID_INPUT'],
    ['?limit=1e2', 'INVALID_INPUT'],
    ['?limit=0x10', 'INVALID_INPUT'],
    ['?limit=5&limit=6', 'INVALID_INPUT'],
    ['?name=', 'INVALID_INPUT'],
    ['?nmae=add', 'INVALID_INPUT'],
    ['?cursor=', 'INVALID_CURSOR'],
    ['?cursor=abc', 'INVALID_CURSOR'],
    [`?cursor=${'a'.repeat(300)}`, 'INVALID_CURSOR'],
  ])('answers %s with 400', async (query, expected) => {
    const answer = await get(query);
    expect([answer.status, code(answer)]).toEqual([400, expected]);
    expect(answer.headers.get('Content-Type')).toContain('application/problem+json');
  });

  it('rejects a cursor of a list with other filters', async () => {
    const { nextCursor } = (await get('?limit=1&name=add')).json as { nextCursor: string };
    expect(code(await get(`?cursor=${nextCursor}`))).toBe('INVALID_CURSOR');
    expect((await get(`?name=add&cursor=${nextCursor}`)).status).toBe(200);
  });
});

describe('GET P/:id', () => {
  it('shows everything except the arguments', async () => {
    const { status, json, text } = await get(`/${ids[1]}`);
    expect(status).toBe(200);
    expect(json).toMatchObject({
      id: ids[1],
      status: 'failed',
      attempts: [{ number: 1, status: 'failed', error: { message: 'declined' } }],
      logs: [],
      result: null,
      rerunOf: null,
      rerunAs: null,
    });
    expect((json as { stack: string }).stack).toContain('declined');
    expect(json).not.toHaveProperty('args');
    expect(text).not.toContain('4111');
  });

  it('shows the arguments with displayFuncArgs', async () => {
    expect((await ask(`${shown.url}/tasks/${ids[1]}`)).json).toMatchObject({ args: ['4111'] });
  });

  it.each(['/01890000-0000-7000-8000-000000000000', '/nothing', '/__proto__', '/%00'])(
    'answers %s with 404',
    async (path) => {
      const answer = await get(path);
      expect([answer.status, code(answer)]).toEqual([404, 'TASK_NOT_FOUND']);
    },
  );

  it('answers a path that is not valid percent-encoded with 400', async () => {
    const answer = await get('/%');
    expect([answer.status, code(answer)]).toEqual([400, 'INVALID_INPUT']);
  });
});

describe('GET P/metrics', () => {
  it('returns counts, rate, durations, functions, queues and a series', async () => {
    expect((await get('/metrics')).json).toMatchObject({
      counts: { pending: 1, running: 0, success: 1, failed: 1, interrupted: 0, cancelled: 0 },
      successRate: 0.5,
      durations: { avg: expect.any(Number), p99: expect.any(Number) },
      functions: [{ name: 'add' }, { name: 'bad' }],
      queues: [{ name: 'default' }],
      series: [{ success: 1, failed: 1 }],
    });
    expect((await get('/metrics?from=-1h&step=60')).status).toBe(200);
    expect(
      (await get('/metrics?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z')).json,
    ).toMatchObject({ successRate: null, series: [] });
  });

  it.each([
    '?from=yesterday',
    '?from=-99999999999d',
    '?from=2026-13-01',
    '?step=1',
    '?step=NaN',
    '?from=-1h&to=-2h',
    '?from=-999999d&step=60',
    '?foo=1',
  ])('answers %s with 400', async (query) => {
    expect(code(await get(`/metrics${query}`))).toBe('INVALID_INPUT');
  });
});

describe('POST P/:id/retry and P/:id/cancel', () => {
  it('retries a failed task and answers 202 with it', async () => {
    const id = await bad.enqueue('x');
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    const answer = await ask(`${api}/${id}/retry`, { method: 'POST', headers: as('admin') });
    expect([answer.status, answer.json]).toEqual([
      202,
      expect.objectContaining({ id, status: 'pending', attempt: 1, maxAttempts: 2 }),
    ]);
    await waitFor(async () => (await tasks.get(id))?.attempts.length === 2);
  });

  it('cancels a pending task', async () => {
    const id = await add.with({ runIn: 60 }).enqueue(1, 1);
    expect(
      (await ask(`${api}/${id}/cancel`, { method: 'POST', headers: as('admin') })).json,
    ).toMatchObject({ id, status: 'cancelled' });
  });

  it('answers 409 in a state that does not allow it, and 404 if unknown', async () => {
    const retry = await ask(`${api}/${ids[0]}/retry`, { method: 'POST', headers: as('admin') });
    expect([retry.status, code(retry)]).toEqual([409, 'TASK_STATE_CONFLICT']);
    expect(
      (await ask(`${api}/${ids[0]}/cancel`, { method: 'POST', headers: as('admin') })).status,
    ).toBe(409);
    expect(
      code(
        await ask(`${api}/01890000-0000-7000-8000-000000000000/retry`, {
          method: 'POST',
          headers: as('admin'),
        }),
      ),
    ).toBe('TASK_NOT_FOUND');
  });

  it('rejects a viewer, and records completed and rejected actions', async () => {
    recorded.length = 0;
    const refused = await ask(`${api}/${ids[2]}/cancel`, { method: 'POST', headers: as('vera') });
    expect([refused.status, code(refused)]).toEqual([403, 'FORBIDDEN']);
    await ask(`${api}/${ids[0]}/retry`, { method: 'POST', headers: as('admin') });
    const id = await add.with({ runIn: 60 }).enqueue(1, 1);
    await ask(`${api}/${id}/cancel`, { method: 'POST', headers: as('admin') });
    expect(recorded.map(({ action, actor, outcome }) => [action, actor, outcome])).toEqual([
      ['cancel', 'vera', 'refused'],
      ['retry', 'admin', 'refused'],
      ['cancel', 'admin', 'done'],
    ]);
  });

  it('accepts no body, an empty body or a reason, and nothing else', async () => {
    const to = `${api}/${ids[0]}/retry`;
    expect((await postJson(to, {}, as('admin'))).status).toBe(409);
    expect((await postJson(to, { reason: 'mended' }, as('admin'))).status).toBe(409);
    expect((await postJson(to, { reason: 1 }, as('admin'))).status).toBe(400);
    expect((await postJson(to, { ids: [] }, as('admin'))).status).toBe(400);
    expect(
      (
        await ask(to, {
          method: 'POST',
          body: 'reason=x',
          headers: { ...as('admin'), 'Content-Type': 'text/plain' },
        })
      ).status,
    ).toBe(415);
  });

  it('rejects requests that another site makes a browser send', async () => {
    const from = (headers: Record<string, string>) =>
      ask(`${api}/${ids[0]}/retry`, { method: 'POST', headers: { ...as('admin'), ...headers } });
    expect(code(await from({ 'Sec-Fetch-Site': 'cross-site' }))).toBe('CROSS_ORIGIN');
    expect(code(await from({ Origin: 'https://evil.example' }))).toBe('CROSS_ORIGIN');
    expect(code(await from({ Origin: 'null' }))).toBe('CROSS_ORIGIN');
    expect((await from({ Origin: served.url })).status).toBe(409);
    expect((await from({ 'Sec-Fetch-Site': 'same-origin' })).status).toBe(409);
  });
});

describe('other requests under P', () => {
  it('answer 401 to anonymous requests, also on unknown paths, except for health', async () => {
    for (const path of [
      '',
      '/metrics',
      `/${ids[0]}`,
      '/dashboard/stream',
      '/audit',
      '/no/such/path',
      '/',
      '/auth/login',
    ]) {
      const answer = await ask(api + path);
      expect([path, answer.status, code(answer)]).toEqual([path, 401, 'UNAUTHENTICATED']);
    }
    expect((await ask(`${api}/health`)).json).toEqual({ status: 'ok' });
  });

  it('answer 404 to a signed-in user on unknown paths', async () => {
    for (const path of ['/audit/x', '/no/such/path', '/', '/METRICS', '/exports'])
      expect((await get(path)).status).toBe(404);
  });

  it('answer 405 to a wrong method, and check authorization first', async () => {
    expect((await ask(`${api}/metrics`, { method: 'DELETE' })).status).toBe(401);
    const answer = await ask(`${api}/metrics`, { method: 'DELETE', headers: as('admin') });
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, 'GET, HEAD']);
    expect((await ask(`${api}/health`, { method: 'POST' })).status).toBe(405);
    expect((await ask(`${api}/metrics`, { method: 'OPTIONS' })).status).toBe(405);
    expect((await ask(`${api}/no/such`, { method: 'OPTIONS' })).status).toBe(401);
  });

  it('answer HEAD like GET, but without a body', async () => {
    expect((await ask(api, { method: 'HEAD', headers: as('admin') })).status).toBe(200);
    expect((await ask(api, { method: 'HEAD' })).status).toBe(401);
  });

  it('leave other paths to the app', async () => {
    for (const path of ['/', '/tasksX', '/TASKS', '/task'])
      expect((await ask(served.url + path)).text).toBe('elsewhere');
  });

  it('answer 503 for health if the engine is unavailable', async () => {
    const gone = new TaskManager({ database: '/no/such/folder/tasks.db', logger: false });
    const app = new Koa();
    app.use(taskRoutes(gone, { logger: false }));
    const server = await serve(app);
    expect(await ask(`${server.url}/tasks/health`)).toMatchObject({
      status: 503,
      json: { status: 'unavailable' },
    });
    expect(await ask(`${server.url}/tasks`)).toMatchObject({
      status: 503,
      json: { code: 'ENGINE_UNAVAILABLE' },
    });
    expect((await ask(`${server.url}/tasks`)).text).not.toContain('/no/such/folder');
    await server.close();
  });

  it('are rejected if the login fails', async () => {
    const app = new Koa();
    app.use(
      taskRoutes(tasks, {
        access: {
          who: () => {
            throw new Error('directory is down');
          },
        },
        logger: false,
      }),
    );
    const server = await serve(app);
    const answer = await ask(`${server.url}/tasks`);
    expect([answer.status, code(answer)]).toEqual([503, 'STORE_UNAVAILABLE']);
    expect(answer.text).not.toContain('directory');
    await server.close();
  });

  it('cannot be served with invalid options', () => {
    expect(() => taskRoutes(tasks, { acess: access } as object)).toThrow(/no option "acess"/);
    expect(() => taskRoutes(tasks, { access: {} as never })).toThrow(/access/);
    expect(() => taskRoutes({} as never)).toThrow(/tasks/);
    const auth = createAuth({ strategies: ['a', 'b'], path: '/admin', logger: false });
    expect(() => taskRoutes(tasks, { path: '/tasks', access: auth })).toThrow(/path/);
  });
});
