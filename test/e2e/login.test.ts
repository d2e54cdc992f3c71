import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  jest,
} from '@jest/globals';
import Koa from 'koa';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import {
  createAuth,
  loginRoutes,
  multiUser,
  requireAuth,
  StrategyRegistry,
  sessionOf,
  sessionToken,
  staticUser,
} from '../../src/auth/index.js';
import { accessibilityFaults, startBrowser, submit } from '../helpers/browser.js';
import { ask, logIn } from '../helpers/client.js';
import { turnableClock } from '../helpers/clock.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';
import { pageTimeout } from '../helpers/wait.js';

let browser: Browser;
let context: BrowserContext;
let page: Page;
let served: Served;
let complaints: string[];

/** Starts an app with a page behind the login, and two strategies. */
async function start(): Promise<void> {
  const strategies = new StrategyRegistry()
    .register('team', multiUser([['alice', cheapHash(password)]]))
    .register('admin', staticUser('admin', cheapHash(password)));
  const auth = createAuth({
    strategies,
    secretKey,
    tokenExpiry: 3600,
    title: 'Shop',
    home: '/reports',
    logger: false,
    throttle: { floor: 0, pair: 3 },
  });
  const app = new Koa();
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use(requireAuth('redirect'));
  app.use((ctx) => {
    ctx.body = `Hello ${sessionOf(ctx).username} at ${ctx.url}`;
  });
  served = await serve(app);
}

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  await start();
  context = await browser.newContext();
  page = await context.newPage();
  page.setDefaultTimeout(pageTimeout);
  complaints = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Trusted/i.test(message.text())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
});
afterEach(async () => {
  expect(complaints).toEqual([]);
  jest.useRealTimers();
  await context.close();
  await served.close();
});

