import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import mount from 'koa-mount';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { TaskManager, taskAdmin, taskContext, taskLog } from '../../src/index.js';
import { accessibilityFaults, startBrowser } from '../helpers/browser.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

let browser: Browser;
let context: BrowserContext;
let page: Page;
let served: Served;
let tasks: TaskManager;
let complaints: string[];
let healthy = false;
let release = (): void => {};

const users = [
  ['admin', cheapHash(password)],
  ['vera', cheapHash('three'), { roles: ['viewer'] }],
] as const;

async function start(): Promise<void> {
  tasks = new TaskManager({ database: ':memory:', logger: false });
  const app = new Koa();
  app.use(taskAdmin(tasks, { auth: users, secretKey, title: 'Test shop', displayFuncArgs: true, logger: false }));
  served = await serve(app);
  await tasks.start();
}

async function signIn(username = 'admin', pass = password, path = '/tasks/dashboard'): Promise<void> {
  await page.goto(served.url + path);
  await page.fill('#username', username);
  await page.fill('#password', pass);
  await page.click('button[type=submit]');
  await page.waitForSelector('.connection.live');
}

const row = (name: string) => page.locator('tbody tr', { hasText: name });

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  await start();
  context = await browser.newContext();
  page = await context.newPage();
  page.setDefaultTimeout(8000);
  complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
});
afterEach(async () => {
  await context.close();
  await Promise.all([served.close(), tasks.stop({ timeout: 0.1 })]);
});

