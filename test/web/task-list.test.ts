import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import type { TaskSummary } from '../../src/tasks/types.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { ask } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
const mail = tasks.task('mail', (_to: string) => 1);
const charge = tasks.task('charge', (card: string) => {
  throw new Error(`card ${card} was declined by the bank`);
});
let served: Served;
let ids: string[];

interface Page {
  items: TaskSummary[];
  nextCursor: string | null;
  total: number;
}

const get = (query: string) => ask(`${served.url}/tasks${query}`);
/** The numbers of the tasks that a query returns, in its order. */
const shown = async (query: string): Promise<number[]> =>
  ((await get(query)).json as Page).items.map(({ id }) => ids.indexOf(id));

beforeAll(async () => {
  const app = new Koa();
  app.use(taskRoutes(tasks, { logger: false }));
  served = await serve(app);
  await tasks.start();
  ids = [
    await mail.with({ tags: { tenant: '7', kind: 'a:b' } }).enqueue('ada'),
    await charge.with({ queue: 'money' }).enqueue('4111'),
    await mail.with({ queue: 'bulk', tags: { tenant: '8' }, runIn: 3600 }).enqueue('bob'),
    await charge.with({ queue: 'money' }).enqueue('4242'),
  ];
  await waitFor(
    async () => (await tasks.find({ limit: 1, status: ['success', 'failed'] })).total === 3,
  );
  await waitFor(async () => (await tasks.find({ limit: 1, q: 'declined' })).total === 2);
});
afterAll(async () => {
  await Promise.all([served.close(), tasks.stop()]);
});

describe('GET P with filters', () => {
  it.each<[string, number[]]>([
    ['?queue=money', [3, 1]],
    ['?queue=nowhere', []],
    ['?tag=tenant', [2, 0]],
    ['?tag=tenant:7', [0]],
    ['?tag=kind:a%3Ab', [0]],
    ['?tag=tenant&tag=kind', [0]],
    ['?q=declined', [3, 1]],
    ['?q=declined%20mail', []],
    ['?q=mail', [2, 0]],
    ['?q=%22%20OR%20*%20NEAR(', []],
    ['?status=failed&queue=money&q=bank', [3, 1]],
    ['?sort=createdAt', [0, 1, 2, 3]],
    ['?sort=name&queue=money', [1, 3]],
    ['?sort=-name', [2, 0, 3, 1]],
    ['?sort=status', [2, 0, 1, 3]],
    ['?from=-1h', [3, 2, 1, 0]],
    ['?to=-1h', []],
    ['?from=2030-01-01', []],
  ])('returns the matching tasks in the requested order for %s', async (query, expected) => {
    expect(await shown(query)).toEqual(expected);
  });

  it('finds a task by the beginning of its id', async () => {
    expect(await shown(`?q=${ids[2]}`)).toEqual([2]);
    expect((await shown(`?q=${ids[0]?.slice(0, 8)}`)).length).toBe(4);
  });

  it('finds the failures of one group', async () => {
    const kind = (await tasks.get(ids[1] ?? ''))?.fingerprint;
    expect(await shown(`?fingerprint=${kind}`)).toEqual([3, 1]);
  });

  it.each([
    '',
    '&sort=createdAt',
    '&sort=name',
    '&sort=-status',
    '&sort=duration',
    '&sort=-endedAt',
    '&sort=-startedAt',
    '&q=tenant%20mail',
  ])('continues with ?limit=1%s until each task was returned once', async (query) => {
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 10; page++) {
      const { items, nextCursor } = (await get(`?limit=1${query}${cursor}`)).json as Page;
      seen.push(...items.map(({ id }) => id));
      if (nextCursor === null) break;
      cursor = `&cursor=${nextCursor}`;
    }
    const all = ((await get(`?limit=500${query}`)).json as Page).items.map(({ id }) => id);
    expect(seen).toEqual(all);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it.each([
    ['?sort=args', /sort must be one of createdAt, /],
    ['?tag=:7', /tag must be a key, or key:value/],
    [
      `?${Array.from({ length: 11 }, (_, n) => `tag=k${n}`).join('&')}`,
      /tag may be given at most ten times/,
    ],
    ['?fingerprint=xyz', /fingerprint must be the 16 hexadecimal digits/],
    ['?q=', /q must be a string of 1 to 4,096 characters/],
    [`?q=${'a'.repeat(4097)}`, /q must be a string of 1 to 4,096 characters/],
    ['?queue=a&queue=b', /^queue is given 2 times/],
    ['?from=yesterday', /from must be a time such as/],
    ['?from=2026-02-31T25:00:00Z', /from must be a time such as/],
    ['?from=2026-11-03T14:00:00', /from must be a time such as/],
    ['?__proto__=1', /^Unknown query parameter "__proto__". Allowed: status, name, queue/],
    ['?constructor=1', /^Unknown query parameter "constructor"/],
    ['?limit=9999999999', /limit must be a whole number from 1 to 500/],
  ])('rejects %s with a message that names what is accepted', async (query, expected) => {
    const { status, json } = await get(query);
    expect([status, (json as { code: string }).code]).toEqual([400, 'INVALID_INPUT']);
    expect((json as { detail: string }).detail).toMatch(expected);
  });

  it('rejects a cursor of another order, of other filters, or a forged one', async () => {
    const { nextCursor } = (await get('?limit=1&sort=name')).json as Page;
    const made = Buffer.from(
      `${Buffer.from(nextCursor ?? '', 'base64url')
        .toString()
        .slice(0, 8)}.x:y:z`,
    ).toString('base64url');
    for (const query of [
      `?sort=-name&cursor=${nextCursor}`,
      `?cursor=${nextCursor}`,
      `?sort=name&queue=bulk&cursor=${nextCursor}`,
      `?sort=name&cursor=${made}`,
    ]) {
      const { status, json } = await get(query);
      expect([query, status, (json as { code: string }).code]).toEqual([
        query,
        400,
        'INVALID_CURSOR',
      ]);
    }
    expect((await get(`?sort=name&cursor=${nextCursor}`)).status).toBe(200);
  });

  it('lists the same tasks as the export', async () => {
    const { text } = await get('/export?format=ndjson&queue=money&sort=createdAt');
    const rows = text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as TaskSummary).id);
    expect(rows).toEqual([ids[1], ids[3]]);
  });
});
