import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { ask } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false, concurrency: 7 });
const add = tasks.task('add', (a: number, b: number) => a + b, {
  queue: 'sums',
  retries: 2,
  timeout: 5,
  backoff: (n) => n,
  tags: { of: 'x' },
});
const fail = tasks.task('fail "hard"\\', (order: number) => {
  throw new RangeError(`order ${order} is too large`);
});
const elsewhere = tasks.define('elsewhere');
tasks.schedule('nightly', add, { cron: '0 3 * * *', timezone: 'Europe/Berlin', args: [1, 2] });
tasks.schedule('often', add, { every: 600, args: [1, 2] });
let served: Served;
let api: string;
const get = async <T>(path: string, headers: Record<string, string> = {}) => {
  const { status, json, text, headers: given } = await ask(api + path, { headers });
  return { status, body: json as T & { code?: string }, text, headers: given };
};

beforeAll(async () => {
  const app = new Koa();
  app.use(taskRoutes(tasks, { logger: false }));
  served = await serve(app);
  api = `${served.url}/tasks`;
  await tasks.start();
  await add.enqueueMany([
    [1, 2],
    [3, 4],
  ]);
  await fail.enqueueMany([[1], [22], [333]]);
  await elsewhere.enqueue();
  await tasks.control({ action: 'pause', queue: 'slow' }, { actor: 'test' });
  await waitFor(
    async () => (await tasks.find({ limit: 1, status: ['success', 'failed'] })).total === 5,
  );
});
afterAll(async () => {
  await Promise.all([served.close(), tasks.stop()]);
});

describe('GET P/functions', () => {
  it('lists functions with settings and statistics, even without a handler', async () => {
    const { body } = await get<{
      items: { name: string; settings: object; counts: object; successRate: number }[];
    }>('/functions');
    expect(body.items.map(({ name }) => name)).toEqual(['add', 'elsewhere', 'fail "hard"\\']);
    expect(body.items[0]).toMatchObject({
      settings: {
        handled: true,
        queue: 'sums',
        retries: 2,
        timeout: 5,
        backoff: 'function',
        concurrency: null,
        tags: { of: 'x' },
      },
      counts: { success: 2 },
      successRate: 1,
    });
    expect(body.items[1]).toMatchObject({
      settings: { handled: false, backoff: 1 },
      counts: { pending: 1 },
      successRate: null,
    });
    expect(body.items[2]).toMatchObject({ counts: { failed: 3 }, successRate: 0 });
    const past = await get<{ items: { counts: object }[] }>('/functions?from=-2d&to=-1d');
    expect(past.body.items[0]).toMatchObject({ counts: { success: 0 } });
  });
});

describe('GET P/queues', () => {
  it('lists each queue with its state and statistics', async () => {
    const { body } = await get<{ items: object[] }>('/queues');
    expect(body.items).toMatchObject([
      {
        name: 'default',
        paused: false,
        pause: null,
        oldestReadyAt: expect.any(String),
        counts: { failed: 3, pending: 1 },
      },
      {
        name: 'slow',
        paused: true,
        oldestReadyAt: null,
        counts: { pending: 0 },
        successRate: null,
      },
      { name: 'sums', paused: false, counts: { success: 2 } },
    ]);
  });
});

describe('GET P/schedules', () => {
  it('lists the next five runs of each schedule, in its own time zone', async () => {
    const { body } = await get<{
      items: { name: string; rule: string; nextRunAt: string; nextRuns: string[] }[];
    }>('/schedules');
    const [nightly, often] = body.items;
    expect(nightly).toMatchObject({
      name: 'nightly',
      task: 'add',
      rule: '0 3 * * * Europe/Berlin',
      paused: false,
      lastRunAt: null,
    });
    const hours = nightly?.nextRuns.map((at) =>
      new Date(at).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin' }),
    );
    expect(hours).toEqual(Array(5).fill('03:00:00'));
    const times = often?.nextRuns.map((at) => Date.parse(at)) ?? [];
    expect(times[0]).toBe(Date.parse(often?.nextRunAt ?? ''));
    expect(times.map((time) => time - (times[0] ?? 0))).toEqual([
      0, 600_000, 1_200_000, 1_800_000, 2_400_000,
    ]);
  });
});

describe('GET P/workers', () => {
  it('lists the processes', async () => {
    const { body } = await get<{ items: object[] }>('/workers');
    expect(body.items).toMatchObject([
      { pid: process.pid, slots: 7, running: 0, stuck: 0, stuckAttempts: [] },
    ]);
  });
});

describe('GET P/failures', () => {
  it('groups failures that differ only in numbers, with times and counts', async () => {
    const { body } = await get<{
      items: { fingerprint: string; trend: number[] }[];
      nextCursor: null;
    }>('/failures');
    expect(body.items).toMatchObject([
      { name: 'fail "hard"\\', error: { name: 'RangeError' }, count: 3, failed: 3 },
    ]);
    expect(body.nextCursor).toBeNull();
    const list = await get<{ total: number }>(`?fingerprint=${body.items[0]?.fingerprint}`);
    expect(list.body.total).toBe(3);
    expect((await get<{ items: [] }>('/failures?name=add')).body.items).toEqual([]);
    expect((await get<{ items: [] }>('/failures?from=2999-01-01')).body.items).toEqual([]);
    expect((await get('/failures?cursor=abc')).body.code).toBe('INVALID_CURSOR');
    const { nextCursor } = (await get<{ nextCursor: string }>('?limit=1')).body;
    expect((await get(`/failures?cursor=${nextCursor}`)).body.code).toBe('INVALID_CURSOR');
  });
});

