import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import { csvCell } from '../../src/web/export.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn } from '../helpers/client.js';
import { serve } from '../helpers/serve.js';
import { sleep, waitFor } from '../helpers/wait.js';

let app: AdminApp;
let session: { cookie: string };
beforeAll(async () => {
  app = await serveAdmin();
  const quiet = app.tasks.task('quiet', () => {});
  await quiet.enqueueMany(Array.from({ length: 1200 }, () => [] as []));
  await waitFor(
    async () => (await app.tasks.find({ limit: 1, status: ['success'] })).total === 1200,
  );
  session = await logIn(app.base);
});
afterAll(() => app.close());

describe('GET P/export', () => {
  it('is a CSV of the whole filtered list, with formulas escaped', async () => {
    const { text, headers } = await ask(`${app.base}/export?format=csv`, { headers: session });
    const rows = text.trimEnd().split('\r\n');
    expect(rows).toHaveLength(1202);
    expect(rows[0]).toBe(
      'id,name,status,queue,priority,createdAt,startedAt,endedAt,duration,attempt,error',
    );
    expect(new Set(rows.map((row) => row.split(',')[0])).size).toBe(1202);
    expect(headers.get('Content-Disposition')).toBe('attachment; filename="tasks.csv"');
    expect(headers.get('Content-Type')).toContain('text/csv');
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
    const failed = await ask(`${app.base}/export?format=csv&status=failed`, { headers: session });
    expect(failed.text.split('\r\n')[1]).toContain("Error: =cmd|'/C calc'!A0");
  });

  it('is NDJSON with one task per line, without arguments', async () => {
    const { text } = await ask(`${app.base}/export?format=ndjson&name=quiet`, { headers: session });
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows).toHaveLength(1200);
    expect(rows[0]).toMatchObject({ name: 'quiet', status: 'success' });
    expect(Object.keys(rows[0] ?? {})).not.toContain('args');
  });

  it('also exports the filtered audit log, with formulas escaped', async () => {
    await ask(`${app.base}/queues/${encodeURIComponent('slow')}/pause`, {
      method: 'POST',
      headers: { ...session, 'Content-Type': 'application/json' },
      body: JSON.stringify({ reason: '=cmd()' }),
    });
    const { text, headers } = await ask(`${app.base}/audit/export?format=csv&action=pause`, {
      headers: session,
    });
    expect(headers.get('Content-Disposition')).toBe('attachment; filename="audit.csv"');
    const [head, row = '', ...none] = text.split('\r\n');
    expect(head).toBe('at,actor,action,outcome,ip,requestId,tasks,detail,strategy');
    expect(row).toMatch(/^\d{4}-.*Z,admin,pause,done,/);
    expect(row).toContain('reason: =cmd()');
    expect(row).not.toMatch(/(^|,)=/);
    expect(none).toEqual(['']);
    const lines = await ask(`${app.base}/audit/export?format=ndjson`, { headers: session });
    const events = lines.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string });
    expect(events.map(({ action }) => action)).toEqual(expect.arrayContaining(['pause', 'login']));
    expect((await ask(`${app.base}/audit/export`, { headers: session })).status).toBe(400);
  });

  it('reads no faster than the client, and stops when the client disconnects', async () => {
    let pages = 0;
    const tasks = new TaskManager({ database: ':memory:', logger: false });
    const noop = tasks.define<[text: string]>('noop'.repeat(30));
    for (let n = 0; n < 20; n++) await noop.enqueueMany(Array.from({ length: 1000 }, () => ['']));
    const counting = new Proxy(tasks, {
      get: (target, key) => {
        if (key === 'find') pages += 1;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const koa = new Koa();
    const errors: unknown[] = [];
    koa.on('error', (error) => errors.push(error));
    koa.use(taskRoutes(counting, { logger: false }));
    const served = await serve(koa);
    const request = get(`${served.url}/tasks/export?format=ndjson`);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.pause();
    await sleep(0.5);
    const waiting = pages;
    expect(waiting).toBeLessThan(40);
    response.destroy();
    await sleep(0.3);
    expect(pages - waiting).toBeLessThanOrEqual(1);
    expect(errors).toEqual([]);
    await Promise.all([served.close(), tasks.stop()]);
  });

  it.each([
    '',
    '?format=xml',
    '?format=csv&format=ndjson',
    '?format=csv&status=none',
    '?format=csv&limit=5',
  ])('rejects the query "%s"', async (query) => {
    expect((await ask(`${app.base}/export${query}`, { headers: session })).status).toBe(400);
  });
});

describe('a CSV cell', () => {
  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(1)', "'@SUM(1)"],
    ['\tx', "'\tx"],
    ['\rx', '"\'\rx"'],
    ['\uff1d1', "'\uff1d1"],
    ['\uff0b1', "'\uff0b1"],
    ['\uff0d1', "'\uff0d1"],
    ['\uff201', "'\uff201"],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['a\r\nb', '"a\r\nb"'],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    ['plain', 'plain'],
    [null, ''],
    [-5, '-5'],
  ])('shows %j as %j', (value, cell) => {
    expect(csvCell(value)).toBe(cell);
  });
});
