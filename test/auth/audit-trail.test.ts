import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn, postJson } from '../helpers/client.js';
import { turnableClock } from '../helpers/clock.js';
import { waitFor } from '../helpers/wait.js';

let app: AdminApp;
afterEach(async () => {
  jest.useRealTimers();
  await app.close();
});

interface Row {
  at: string;
  action: string;
  actor?: string;
  outcome: string;
  ip?: string;
  requestId?: string;
  tasks?: string[];
  detail?: Record<string, unknown>;
}
const auditAt = async (
  headers: Record<string, string>,
  query = '',
): Promise<{ items: Row[]; nextCursor: string | null }> =>
  (await ask(`${app.base}/audit${query}`, { headers })).json as {
    items: Row[];
    nextCursor: string | null;
  };
const act = (action: string, headers: Record<string, string>, id = app.taskId) =>
  ask(`${app.base}/${id}/${action}`, { method: 'POST', headers });

describe('GET P/audit', () => {
  it('lists logins, logouts, ended sessions and task actions, newest first', async () => {
    app = await serveAdmin();
    await postJson(`${app.base}/auth/login`, { username: 'admin', password: 'wrong' });
    const [admin, vera, other] = [
      await logIn(app.base),
      await logIn(app.base, 'vera', 'three'),
      await logIn(app.base),
    ];
    await waitFor(async () => (await app.tasks.get(app.taskId))?.status === 'failed');
    await act('retry', { ...admin, 'X-Request-Id': 'r-7' });
    await act('retry', vera);
    await act('cancel', admin, '00000000-0000-7000-8000-000000000000');
    await act('cancel', { ...admin, 'Sec-Fetch-Site': 'cross-site' });
    const { items: sessions } = (await ask(`${app.base}/auth/sessions`, { headers: admin }))
      .json as {
      items: { id: string; current: boolean }[];
    };
    await ask(`${app.base}/auth/sessions/${sessions.find(({ current }) => !current)?.id}`, {
      method: 'DELETE',
      headers: admin,
    });
    await ask(`${app.base}/auth/logout`, { method: 'POST', headers: vera });
    await ask(`${app.base}/auth/sessions`, { method: 'DELETE', headers: admin });
    const again = await logIn(app.base);

    const { items } = await auditAt(again);
    expect(items.map(({ action, actor, outcome }) => `${actor} ${action} ${outcome}`)).toEqual([
      'admin login done',
      'admin end_all_sessions done',
      'vera logout done',
      'admin end_session done',
      'admin cancel refused',
      'admin cancel refused',
      'vera retry refused',
      'admin retry done',
      'admin login done',
      'vera login done',
      'admin login done',
      'admin login failed',
    ]);
    expect(items[7]).toEqual({
      at: expect.stringMatching(/Z$/),
      ip: '127.0.0.1',
      requestId: 'r-7',
      action: 'retry',
      actor: 'admin',
      strategy: 'default',
      outcome: 'done',
      tasks: [app.taskId],
    });
    expect(items.slice(4, 7).map(({ detail }) => detail)).toEqual([
      { code: 'CROSS_ORIGIN' },
      { code: 'TASK_NOT_FOUND' },
      { code: 'FORBIDDEN' },
    ]);
    expect(
      app.log
        .events('authz_admin')
        .map(({ action, username, outcome, count }) => [action, username, outcome, count]),
    ).toEqual([
      ['retry', 'admin', 'done', 1],
      ['cancel', 'admin', 'refused', 1],
    ]);
    expect(app.log.events('authz_fail')).toHaveLength(1);
    expect(app.log.events('cross_origin_refused')).toHaveLength(1);
    expect(other.cookie).not.toBe('');
  });

  it('filters by action, actor, outcome and time, and pages without repeats', async () => {
    app = await serveAdmin({
      throttle: { floor: 0, pair: 1000, address: 1000, account: 1000, global: 1000 },
    });
    const admin = await logIn(app.base);
    for (let n = 0; n < 25; n++)
      await postJson(`${app.base}/auth/login`, {
        username: n % 2 ? 'admin' : 'vera',
        password: 'wrong',
      });
    const failed = await auditAt(admin, '?outcome=failed&actor=vera&limit=500');
    expect(failed.items).toHaveLength(13);
    expect(failed.nextCursor).toBeNull();
    const seen: Row[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page = await auditAt(admin, `?limit=4&actor=admin${cursor && `&cursor=${cursor}`}`);
      seen.push(...page.items);
      cursor = page.nextCursor;
    }
    expect(seen).toHaveLength(13);
    expect((await auditAt(admin, '?to=-1h')).items).toEqual([]);
    expect((await auditAt(admin, '?from=-1h&action=login&limit=500')).items).toHaveLength(26);
    expect((await auditAt(admin, '?action=retry')).items).toEqual([]);
  });

  it.each([
    '?cursor=x',
    '?cursor=-1',
    '?limit=0',
    '?limit=501',
    '?outcome=maybe',
    '?actor=',
    '?from=yesterday',
    '?who=admin',
    '?action=a&action=b',
  ])('rejects %s', async (query) => {
    app = await serveAdmin();
    expect(
      (await ask(`${app.base}/audit${query}`, { headers: await logIn(app.base) })).status,
    ).toBe(400);
  });

  it('keeps entries for auditRetentionDays', async () => {
    const clock = turnableClock();
    app = await serveAdmin({ auditRetentionDays: 2 });
    await logIn(app.base);
    clock.pass(86_400);
    const second = await logIn(app.base);
    expect((await auditAt(second)).items).toHaveLength(2);
    clock.pass(86_401);
    expect((await auditAt(await logIn(app.base))).items).toHaveLength(2);
  });

  it.each<[string, Parameters<typeof serveAdmin>[0], Record<string, string>, string]>([
    ['without a login', { auth: null }, {}, 'anonymous'],
    [
      'with a login of the app, its roles and the same origin check',
      {
        auth: {
          who: (ctx) =>
            ctx.get('X-User') ? { name: ctx.get('X-User'), roles: [ctx.get('X-Role')] } : undefined,
        },
      },
      { 'X-User': 'ada', 'X-Role': 'operator' },
      'ada',
    ],
  ])('works %s', async (_case, options, headers, actor) => {
    app = await serveAdmin(options);
    await waitFor(async () => (await app.tasks.get(app.taskId))?.status === 'failed');
    expect((await act('retry', headers)).status).toBe(202);
    expect((await act('cancel', { ...headers, 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
    if (options?.auth)
      expect((await act('retry', { ...headers, 'X-Role': 'viewer' })).status).toBe(403);
    const { items } = await auditAt(headers);
    expect(items.map((row) => `${row.actor} ${row.action} ${row.outcome}`).slice(-2)).toEqual([
      `${actor} cancel refused`,
      `${actor} retry done`,
    ]);
    expect(items).toHaveLength(options?.auth ? 3 : 2);
  });

  it('returns the audit of a login that keeps its own', async () => {
    const rows: unknown[] = [];
    app = await serveAdmin({
      auth: {
        who: () => ({ name: 'ada', roles: ['admin'] }),
        record: (event) => void rows.push(event.action),
        audit: async () => ({ items: [], nextCursor: null }),
      },
    });
    await act('cancel', {});
    expect([rows, (await auditAt({})).items]).toEqual([['cancel'], []]);
  });

  it.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('no audit');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no audit'))],
  ])('answers as before and logs an error if record of the app %s', async (_case, record) => {
    app = await serveAdmin({
      auth: {
        who: (ctx) => ({ name: 'ada', roles: [ctx.get('X-Role') || 'admin'] }),
        record,
      },
    });
    await waitFor(async () => (await app.tasks.get(app.taskId))?.status === 'failed');
    const statuses = [
      (await act('retry', {})).status,
      (await act('retry', { 'X-Role': 'viewer' })).status,
      (await act('retry', { 'Sec-Fetch-Site': 'cross-site' })).status,
    ];
    expect(statuses).toEqual([202, 403, 403]);
    expect(app.log.events('authz_admin').map(({ outcome }) => outcome)).toEqual(['done']);
    await waitFor(() => app.log.events('audit_failed').length === 3);
    expect(app.log.events('audit_failed')[0]).toMatchObject({
      action: 'retry',
      err: { message: 'no audit' },
    });
    expect((await auditAt({})).items.map(({ outcome }) => outcome)).toEqual([
      'refused',
      'refused',
      'done',
    ]);
  });

  it('answers 503 and logs an error if the login of the app returns an invalid actor', async () => {
    app = await serveAdmin({ auth: { who: () => ({ name: 'ada' }) as never } });
    expect((await ask(app.base)).status).toBe(503);
    expect(
      app.log.lines.some(({ err }) =>
        String((err as { message?: string })?.message).includes('who(ctx) must return'),
      ),
    ).toBe(true);
  });

  it('logs a failed write of an entry and changes no answer', async () => {
    app = await serveAdmin();
    const { store } = app.tasks;
    store.append = () => Promise.reject(new Error('disk full'));
    expect(
      (await postJson(`${app.base}/auth/login`, { username: 'admin', password: 'wrong' })).status,
    ).toBe(401);
    expect(app.log.events('audit_failed')).toMatchObject([{ level: 50, action: 'login' }]);
  });
});
