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
import Koa, { type Middleware } from 'koa';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { createAuth, multiUser, StrategyRegistry } from '../../../src/auth/index.js';
import { apiTokens } from '../../../src/auth/strategies/api-tokens/api-tokens.js';
import { oidc } from '../../../src/auth/strategies/oidc/oidc.js';
import { TaskManager, taskAdmin } from '../../../src/index.js';
import { accessibilityFaults, startBrowser } from '../../helpers/browser.js';
import { client, TestProvider } from '../../helpers/oidc-provider.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { type Served, serve } from '../../helpers/serve.js';
import { gate, pageTimeout, waitFor } from '../../helpers/wait.js';

/*
 * One login with a provider, passwords, a directory that a test stops, and API tokens. The app is
 * at `localhost` and the provider at 127.0.0.1, so that they do not share their cookies.
 */

let provider: TestProvider;
let served: Served;
let base: string;
let tasks: TaskManager;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let complaints: string[];
/** Seconds by which the clock of the server is ahead. */
let ahead = 0;
let checkDirectory: () => Promise<void>;

beforeAll(async () => {
  const realNow = Date.now;
  jest.spyOn(Date, 'now').mockImplementation(() => realNow() + ahead * 1000);
  let handle: Middleware = (_ctx, next) => next();
  served = await serve(new Koa().use((ctx, next) => handle(ctx, next)));
  const origin = served.url.replace('127.0.0.1', 'localhost');
  base = `${origin}/tasks`;
  provider = await TestProvider.start({ redirectUri: `${base}/auth/callback/okta` });
  for (const name of ['ann', 'bob'])
    provider.accounts.set(name, { preferred_username: name, groups: ['sre'] });
  provider.accounts.set('kim', { preferred_username: 'kim', groups: [] });
  tasks = new TaskManager({ database: ':memory:', logger: false });
  const okta = oidc({
    issuer: provider.issuer,
    clientId: client.id,
    clientSecret: client.secret,
    scopes: ['openid', 'profile', 'groups'],
    roles: { map: { sre: 'operator' } },
    label: 'Okta',
  });
  const staff = multiUser([
    ['ada', cheapHash(password), { roles: ['admin'] }],
    ['vera', cheapHash('three'), { roles: ['viewer'] }],
  ]);
  const directory = {
    label: 'Directory',
    authenticate_user: () => false,
    check: () => checkDirectory(),
  };
  const auth = createAuth({
    strategies: new StrategyRegistry()
      .register('okta', okta)
      .register('staff', staff)
      .register('directory', directory)
      .register('tokens', apiTokens()),
    ...{ secretKey, store: tasks.store, publicUrl: origin, home: '/tasks/dashboard' },
    ...{ autoStart: 'okta', logger: false, throttle: { floor: 0 } },
  });
  handle = taskAdmin(tasks, { auth, title: 'Test shop', logger: false });
  await tasks.start();
  browser = await startBrowser();
});
afterAll(async () => {
  jest.restoreAllMocks();
  await browser.close();
  await Promise.all([served.close(), provider.close(), tasks.stop({ timeout: 0.1 })]);
});
beforeEach(async () => {
  ahead = 0;
  checkDirectory = async () => {};
  context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  complaints = [];
  context.on('weberror', (error) => complaints.push(error.error().message));
  page = await context.newPage();
  page.setDefaultTimeout(pageTimeout);
});
afterEach(async () => {
  expect(complaints).toEqual([]);
  await context.close();
});

/** Opens a page of the dashboard. The login begins at the provider. */
async function signInAtProvider(name: string, search: string): Promise<void> {
  await page.goto(`${base}/dashboard${search}`);
  await page.fill('input[name=login]', name);
  await page.click('button[type=submit]');
  await page.waitForSelector('.connection.live');
}

/** Opens a page of the dashboard after a login with a password. */
async function signIn(username: string, pass: string, search: string): Promise<void> {
  const next = encodeURIComponent(`/tasks/dashboard${search}`);
  await page.goto(`${base}/auth/login?form&next=${next}`);
  await page.fill('#username', username);
  await page.fill('#password', pass);
  await page.click('button[type=submit]');
  await page.waitForSelector('.connection.live');
}

/** The browser drops the session of the app, but not the session of the provider. */
const loseSession = (): Promise<void> => context.clearCookies({ name: 'taskflow_token' });

const openDialog = (heading: string): Locator =>
  page.locator('dialog[open]').filter({ has: page.getByRole('heading', { name: heading }) });

async function openTask(name: string): Promise<string> {
  const id = await tasks.define(name).enqueue();
  await page.locator('tr[data-task]', { hasText: name }).locator('th a').click();
  await page.locator('.panel').getByRole('button', { name: 'Cancel' }).waitFor();
  return id;
}

const statusOf = async (id: string): Promise<string | undefined> => (await tasks.get(id))?.status;