describe('the dashboard in a browser', () => {
  it('shows the login first, and then the very address that was asked for', async () => {
    await page.goto(`${served.url}/tasks/dashboard?status=failed`);
    expect(await page.title()).toBe('Sign in · Test shop');
    await page.fill('#username', 'admin');
    await page.fill('#password', 'wrong');
    await page.click('button[type=submit]');
    expect(await page.textContent('[role=alert]')).toBe('Invalid username or password.');
    expect(await page.inputValue('#username')).toBe('admin');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.waitForURL(`${served.url}/tasks/dashboard?status=failed`);
    await page.waitForSelector('text=No task matches these filters.');
  });

  it('logs in without JavaScript', async () => {
    const plain = await browser.newContext({ javaScriptEnabled: false });
    const quiet = await plain.newPage();
    await quiet.goto(`${served.url}/tasks/dashboard`);
    await quiet.fill('#username', 'admin');
    await quiet.fill('#password', password);
    await quiet.click('button[type=submit]');
    expect(quiet.url()).toBe(`${served.url}/tasks/dashboard`);
    await plain.close();
  });

  it('shows a task go from pending to success without a reload', async () => {
    const hold = tasks.task(
      'hold',
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    );
    await signIn();
    await page.evaluate(() => Object.assign(window, { untouched: true }));
    const blocked = tasks.define('wait_for_it');
    await blocked.enqueue();
    await row('wait_for_it').locator('.badge.pending').waitFor();
    blocked.handle(() => {});
    await row('wait_for_it').locator('.badge.success').waitFor();
    await hold.enqueue();
    await row('hold').locator('.badge.running').waitFor();
    release();
    await row('hold').locator('.badge.success').waitFor();
    await page.locator('.card.success strong', { hasText: '2' }).waitFor();
    expect(await page.evaluate(() => (window as unknown as { untouched: boolean }).untouched)).toBe(true);
    expect(complaints).toEqual([]);
  });

  it('shows a live log, retries a failed task and cancels a running one', async () => {
    healthy = false;
    const flaky = tasks.task('flaky', (order: string) => {
      taskLog('charging', { order });
      if (!healthy) throw new RangeError('card was declined');
    });
    const endless = tasks.task('endless', async () => {
      const { signal } = taskContext();
      for (let line = 1; !signal.aborted; line++) {
        taskLog(`line ${line}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    });
    await signIn();
    await flaky.enqueue('A-1');
    await row('flaky').locator('a').click();
    await page.locator('.detail .error-box', { hasText: 'card was declined' }).waitFor();
    expect(page.url()).toContain('task=');
    await page.locator('.detail', { hasText: '"A-1"' }).waitFor();
    healthy = true;
    await page.locator('.detail').getByRole('button', { name: 'Retry' }).click();
    await page.locator('.detail h2 .badge.success').waitFor();
    await page.locator('.detail .attempts li', { hasText: 'failed' }).waitFor();

    await endless.enqueue();
    await row('endless').locator('a').click();
    await page.locator('.log li', { hasText: 'line 5' }).waitFor();
    await page.locator('.detail').getByRole('button', { name: 'Cancel' }).click();
    await page.locator('.detail h2 .badge.cancelled').waitFor();
    await row('endless').locator('.badge.cancelled').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.detail').waitFor({ state: 'detached' });
    expect(complaints).toEqual([]);
  });

  it('filters by state and function, in the address', async () => {
    const good = tasks.task('good', () => 1);
    const bad = tasks.task('bad', () => {
      throw new Error('x');
    });
    for (let n = 0; n < 3; n++) await Promise.all([good.enqueue(), bad.enqueue()]);
    await waitFor(async () => (await tasks.aggregate('pulse')).counts.failed === 3);
    await signIn();
    await page.locator('.card.failed').click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
    expect(page.url()).toBe(`${served.url}/tasks/dashboard?status=failed`);
    await page.getByLabel('Function').selectOption('good');
    await page.waitForSelector('text=No task matches these filters.');
    await page.goBack();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
    await page.reload();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 6);
  });

  it('pages through more tasks than fit', async () => {
    await tasks.define<[n: number]>('many').enqueueMany(Array.from({ length: 120 }, (_, n) => [n]));
    await signIn();
    const first = await page.locator('tbody tr').first().getAttribute('data-task');
    expect(await page.locator('tbody tr').count()).toBe(50);
    await page.getByRole('button', { name: 'older' }).click();
    await page.waitForFunction((id) => document.querySelector('tbody tr')?.getAttribute('data-task') !== id, first);
    await page.getByRole('button', { name: 'older' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 20);
    await page.getByRole('button', { name: 'newest' }).click();
    await page.waitForFunction((id) => document.querySelector('tbody tr')?.getAttribute('data-task') === id, first);
  });

  it('shows a viewer no button that would be refused', async () => {
    await tasks
      .task('bad', () => {
        throw new Error('x');
      })
      .enqueue();
    await signIn('vera', 'three');
    await row('bad').locator('a').click();
    await page.locator('.detail .error-box').waitFor();
    expect(await page.locator('.detail').getByRole('button', { name: 'Retry' }).count()).toBe(0);
  });

  it('signs out to the login page, and says so in another window', async () => {
    await signIn();
    const other = await context.newPage();
    await other.goto(`${served.url}/tasks/dashboard`);
    await other.waitForSelector('.connection.live');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${served.url}/tasks/auth/login`);
    // What stays says that this browser has logged in before, and opens nothing.
    expect((await context.cookies()).map(({ name }) => name)).toEqual(['taskflow_token_device']);
    // Nothing that was seen is kept: Back asks again, and nobody is nobody.
    await page.goBack();
    await page.waitForSelector('#password');
    await other.getByText('Your session has ended').waitFor();
    await other.getByRole('button', { name: 'Sign in' }).click();
    await other.waitForSelector('#password');
  });

  it('finds back to a server that was away', async () => {
    await signIn();
    const { port } = new URL(served.url);
    const { server } = served;
    await served.close();
    await page.waitForSelector('.connection.offline');
    await tasks.define('while_away').enqueue();
    await new Promise<void>((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
    await row('while_away').waitFor({ timeout: 15_000 });
    await page.waitForSelector('.connection.live');
  });

  it('keeps the theme that was chosen, on the login page too', async () => {
    await signIn();
    await page.getByRole('button', { name: 'Theme: system' }).click();
    await page.getByRole('button', { name: 'Theme: light' }).click();
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark');
    await page.reload();
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(13, 17, 23)');
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForSelector('#password');
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark');
  });

  it.each([
    ['/admin/jobs', '/shop'],
    ['/', undefined],
    ['/', '/jobs'],
  ] as const)('works at %s, mounted at %s', async (path, mounted) => {
    const admin = taskAdmin(tasks, { path, auth: users, secretKey, logger: false });
    const app = new Koa();
    app.use(mounted ? mount(mounted, admin) : admin);
    const other = await serve(app);
    try {
      const prefix = `${mounted ?? ''}${path === '/' ? '' : path}`;
      await tasks
        .task('bad', () => {
          throw new Error('declined');
        })
        .enqueue();
      await page.goto(`${other.url}${prefix}/dashboard?status=failed`);
      await page.fill('#username', 'admin');
      await page.fill('#password', password);
      await page.click('button[type=submit]');
      await page.waitForSelector('.connection.live');
      await row('bad').locator('a').click();
      await page.locator('.detail .error-box', { hasText: 'declined' }).waitFor();
      await page.getByRole('button', { name: 'Clear filters' }).click();
      await row('bad').waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(`${other.url}${prefix}/auth/login`);
      expect(complaints).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('shows hostile text as text', async () => {
    const hostile = '<img src=x onerror="document.title=1">\u202e';
    await tasks
      .task('hostile', (text: string) => {
        taskLog(text);
        throw new Error(text);
      })
      .enqueue(hostile);
    await signIn();
    await row('hostile').locator('a').click();
    await page.locator('.detail .error-box', { hasText: 'onerror' }).waitFor();
    expect(await page.locator('main img').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 390],
    ['light', 320],
  ] as const)('has no fault that axe finds, in %s at %i pixels, and never scrolls sideways', async (colorScheme, width) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 800 });
    const bad = tasks.task('bad', () => {
      taskLog('x');
      throw new Error('a rather long message of an error, to see where it ends '.repeat(4));
    });
    const flaky = tasks.task(
      'flaky_with_a_rather_long_name_of_its_own',
      () => {
        throw new Error('x');
      },
      { retries: 1 },
    );
    await Promise.all([bad.enqueue(), flaky.enqueue(), tasks.task('good', () => ({ a: 1 })).enqueue(), tasks.define('never').enqueue()]);
    const sideways = () =>
      page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        const wide = [...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > clientWidth);
        return scrollWidth > clientWidth ? wide.map((element) => element.outerHTML.slice(0, 80)) : [];
      });
    await page.goto(`${served.url}/tasks/dashboard`);
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await sideways()).toEqual([]);
    await signIn();
    await row('good').locator('.badge.success').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await sideways()).toEqual([]);
    await row('bad').locator('a').click();
    await page.locator('.detail .error-box').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await sideways()).toEqual([]);
    expect(complaints).toEqual([]);
  });

  it('asks nothing of another host, and little of its own', async () => {
    await tasks.task('good', () => 1).enqueue();
    await signIn();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    let bytes = 0;
    page.on('response', async (response) => {
      if (/\.(js|css)$/.test(response.url())) bytes += Number(response.headers()['content-length'] ?? 0);
    });
    await page.reload();
    await row('good').waitFor();
    expect(asked.filter((url) => !url.startsWith(served.url))).toEqual([]);
    expect(asked.filter((url) => !url.endsWith('.svg')).length).toBeLessThanOrEqual(6);
    expect(bytes).toBeLessThan(48 * 1024);
  });
});
