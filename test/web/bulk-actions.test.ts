import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { AuditEvent } from '../../src/http/access.js';
import { TaskManager } from '../../src/manager.js';
import type { Task } from '../../src/tasks/definition.js';
import { type TestEngine, testEngine } from '../../src/testing/index.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { ask, postJson } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';

interface BulkAnswer {
  dispatched: number;
  skipped: number;
  results: { id: string; ok: boolean; code?: string; detail?: string }[];
  count: number;
  countRelation: string;
  remaining: number;
  dryRun: boolean;
}

const unknownId = '01900000-0000-7000-8000-000000000000';

describe('a command for many tasks', () => {
  let engine: TestEngine;
  let tasks: TaskManager;
  let served: Served;
  let api: string;
  let recorded: AuditEvent[];
  let broken: boolean;
  const post = async (path: string, body: object) => {
    const answer = await postJson(`${api}${path}`, body);
    return {
      status: answer.status,
      ...(answer.json as BulkAnswer & { code?: string; detail?: string }),
    };
  };
  const failing = async (name: string, amount: number): Promise<string[]> => {
    const ids: string[] = [];
    for (let n = 0; n < amount; n++) {
      ids.push(
        await tasks.enqueue([tasksByName[name]?.prepare(n) as never]).then(([id = '']) => id),
      );
      await engine.advance(60);
    }
    return ids;
  };
  let tasksByName: Record<string, Task<[n: number]>>;
  const statusOf = async (id: string) => (await tasks.get(id))?.status;

  beforeEach(async () => {
    broken = true;
    recorded = [];
    engine = testEngine({ now: new Date(Date.now() - 3_600_000) });
    tasks = new TaskManager({ engine, logger: false });
    const work = (n: number): number => {
      if (broken) throw new Error(`no answer to ${n}`);
      return n;
    };
    tasksByName = { mail: tasks.task('mail', work), charge: tasks.task('charge', work) };
    await tasks.start();
    const access = {
      who: () => ({ name: 'ada', roles: ['operator'] }),
      record: (event: AuditEvent) => void recorded.push(event),
    };
    const app = new Koa();
    app.use(taskRoutes(tasks, { access, logger: false }));
    served = await serve(app);
    api = `${served.url}/tasks`;
  });
  afterEach(async () => {
    await Promise.all([served.close(), tasks.stop()]);
  });

  it('does nothing if the query of a command has a parameter, such as dryRun', async () => {
    const ids = await failing('mail', 1);
    for (const path of ['/bulk', '/bulk-retry', '/retry-failed', `/${ids[0]}/retry`])
      expect(await post(`${path}?dryRun=true`, { action: 'delete', ids })).toMatchObject({
        status: 400,
      });
    expect(await statusOf(ids[0] ?? '')).toBe('failed');
  });

  it('retries each id once, and gives a reason for each skipped task', async () => {
    const [first = '', second = ''] = await failing('mail', 2);
    broken = false;
    expect(await post('/bulk-retry', { ids: [second] })).toMatchObject({
      status: 200,
      dispatched: 1,
      skipped: 0,
    });
    const answer = await post('/bulk-retry', { ids: [first, first, second, unknownId] });
    expect(answer).toEqual({
      status: 200,
      dispatched: 1,
      skipped: 2,
      results: [
        { id: first, ok: true },
        { id: second, ok: false, code: 'TASK_STATE_CONFLICT', detail: 'The task is success.' },
        { id: unknownId, ok: false, code: 'TASK_NOT_FOUND', detail: 'There is no such task.' },
      ],
      count: 3,
      countRelation: 'eq',
      remaining: 0,
      dryRun: false,
    });
    expect((await tasks.get(first))?.attempts.map(({ status }) => status)).toEqual([
      'failed',
      'success',
    ]);
    expect(recorded.at(-1)).toMatchObject({
      action: 'bulk_retry',
      outcome: 'done',
      tasks: [first],
      detail: { dispatched: 1, skipped: 2 },
    });
  });

  it('counts by filter in a dry run, and runs only if the count is the same', async () => {
    const ids = await failing('mail', 3);
    const [other = ''] = await failing('charge', 1);
    const filter = { status: ['failed', 'success'], name: 'mail' };
    const counted = await post('/bulk', { action: 'delete', filter, dryRun: true });
    expect(counted).toMatchObject({
      status: 200,
      count: 3,
      dispatched: 3,
      remaining: 0,
      dryRun: true,
    });
    expect(recorded).toEqual([]);
    await failing('mail', 1);
    const changed = await post('/bulk', { action: 'delete', filter, expect: counted.count });
    expect([changed.status, changed.code]).toEqual([409, 'COUNT_CHANGED']);
    expect(changed.detail).toMatch(/is now 4, not 3. Nothing was done/);
    expect(recorded.at(-1)).toMatchObject({
      action: 'bulk',
      outcome: 'refused',
      detail: { code: 'COUNT_CHANGED' },
    });
    expect(
      await post('/bulk', { action: 'delete', filter, expect: 4, reason: 'old' }),
    ).toMatchObject({ status: 200, dispatched: 4 });
    for (const id of ids) expect(await tasks.get(id)).toBeUndefined();
    expect(await statusOf(other)).toBe('failed');
    expect(recorded.at(-1)).toMatchObject({
      outcome: 'done',
      detail: { does: 'delete', filter: JSON.stringify(filter), dispatched: 4, reason: 'old' },
    });
  });

  it('accepts every filter of a list', async () => {
    const [one = '', two = ''] = await failing('mail', 2);
    const { fingerprint, createdAt } = (await tasks.get(two)) ?? { fingerprint: '', createdAt: '' };
    const found = async (filter: object) =>
      (await post('/bulk', { action: 'retry', filter, dryRun: true })).results.map(({ id }) => id);
    expect(await found({ fingerprint })).toEqual([one, two]);
    expect(await found({ from: createdAt })).toEqual([two]);
    expect(await found({ to: createdAt, queue: 'default' })).toEqual([one]);
    expect(await found({ q: one.slice(0, 23) })).toContain(one);
    expect(await found({ tag: ['tenant'] })).toEqual([]);
  });

  it('cancels pending tasks', async () => {
    await tasksByName.mail?.with({ runIn: 60 }).enqueue(1);
    expect(await post('/bulk', { action: 'cancel', filter: 'all', expect: 1 })).toMatchObject({
      dispatched: 1,
    });
  });

  it('spreads retries over the given seconds', async () => {
    const ids = await failing('mail', 3);
    expect(await post('/bulk', { action: 'retry', ids, spread: 90 })).toMatchObject({
      dispatched: 3,
    });
    const times = await Promise.all(
      ids.map(async (id) => Date.parse((await tasks.get(id))?.runAt ?? '')),
    );
    expect(times.map((time) => time - (times[0] ?? 0))).toEqual([0, 30_000, 60_000]);
  });

  it('retries only tasks that failed since a time, of one function or of all', async () => {
    const old = await failing('mail', 1);
    await engine.advance(1800);
    const fresh = await failing('mail', 2);
    const charge = await failing('charge', 1);
    broken = false;
    expect(
      await post('/retry-failed', { since: '-40m', name: 'mail', dryRun: true }),
    ).toMatchObject({ count: 2, dispatched: 2 });
    expect(await post('/retry-failed', { since: '-40m', name: 'mail', expect: 1 })).toMatchObject({
      status: 409,
      code: 'COUNT_CHANGED',
    });
    const answer = await post('/retry-failed', { since: '-40m', name: 'mail' });
    expect(answer.results.map(({ id }) => id)).toEqual(fresh);
    expect([await statusOf(old[0] ?? ''), await statusOf(charge[0] ?? '')]).toEqual([
      'failed',
      'failed',
    ]);
    expect(recorded.at(-1)).toMatchObject({
      action: 'retry_failed',
      detail: { since: '-40m', function: 'mail', dispatched: 2 },
    });
    expect(await post('/retry-failed', { since: '-2h' })).toMatchObject({
      dispatched: 2,
      remaining: 0,
    });
  });

  it('deletes the history before a time, and returns the number of tasks', async () => {
    const old = await failing('mail', 3);
    await engine.advance(1800);
    const [kept = ''] = await failing('mail', 1);
    const answer = await ask(`${api}/history?before=-40m`, { method: 'DELETE' });
    expect([answer.status, answer.json]).toEqual([200, { deleted: 3, more: false }]);
    for (const id of old) expect(await tasks.get(id)).toBeUndefined();
    expect(await statusOf(kept)).toBe('failed');
    expect(recorded.at(-1)).toMatchObject({
      action: 'delete_history',
      outcome: 'done',
      detail: { deleted: 3 },
    });
    expect((await ask(`${api}/history`, { method: 'DELETE' })).status).toBe(400);
    expect((await ask(`${api}/history?before=yesterday`, { method: 'DELETE' })).status).toBe(400);
  });

  it.each<[string, object, RegExp]>([
    ['/bulk', {}, /^action must be one of retry, cancel, delete/],
    ['/bulk', { action: 'burn', ids: [unknownId] }, /^action must be/],
    ['/bulk', { action: 'retry' }, /exactly one of ids and filter/],
    [
      '/bulk',
      { action: 'retry', ids: [unknownId], filter: 'all' },
      /exactly one of ids and filter/,
    ],
    ['/bulk', { action: 'retry', filter: 'all' }, /^A command with filter needs expect/],
    ['/bulk', { action: 'retry', filter: {}, expect: 1 }, /^filter has no condition; .* 'all'/],
    [
      '/bulk',
      { action: 'retry', filter: { status: [] }, expect: 1 },
      /^filter.status must be a state or a list/,
    ],
    [
      '/bulk',
      { action: 'retry', filter: { tag: [] }, expect: 1 },
      /^filter.tag must be a tag or a list/,
    ],
    ['/bulk', { action: 'retry', filter: { q: '' }, expect: 1 }, /^filter.q must be a string/],
    [
      '/bulk',
      { action: 'retry', filter: { name: null }, expect: 1 },
      /^filter.name must be a string/,
    ],
    [
      '/bulk',
      { action: 'cancel', ids: [unknownId], spread: 5 },
      /^spread can be used only with the action retry/,
    ],
    [
      '/bulk',
      { action: 'retry', ids: [unknownId], spread: -1 },
      /^spread must be a number of seconds/,
    ],
    ['/bulk', { action: 'retry', ids: [] }, /^ids must have at least one id/],
    [
      '/bulk',
      { action: 'retry', ids: Array(1001).fill(unknownId) },
      /^ids must have at most 1,000 ids/,
    ],
    ['/bulk', { action: 'retry', ids: ['../x'] }, /"..\/x", which is not the id of a task/],
    ['/bulk', { action: 'retry', ids: 'all' }, /^ids must be a list/],
    [
      '/bulk',
      { action: 'retry', filter: { status: ['gone'] }, expect: 1 },
      /^filter.status\[0\] must be one of/,
    ],
    [
      '/bulk',
      { action: 'retry', filter: { stat: 1 }, expect: 1 },
      /^filter has an unknown key "stat"\. Did you mean "status"\? Allowed: status, name/,
    ],
    [
      '/bulk',
      { action: 'retry', filter: 'everything', expect: 1 },
      /^filter must be an object of conditions/,
    ],
    [
      '/bulk',
      { action: 'retry', filter: ['failed'], expect: 1 },
      /^filter must be an object of conditions/,
    ],
    ['/bulk-retry', { id: unknownId }, /^Unknown member "id" in the body/],
    ['/retry-failed', {}, /^since must be a time/],
    ['/retry-failed', { since: '99999999999d' }, /^since must be a time/],
  ])('rejects a request to %s with %j, and says what is accepted', async (path, body, message) => {
    const answer = await post(path, body);
    expect([answer.status, answer.code]).toEqual([400, 'INVALID_INPUT']);
    expect(answer.detail).toMatch(message);
  });

  it.each([
    ['null', 400, 'The body must be an object.'],
    ['"x"', 400, 'The body must be an object.'],
    ['[]', 400, 'The body must be an object.'],
    ['{"__proto__":{"dryRun":true}}', 400, 'The body must not contain a member __proto__.'],
    ['{', 400, 'The body is not valid for its Content-Type.'],
    ['', 400, 'action must be one of retry, cancel, delete.'],
    ['x'.repeat(2 ** 21 + 1), 413, 'The body is larger than 2 MiB, the limit of this route.'],
  ])('says what is wrong with the body %.30s', async (body, status, detail) => {
    const headers = { 'Content-Type': 'application/json' };
    const answer = await ask(`${api}/bulk`, { method: 'POST', headers, body });
    const stated = answer.json as { detail: string };
    expect([answer.status, stated.detail]).toEqual([status, detail]);
  });

  it('says that dryRun belongs in the body if it is a query parameter', async () => {
    expect((await post('/bulk?dryRun=true', { action: 'retry', ids: [] })).detail).toBe(
      'Unknown query parameter "dryRun". This route takes no query parameters. Members of its ' +
        'body: action, ids, filter, expect, dryRun, spread, reason.',
    );
  });

  it('changes at most 10,000 tasks per call, and returns how many remain', async () => {
    const waiting = tasks.define<[n: number]>('waiting');
    for (let part = 0; part < 11; part++)
      await waiting
        .with({ runIn: 86_400 })
        .enqueueMany(Array.from({ length: 1000 }, (_, n) => [n]));
    const filter = { name: 'waiting' };
    expect(await post('/bulk', { action: 'cancel', filter, dryRun: true })).toMatchObject({
      count: 11_000,
      countRelation: 'eq',
      remaining: 1000,
    });
    const first = await post('/bulk', { action: 'cancel', filter, expect: 11_000 });
    expect(first).toMatchObject({ dispatched: 10_000, skipped: 0, remaining: 1000 });
    expect(
      await post('/bulk', { action: 'cancel', filter, expect: first.remaining }),
    ).toMatchObject({ dispatched: 1000, remaining: 0 });
    const before = new Date(Date.now() + 86_400_000).toISOString();
    const deleted = await ask(`${api}/history?before=${before}`, { method: 'DELETE' });
    expect(deleted.json).toEqual({ deleted: 10_000, more: true });
    expect((await ask(`${api}/history?before=${before}`, { method: 'DELETE' })).json).toEqual({
      deleted: 1000,
      more: false,
    });
  });
});
