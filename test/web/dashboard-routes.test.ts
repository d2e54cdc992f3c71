import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import {
  type DashboardFacts,
  type DashboardOptions,
  dashboardRoutes,
} from '../../src/web/dashboard-routes.js';
import { ask } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';
import { sleep } from '../helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false });
let served: Served | undefined;

async function appWith(options: DashboardOptions = {}): Promise<string> {
  const app = new Koa();
  app.use(dashboardRoutes(tasks, { logger: false, ...options }));
  app.use((ctx) => {
    ctx.body = 'elsewhere';
  });
  served = await serve(app);
  return served.url;
}

describe('dashboardRoutes', () => {
  afterEach(() => served?.close());
  afterAll(() => tasks.stop());

  it('serves only the page and its assets, and passes on all other requests', async () => {
    const url = await appWith();
    const page = await ask(`${url}/tasks/dashboard`);
    expect(page.status).toBe(200);
    expect(page.headers.get('Content-Security-Policy')).toContain(
      "default-src 'none'; script-src 'self'",
    );
    expect(page.headers.get('Cache-Control')).toBe('no-store');
    expect(page.text).not.toMatch(/<script(?![^>]* (src|type="application\/json"))|style=|onclick/);
    for (const [, path] of page.text.matchAll(/(?:href|src)="([^"]+)"/g)) {
      const asset = await ask(url + path);
      expect([path, asset.status, asset.headers.get('Cache-Control')]).toEqual([
        path,
        200,
        'public, max-age=31536000, immutable',
      ]);
    }
    for (const path of [
      '/',
      '/tasks',
      '/tasks/metrics',
      '/tasks/dashboard/',
      '/tasks/dashboard/stream',
    ])
      expect((await ask(url + path)).text).toBe('elsewhere');
  });

  it('logs no error if a browser disconnects during a download', async () => {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on('error', (error) => errors.push(error));
    app.use(dashboardRoutes(tasks, { logger: false }));
    const { url, close } = await serve(app);
    const script = /src="([^"]+)"/.exec((await ask(`${url}/tasks/dashboard`)).text)?.[1];
    for (let n = 0; n < 50; n++) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      await once(socket, 'connect');
      socket.write(`GET ${script} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await sleep(n / 10_000);
      socket.destroy();
    }
    await close();
    expect(errors).toEqual([]);
  });

  it('redirects anonymous requests to the login, or answers 401 if there is none', async () => {
    const anonymous = { who: () => undefined };
    const withLogin = await appWith({ access: { ...anonymous, loginUrl: () => '/sign-in' } });
    expect((await ask(`${withLogin}/tasks/dashboard`)).headers.get('Location')).toBe('/sign-in');
    await served?.close();
    const without = await appWith({ access: anonymous });
    const answer = await ask(`${without}/tasks/dashboard`);
    expect([answer.status, answer.headers.get('Content-Type')]).toEqual([
      401,
      'text/html; charset=utf-8',
    ]);
  });

  it('uses the chosen theme', async () => {
    const url = await appWith();
    expect(
      (await ask(`${url}/tasks/dashboard`, { headers: { Cookie: 'tf_theme=dark' } })).text,
    ).toContain('<html lang="en" data-theme="dark">');
    expect(
      (await ask(`${url}/tasks/dashboard`, { headers: { Cookie: 'tf_theme="><script>' } })).text,
    ).toContain('<html lang="en">');
  });

  it('includes the tasks that the URL lists, as the API returns them', async () => {
    const mail = tasks.task('mail', () => {});
    await tasks.start({ run: false });
    await mail.with({ tags: { tenant: '7' } }).enqueue();
    await mail.enqueue();
    const url = await appWith();
    const listOf = async (query: string) => {
      const [, facts = ''] =
        /id="facts">(.+)<\/script>/.exec((await ask(`${url}/tasks/dashboard${query}`)).text) ?? [];
      return (JSON.parse(facts) as DashboardFacts).list;
    };
    expect(await listOf('')).toMatchObject({ total: 2, nextCursor: null });
    expect(await listOf('?view=tasks&tag=tenant:7&tz=UTC&task=x')).toMatchObject({
      total: 1,
      items: [{ tags: { tenant: '7' } }],
    });
    expect(await listOf('?view=failures')).toBeNull();
    // The page itself shows the error in the query.
    expect(await listOf('?view=tasks&status=broken')).toBeNull();
  });

  it.each([
    'logo.png',
    '//evil.example/x.png',
    'https://evil.example/x.png',
    'javascript:alert(1)',
    'data:text/html,x',
  ])('rejects the logo %s', (logo) => {
    expect(() => dashboardRoutes(tasks, { logo, logger: false })).toThrow(/logo/);
  });
});