describe('an action after the session has ended', () => {
  it('is repeated once the same user has signed in at the provider in another tab', async () => {
    await signInAtProvider('ann', '?view=tasks');
    const id = await openTask('repeated');
    await loseSession();
    await page.locator('.panel').getByRole('button', { name: 'Cancel' }).press('Enter');
    const dialog = openDialog('Your session has ended');
    await dialog.getByText('After that, your last action is repeated.').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    const link = dialog.getByRole('link', { name: 'Sign in with Okta' });
    const [tab] = await Promise.all([context.waitForEvent('page'), link.press('Enter')]);
    // The provider knows the user, so the tab goes through it and closes without a question.
    if (!tab.isClosed()) await tab.waitForEvent('close', { timeout: pageTimeout });
    await dialog.waitFor({ state: 'detached' });
    await page.locator('.panel h2 .badge.cancelled').waitFor();
    expect(await statusOf(id)).toBe('cancelled');
    await page.waitForSelector('.connection.live');
    expect(context.pages()).toEqual([page]);
  });

  it('is not done for another user', async () => {
    await signInAtProvider('ann', '?view=tasks');
    const id = await openTask('of_ann');
    await context.clearCookies();
    await page.locator('.panel').getByRole('button', { name: 'Cancel' }).click();
    const dialog = openDialog('Your session has ended');
    const link = dialog.getByRole('link', { name: 'Sign in with Okta' });
    const [tab] = await Promise.all([context.waitForEvent('page'), link.click()]);
    await tab.fill('input[name=login]', 'bob');
    await tab.click('button[type=submit]');
    const other = openDialog('Another user has signed in');
    await other.getByText('The last action of ann (okta) was not done.').waitFor();
    await other.getByRole('button', { name: 'Continue as the other user' }).click();
    await page.locator('.user', { hasText: 'bob (okta)' }).waitFor();
    expect(await statusOf(id)).toBe('pending');
  });

  it('is confirmed again if it changes many tasks', async () => {
    await signIn('ada', password, '?view=tasks&name=many');
    const ids = await tasks.define('many').enqueueMany([[], []]);
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 2);
    await page.locator('summary', { hasText: 'All matching' }).click();
    await page.getByRole('button', { name: 'Cancel all matching…' }).click();
    const confirmation = openDialog('Cancel 2 tasks?');
    await confirmation.waitFor();
    await loseSession();
    await page.getByRole('button', { name: 'Cancel 2 tasks' }).click();
    const dialog = openDialog('Your session has ended');
    await dialog.getByLabel('Password').fill(password);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    await page.getByText('Your session ended before this was done. Try again.').waitFor();
    expect(await Promise.all(ids.map(statusOf))).toEqual(['pending', 'pending']);
    await page.getByRole('button', { name: 'Cancel 2 tasks' }).click();
    await page.getByText('2 cancelled').waitFor();
  });
});