describe('GET P/metrics/prometheus', () => {
  it('writes every statistic as a line for Prometheus, with names escaped', async () => {
    const { text, headers } = await get('/metrics/prometheus');
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toContain('koa_taskflow_tasks{function="add",status="success"} 2\n');
    expect(text).toContain(
      'koa_taskflow_ended_total{function="fail \\"hard\\"\\\\",status="failed"} 3\n',
    );
    expect(text).toContain('koa_taskflow_queue_tasks{queue="default",status="pending"} 1\n');
    expect(text).toContain('koa_taskflow_queue_paused{queue="slow"} 1\n');
    expect(text).toContain(
      'koa_taskflow_attempt_duration_seconds_bucket{function="add",le="+Inf"} 2\n',
    );
    expect(text).toContain('koa_taskflow_attempt_duration_seconds_count{function="add"} 2\n');
    expect(text).toContain('koa_taskflow_worker_slots 7\n');
    expect(text).toContain('koa_taskflow_worker_slots_stuck 0\n');
    const families = new Set<string>();
    for (const line of text.trimEnd().split('\n')) {
      const [, kind, family = ''] = /^# (HELP|TYPE) (\w+) /.exec(line) ?? [];
      if (kind === 'TYPE') families.add(family);
      else if (kind === undefined)
        expect(line).toMatch(
          /^koa_taskflow_\w+(\{(\w+="([^"\\\n]|\\["\\n])*",?)+\})? -?\d+(\.\d+)?(e[+-]?\d+)?$/,
        );
    }
    expect(families.size).toBe(8);
  });

  it('follows the rules that promtool checks', async () => {
    const { text } = await get('/metrics/prometheus');
    const seen = new Set<string>();
    const blocks = text.split(/^(?=# HELP )/m);
    for (const block of blocks) {
      const [help, type, ...samples] = block.trimEnd().split('\n');
      const name = /^# HELP (koa_taskflow_[a-z_]+) \S/.exec(help ?? '')?.[1] ?? '';
      const kind = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(type ?? '');
      expect([name, kind?.[1], seen.has(name)]).toEqual([name, name, false]);
      seen.add(name);
      expect([name, /_total$/.test(name)]).toEqual([name, kind?.[2] === 'counter']);
      const keys = samples.map((sample) => sample.slice(0, sample.lastIndexOf(' ')));
      expect(new Set(keys).size).toBe(keys.length);
      if (kind?.[2] !== 'histogram') {
        for (const key of keys) expect(key.replace(/\{.*/, '')).toBe(name);
        expect(block).not.toMatch(/[{,](le|quantile)="/);
        continue;
      }
      const histograms = new Map<
        string,
        { bounds: number[]; counts: number[]; rest: Record<string, number> }
      >();
      for (const sample of samples) {
        const [, suffix = '', labels = '', value = ''] =
          /^[a-z_]+_(bucket|sum|count)\{(.*)\} (\S+)$/.exec(sample) ?? [];
        const of = labels.replace(/,?le="[^"]*"$/, '');
        const histogram = histograms.get(of) ?? { bounds: [], counts: [], rest: {} };
        histograms.set(of, histogram);
        if (suffix !== 'bucket') histogram.rest[suffix] = Number(value);
        else {
          histogram.bounds.push(
            Number((/le="([^"]*)"$/.exec(labels)?.[1] ?? '').replace('+Inf', 'Infinity')),
          );
          histogram.counts.push(Number(value));
        }
      }
      expect(histograms.size).toBeGreaterThan(1);
      for (const { bounds, counts, rest } of histograms.values()) {
        expect(bounds).toEqual([...bounds].sort((a, b) => a - b));
        expect(counts).toEqual([...counts].sort((a, b) => a - b));
        expect(bounds.at(-1)).toBe(Number.POSITIVE_INFINITY);
        expect(rest).toEqual({ sum: expect.any(Number), count: counts.at(-1) });
      }
    }
  });
});

describe('a request', () => {
  it.each([
    ['', 'text/html', 406],
    ['', 'text/html, */*;q=0.1', 200],
    ['', 'application/*', 200],
    ['', 'application/json;q=0', 406],
    [
      '/metrics/prometheus',
      'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5',
      200,
    ],
    ['/metrics/prometheus', 'application/json', 406],
    ['/export?format=csv', 'text/csv', 200],
    ['/export?format=csv', 'image/png', 406],
    ['/openapi.json', 'application/json', 200],
  ])('for %s that accepts %s gets %i', async (path, accept, status) => {
    const answer = await get(path, { Accept: accept });
    expect(answer.status).toBe(status);
    if (status === 406) expect(answer.body.code).toBe('NOT_ACCEPTABLE');
  });

  it.each([
    '/functions',
    '/queues',
    '/schedules',
    '/workers',
    '/failures',
    '/metrics',
    '/metrics/prometheus',
    '/openapi.json',
    '/health',
    '',
  ])('with HEAD for %s gets the headers of GET and no body', async (path) => {
    const [head, whole] = [await ask(api + path, { method: 'HEAD' }), await ask(api + path)];
    expect([head.status, head.text]).toEqual([whole.status, '']);
    expect(head.headers.get('content-type')).toBe(whole.headers.get('content-type'));
  });

  it.each([
    '/functions?x=1',
    '/schedules?from=-6h',
    '/workers?a',
    '/openapi.json?v=2',
    '/metrics/prometheus?step=60',
  ])('for %s is rejected because of an unknown parameter', async (path) => {
    expect((await get(path)).body.code).toBe('INVALID_INPUT');
  });
});
