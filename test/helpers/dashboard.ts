import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import Koa from 'koa';
import type {
  Browser,
  BrowserContext,
  BrowserContextOptions,
  Locator,
  Page,
} from 'playwright-core';
import { bullmqEngine } from '../../src/engines/bullmq/engine.js';
import {
  type EmbeddedManagerOptions,
  TaskManager,
  type TaskManagerOptions,
  taskAdmin,
} from '../../src/index.js';
import { startBrowser } from './browser.js';
import { cheapHash, password, secretKey } from './passwords.js';
import { RedisServer } from './redis.js';
import { type Served, serve } from './serve.js';
import { pageTimeout } from './wait.js';

/** An administrator and a viewer. */
export const users = [
  ['admin', cheapHash(password)],
  ['vera', cheapHash('three'), { roles: ['viewer'] }],
] as const;

/** The parts of a dashboard test: a server, its tasks, and a page in a browser. */
export class Dashboard {
  browser!: Browser;
  context!: BrowserContext;
  page!: Page;
  tasks!: TaskManager;
  served!: Served;
  /** Errors and warnings of the console, and reports of the Content-Security-Policy. */
  complaints: string[] = [];

  get url(): string {
    return `${this.served.url}/tasks/dashboard`;
  }

  async start(options: TaskManagerOptions, displayFuncArgs: boolean): Promise<void> {
    this.tasks = new TaskManager({ logger: false, ...options });
    const app = new Koa();
    app.use(
      taskAdmin(this.tasks, {
        auth: users,
        secretKey,
        title: 'Test shop',
        displayFuncArgs,
        logger: false,
      }),
    );
    this.served = await serve(app);
    await this.tasks.start();
  }

  async open(options: BrowserContextOptions = {}): Promise<Page> {
    this.context = await this.browser.newContext(options);
    this.page = await this.newPage();
    return this.page;
  }

  async newPage(context = this.context): Promise<Page> {
    const page = await context.newPage();
    page.setDefaultTimeout(pageTimeout);
    page.on('console', (message) => {
      // The browser logs failed requests and lost connections itself. Some tests cause them on
      // purpose.
      if (
        (message.type() === 'error' || message.type() === 'warning') &&
        !message.text().startsWith('Failed to load resource')
      )
        this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(error.message));
    return page;
  }

  /**
   * Waits until the page has loaded completely: without placeholders and without lists that are
   * still loading.
   */
  async settled(page = this.page): Promise<void> {
    await page.waitForFunction(() => !document.querySelector('.skeleton, [aria-busy=true]'));
  }

  /** Signs in and waits for the requested page. */
  async signIn(
    search = '',
    { page = this.page, username = 'admin', pass = password } = {},
  ): Promise<void> {
    await page.goto(this.url + search);
    await page.fill('#username', username);
    await page.fill('#password', pass);
    await page.click('button[type=submit]');
    await page.waitForSelector('.connection.live');
    await this.settled(page);
  }

  /** Opens another URL of the dashboard with the same session. */
  async visit(search: string): Promise<void> {
    await this.page.goto(this.url + search);
    await this.page.waitForSelector('.connection.live');
    await this.settled();
  }

  /** Opens another URL of the dashboard as its links do, without loading the page again. */
  async follow(search: string): Promise<void> {
    await this.page.evaluate(async (url) => {
      history.pushState(null, '', url);
      window.dispatchEvent(new PopStateEvent('popstate'));
      const viewOf = ({ search }: URL | Location | HTMLAnchorElement) =>
        new URLSearchParams(search).get('view') ?? 'overview';
      const current = () => document.querySelector<HTMLAnchorElement>('nav a[aria-current=page]');
      for (let link = current(); !link || viewOf(link) !== viewOf(location); link = current())
        await new Promise(requestAnimationFrame);
    }, this.url + search);
    await this.settled();
  }

  row(name: string): Locator {
    return this.page.locator('tr[data-task]', { hasText: name });
  }

  get rows(): Locator {
    return this.page.locator('tr[data-task]');
  }

  get panel(): Locator {
    return this.page.locator('.panel');
  }

  /** Waits until the first row shows a certain function. */
  async becomes(name: string): Promise<void> {
    await this.page.waitForFunction(
      (wanted) => document.querySelector('tr[data-task] a')?.textContent === wanted,
      name,
    );
  }

  /** Waits until the list matches its URL and has this number of rows. */
  async hasRows(n: number, page = this.page): Promise<void> {
    await page.waitForFunction(
      (wanted) =>
        document.querySelector('.list-top')?.ariaBusy === 'false' &&
        document.querySelectorAll('tr[data-task]').length === wanted,
      n,
    );
  }

  /** Returns the ids of the listed tasks in their order after the list has loaded. */
  async shownIds(page = this.page): Promise<string[]> {
    await page.locator('.list-top[aria-busy=false]').waitFor();
    return page
      .locator('tr[data-task]')
      .evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.task ?? ''));
  }
}

/** Makes a dashboard for each test of a file, in one browser. */
export function useDashboard(
  options: Omit<
    EmbeddedManagerOptions,
    'retentionDays' | 'retentionCount' | 'stats' | 'pollInterval'
  > = { database: ':memory:' },
  displayFuncArgs = true,
): Dashboard {
  const dashboard = new Dashboard();
  // A test file that is imported by another one runs on the engine that the other one selects.
  const onRedis = process.env.TEST_ENGINE === 'bullmq';
  let redis: RedisServer | undefined;
  let runs = 0;
  const place = (): TaskManagerOptions => {
    if (!redis) return options;
    const { database: _, ...others } = options;
    runs += 1;
    return {
      ...others,
      engine: bullmqEngine({
        connection: redis.connection,
        prefix: `dashboard-${runs}`,
        logger: false,
      }),
    };
  };
  beforeAll(async () => {
    dashboard.browser = await startBrowser();
    if (onRedis) redis = await RedisServer.start();
  });
  afterAll(() => Promise.all([dashboard.browser.close(), redis?.remove()]));
  beforeEach(async () => {
    dashboard.complaints = [];
    await dashboard.start(place(), displayFuncArgs);
    await dashboard.open();
  });
  afterEach(async () => {
    await dashboard.context.close();
    await Promise.all([dashboard.served.close(), dashboard.tasks.stop({ timeout: 0.1 })]);
  });
  return dashboard;
}