describe('the page of API tokens', () => {
  const use = async (token: string): Promise<number> =>
    (await fetch(`${base}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).status;
  const row = (name: string): Locator => page.locator('tbody tr', { hasText: name });
  /** Returns the token that the dialog shows. */
  const shownToken = async (name: string): Promise<string> => {
    const dialog = openDialog(`API token ${name}`);
    await dialog.getByText('Copy the token now. It is not shown again.').waitFor();
    return dialog.getByLabel('Token').inputValue();
  };

  it('creates a token after a new sign-in, with what was typed, and keeps it nowhere', async () => {
    await signIn('ada', password, '?view=tokens');
    const button = page.getByRole('button', { name: 'Create token…' });
    await button.press('Enter');
    await page.keyboard.type('nightly report');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    ahead = 16 * 60;
    await page.keyboard.press('Enter');
    const dialog = openDialog('Sign in again');
    await dialog.getByText('within the last 15 minutes').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('Nothing was done, because you did not sign in.').waitFor();
    await page.keyboard.press('Enter');
    await dialog.getByLabel('Password').waitFor();
    const stream = page.waitForRequest(/dashboard\/stream/);
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    const token = await shownToken('nightly report');
    expect(await accessibilityFaults(page)).toEqual([]);
    // The new session has replaced that of the stream, which goes on.
    await stream;
    await page.waitForSelector('.connection.live');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByText('The token is copied.').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(token);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await row('nightly report').getByText('operator').waitFor();
    await row('nightly report').getByText('staff:ada').waitFor();
    await row('nightly report').getByText('never').waitFor();
    expect(await page.locator('dialog[open]').count()).toBe(0);
    const kept = await page.evaluate(() => [
      document.documentElement.outerHTML,
      [...document.querySelectorAll('input')].map(({ value }) => value),
      location.href,
      JSON.stringify(history.state),
      JSON.stringify({ ...localStorage, ...sessionStorage }),
      performance.getEntries().map(({ name }) => name),
    ]);
    expect(JSON.stringify(kept)).not.toContain(token);
    expect(await use(token)).toBe(200);
  });

  it('rotates and revokes tokens', async () => {
    await signIn('ada', password, '?view=tokens');
    await page.getByRole('button', { name: 'Create token…' }).click();
    await page.getByLabel('What is the token for?').fill('backup');
    await page.getByLabel('Days until it expires').fill('400');
    await page.getByRole('button', { name: 'Create token', exact: true }).click();
    await page.locator('dialog[open] [role=alert]', { hasText: 'expiresIn' }).waitFor();
    await page.getByLabel('Days until it expires').fill('7');
    await page.getByRole('button', { name: 'Create token', exact: true }).click();
    const old = await shownToken('backup');
    await page.getByRole('button', { name: 'Done' }).click();
    await row('backup').getByText('read only').waitFor();
    await row('backup').getByRole('button', { name: 'Rotate…' }).click();
    await page.getByLabel('Keep the old token').selectOption('1 hour');
    await page.getByRole('button', { name: 'Rotate token' }).click();
    const token = await shownToken('backup');
    await page.getByRole('button', { name: 'Done' }).click();
    await row('backup').nth(1).waitFor();
    expect([await use(old), await use(token)]).toEqual([200, 200]);
    const replaced = row('backup').filter({ hasText: 'replaced' });
    expect(await replaced.getByRole('button', { name: 'Rotate…' }).count()).toBe(0);
    await replaced.getByRole('button', { name: 'Revoke…' }).click();
    await page.locator('dialog[open]').getByText('of staff:ada ends at once').waitFor();
    await page.getByRole('button', { name: 'Revoke token' }).click();
    await page.getByText('backup is revoked.').waitFor();
    await replaced.waitFor({ state: 'detached' });
    expect([await use(old), await use(token)]).toEqual([401, 200]);
    expect(await accessibilityFaults(page)).toEqual([]);
  });
});

describe('the strategies on the settings page', () => {
  it('show administrators which of them answers, and are checked one at a time', async () => {
    checkDirectory = () => Promise.reject(new Error('connect ECONNREFUSED'));
    // A check is due after a minute.
    ahead = 120;
    await signIn('ada', password, '?view=settings');
    const row = page
      .getByRole('table', { name: 'Login strategies' })
      .locator('tbody tr', { hasText: 'Directory' });
    await row.getByText('Down').waitFor();
    await row.getByText('connect ECONNREFUSED').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    const checked = gate();
    checkDirectory = () => checked.passed;
    await row.getByRole('button', { name: 'Check now' }).press('Enter');
    await row.getByRole('button', { name: 'Checking…' }).waitFor();
    const others = page.getByRole('button', { name: 'Check now' });
    expect([await others.count(), await others.isDisabled()]).toEqual([1, true]);
    checked.open();
    await page.getByText('Directory answers.').waitFor();
    await row.getByText('Up', { exact: true }).waitFor();
    await waitFor(async () => !(await others.first().isDisabled()));
  });

  it('are not shown to other users', async () => {
    await signIn('vera', 'three', '?view=settings');
    await page.getByRole('heading', { name: 'About' }).waitFor();
    expect(await page.getByText('Login strategies').count()).toBe(0);
  });
});

describe('the pages of a sign-in can be used with assistive technologies', () => {
  const signInAs = async (name: string): Promise<void> => {
    await page.goto(`${base}/auth/start/okta`);
    await page.fill('input[name=login]', name);
    await page.click('button[type=submit]');
  };

  it.each<[string, text: string, open: () => Promise<unknown>]>([
    ['the login', 'Sign in with Okta', () => page.goto(`${base}/auth/login?form`)],
    ['an account without a role', 'gives it no role', () => signInAs('kim')],
    [
      'a provider that does not answer',
      'Okta is not available right now',
      async () => {
        provider.refuse('/token', 503, 'temporarily_unavailable');
        await signInAs('ann');
      },
    ],
    ['a sign-out', 'You are signed out', () => page.goto(`${base}/auth/signed-out`)],
    [
      'a sign-in in another tab',
      'You can close this tab',
      async () => {
        await signIn('ada', password, '');
        await page.goto(`${base}/auth/done`);
      },
    ],
    [
      'a directory that does not answer',
      'Directory has not answered since',
      async () => {
        checkDirectory = () => Promise.reject(new Error('connect ECONNREFUSED'));
        // A check is due after a minute. The page does not wait for it.
        ahead = 600;
        const note = page.getByText('Directory has not answered since');
        await waitFor(async () => {
          await page.goto(`${base}/auth/login?form`);
          return note.isVisible();
        });
      },
    ],
  ])('%s', async (_page, text, open) => {
    await open();
    await page.getByText(text).first().waitFor();
    provider.reset();
    expect(await accessibilityFaults(page)).toEqual([]);
  });
});