describe('the login page in a browser', () => {
  it('works with the keyboard alone and focuses the right field', async () => {
    // Chromium focuses a field with the first frame, after the load event.
    const focused = (id: string) =>
      page.waitForFunction((wanted) => document.activeElement?.id === wanted, id);
    await page.goto(`${served.url}/reports?from=1`);
    await focused('username');
    await page.keyboard.type('alice');
    await page.keyboard.press('Tab');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page.getByText('Invalid username or password.').waitFor();
    await page.waitForFunction(() => document.title === 'Error: Sign in · Shop');
    await focused('password');
    expect(await page.inputValue('#username')).toBe('alice');
    expect(await page.inputValue('#password')).toBe('');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await page.getByText('Hello alice at /reports?from=1').waitFor();
  });

  it('keeps the input after a failure without JavaScript, including the strategy', async () => {
    const plain = await browser.newContext({ javaScriptEnabled: false });
    const quiet = await plain.newPage();
    await quiet.goto(`${served.url}/deep/link?a=1&b="2"`);
    await quiet.fill('#username', 'alice');
    await quiet.fill('#password', 'wrong');
    await quiet.selectOption('#strategy', 'team');
    await submit(quiet);
    expect(await quiet.inputValue('#strategy')).toBe('team');
    await quiet.fill('#password', password);
    await quiet.click('button[type=submit]');
    await quiet.getByText('Hello alice at /deep/link?a=1&b=%222%22', { exact: true }).waitFor();
    await plain.close();
  });

  it('names its fields for password managers', async () => {
    await page.goto(`${served.url}/tasks/auth/login`);
    const fields = await page.$$eval('input', (inputs) =>
      inputs.map(({ id, type, autocomplete }) => [id, type, autocomplete]),
    );
    expect(fields).toEqual([
      ['username', 'text', 'username'],
      ['password', 'password', 'current-password'],
    ]);
  });

  it('shows the wait after too many failures, but not to a familiar browser', async () => {
    await page.goto(`${served.url}/tasks/auth/login`);
    await page.fill('#username', 'alice');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.getByText('Hello alice').waitFor();
    await context.clearCookies({ name: 'taskflow_token' });
    const stranger = await browser.newContext();
    const other = await stranger.newPage();
    await other.goto(`${served.url}/tasks/auth/login`);
    for (let n = 0; n < 4; n++) {
      await other.fill('#username', 'alice');
      await other.fill('#password', 'guess');
      await submit(other);
    }
    await other.getByText(/Too many attempts\. Try again in \d+ seconds?\./).waitFor();
    await stranger.close();
    await page.goto(`${served.url}/reports`);
    await page.fill('#username', 'alice');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.getByText('Hello alice at /reports').waitFor();
  });

  it('states that a session has expired, but not after a logout', async () => {
    await served.close();
    const clock = turnableClock();
    await start();
    const enter = async (): Promise<void> => {
      await page.goto(`${served.url}/reports`);
      await page.fill('#username', 'alice');
      await page.fill('#password', password);
      await page.click('button[type=submit]');
      await page.getByText('Hello alice').waitFor();
    };
    /** Moves the clock beyond the end of the session, when the browser drops its cookie. */
    const expire = async (): Promise<void> => {
      clock.pass(3601);
      await context.clearCookies({ name: 'taskflow_token' });
    };
    await enter();
    await expire();
    await page.goto(`${served.url}/reports`);
    await page.getByText('Your session has expired. Sign in again to continue.').waitFor();
    await enter();
    await page.goto(`${served.url}/tasks/auth/logout`);
    await expire();
    await page.goto(`${served.url}/reports`);
    await page.locator('#username').waitFor();
    expect(await page.locator('.notice').count()).toBe(0);
  });

  it('states that a session was ended elsewhere', async () => {
    await page.goto(`${served.url}/reports`);
    await page.fill('#username', 'alice');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.getByText('Hello alice').waitFor();
    const session = await logIn(`${served.url}/tasks`, 'alice', password);
    await ask(`${served.url}/tasks/auth/sessions`, { method: 'DELETE', headers: session });
    await page.goto(`${served.url}/reports`);
    await page.getByText('Your session was ended. Sign in again to continue.').waitFor();
  });

  it('leaves no session cookie after a logout', async () => {
    await page.goto(`${served.url}/reports`);
    await page.fill('#username', 'alice');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.getByText('Hello alice').waitFor();
    await page.goto(`${served.url}/tasks/auth/logout`);
    expect((await context.cookies()).map(({ name, httpOnly }) => [name, httpOnly])).toEqual([
      ['taskflow_token_device', true],
    ]);
  });

  it('rejects the form of another site, also over plain HTTP', async () => {
    const foreign = new Koa();
    foreign.use((ctx) => {
      ctx.type = 'html';
      ctx.body =
        `<form method="post" action="${served.url}/tasks/auth/login"><input name="username" ` +
        'value="alice"><input name="password" value="x"><button>go</button></form>';
    });
    const evil = await serve(foreign);
    await page.goto(evil.url.replace('127.0.0.1', 'localhost'));
    await page.click('button');
    await page.getByText('Request from another site').first().waitFor();
    expect(await context.cookies()).toEqual([]);
    await evil.close();
  });

  it.each<[string, 'light' | 'dark', number]>([
    ['light at 1280 pixels', 'light', 1280],
    ['dark at 1280 pixels', 'dark', 1280],
    ['light at 320 pixels', 'light', 320],
    ['dark at 320 pixels', 'dark', 320],
  ])(
    'has no accessibility errors and no horizontal scrolling, in %s',
    async (_case, colorScheme, width) => {
      await page.setViewportSize({ width, height: 700 });
      await page.emulateMedia({ colorScheme });
      await page.goto(`${served.url}/tasks/auth/login`);
      expect(await accessibilityFaults(page)).toEqual([]);
      await page.fill('#username', 'a'.repeat(256));
      await page.fill('#password', 'wrong');
      await page.click('button[type=submit]');
      await page.locator('.error').waitFor();
      expect(await accessibilityFaults(page)).toEqual([]);
      expect(
        await page.evaluate(
          () => document.documentElement.scrollWidth <= document.documentElement.clientWidth,
        ),
      ).toBe(true);
    },
  );

  it('shows the password on demand, the state of Caps Lock, and a countdown', async () => {
    await page.goto(`${served.url}/reports`);
    await page.fill('#username', 'alice');
    await page.fill('#password', 'wrong');
    await page.getByRole('button', { name: 'Show the password' }).click();
    expect(await page.getAttribute('#password', 'type')).toBe('text');
    await page.evaluate(() => {
      const event = new KeyboardEvent('keydown', { key: 'A', modifierCapsLock: true });
      document.querySelector('#password')?.dispatchEvent(event);
    });
    await page.getByText('Caps Lock is on.').waitFor();
    // The browser would store the value of a text field. The page is replaced right after the
    // submit event, so the type of the field is kept in sessionStorage.
    await page.evaluate(() =>
      document.querySelector('form')?.addEventListener('submit', () => {
        sessionStorage.sentAs = document.querySelector('#password')?.getAttribute('type') ?? '';
      }),
    );
    await submit(page);
    expect(await page.evaluate(() => sessionStorage.sentAs as unknown)).toBe('password');
    for (let n = 0; n < 4 && !(await page.locator('button[type=submit]').isDisabled()); n++) {
      await page.fill('#password', `wrong ${n}`);
      await submit(page);
    }
    expect(await page.textContent('button[type=submit]')).toMatch(/^Sign in \(in \d+ s\)$/);
    await page.waitForFunction(
      () => !document.querySelector<HTMLButtonElement>('button[type=submit]')?.disabled,
    );
    expect(complaints).toEqual([]);
  });

  it('shows no protected page on Back after a logout', async () => {
    await page.goto(`${served.url}/reports`);
    await page.fill('#username', 'admin');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.getByText('Hello admin at /reports').waitFor();
    await page.goto(`${served.url}/tasks/auth/logout`);
    await page.locator('#username').waitFor();
    await page.goBack();
    await page.waitForURL(/\/tasks\/auth\/login\?next=%2Freports/);
    await page.locator('#username').waitFor();
    expect(await page.textContent('body')).not.toContain('Hello admin');
  });

  it('shows errors in its own style, with the request id', async () => {
    const refused = await context.request.fetch(`${served.url}/tasks/auth/logout`, {
      headers: { 'Sec-Fetch-Site': 'cross-site' },
    });
    await page.setContent(
      (await refused.text()).replace('<head>', `<head><base href="${served.url}">`),
    );
    expect(await page.textContent('.faint')).toMatch(/^CROSS_ORIGIN · request \S+$/);
    expect(await page.getAttribute('link[rel=stylesheet]', 'href')).toMatch(
      /^\/tasks\/auth\/assets\/login-[0-9a-f]+\.css$/,
    );
  });
});
