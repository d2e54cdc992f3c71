import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { oidc } from '../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { startBrowser } from '../helpers/browser.js';
import { freePort } from '../helpers/free-port.js';
import { serveLogin } from '../helpers/login-app.js';
import { client, TestProvider } from '../helpers/oidc-provider.js';
import { type Child, startProcess } from '../helpers/process.js';
import { pageTimeout, waitFor } from '../helpers/wait.js';

let browser: Browser;
let page: Page;
beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());

/** Opens a page in a browser without cookies. */
async function openPage(): Promise<void> {
  page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(pageTimeout);
}

describe('the example with a provider', () => {
  const children: Child[] = [];
  let dashboard: string;

  beforeAll(async () => {
    const [port, providerPort] = [await freePort(), await freePort()];
    const env = {
      PORT: String(port),
      PROVIDER_PORT: String(providerPort),
      OIDC_ISSUER: `http://127.0.0.1:${providerPort}`,
      DATABASE: ':memory:',
    };
    for (const script of ['app.js', 'provider.js'])
      children.push(startProcess(process.execPath, [`examples/oidc/${script}`], env));
    const shown = (): string => children.flatMap(({ lines }) => lines).join('\n');
    dashboard = await waitFor(() => /Dashboard +(http\S+)/.exec(shown())?.[1]);
    await waitFor(() => /Provider +http/.test(shown()));
  });
  afterEach(async () => page.context().close());
  afterAll(async () => {
    for (const { process: child } of children) child.kill('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
  });

  /** Presses the button of the login page, and signs in at the provider. */
  async function signIn(name: string): Promise<void> {
    await openPage();
    await page.goto(dashboard);
    await page.click('text=Sign in with Example');
    await page.fill('input[name=login]', name);
    await page.fill('input[name=password]', 'any');
    await page.click('button[type=submit]');
    // The provider asks whether the app may know the user.
    await page.click('button:has-text("Continue")');
  }

  it('signs a user in, and out at the provider too', async () => {
    await signIn('ann');
    await page.waitForURL(dashboard);
    await page.click('text=ann');
    await page.click('text=Sign out');
    await page.click('button:has-text("Yes, sign me out")');
    await page.waitForURL(/\/tasks\/auth\/signed-out/);
    // The session of the provider has ended: it asks for the name again.
    await page.goto(dashboard);
    await page.click('text=Sign in with Example');
    await page.waitForSelector('input[name=login]');
  });

  it('refuses a user without a role', async () => {
    await signIn('kim');
    await page.waitForURL(/auth\/callback/);
    expect(await page.textContent('body')).toContain('kim');
    await page.goto(dashboard);
    expect(page.url()).toContain('/auth/login');
  });
});

describe('a login with a Strict cookie', () => {
  it('ends signed in after the redirect from a provider on another site', async () => {
    const provider = await TestProvider.start({ redirectUri: 'http://localhost/' });
    provider.accounts.set('ann', { preferred_username: 'ann' });
    const okta = oidc({
      issuer: provider.issuer,
      clientId: client.id,
      clientSecret: client.secret,
      roles: ['viewer'],
    });
    const app = await serveLogin({
      strategies: new StrategyRegistry().register('okta', okta),
      cookie: { sameSite: 'strict' },
      home: '/home',
    });
    // The provider is at an address, and so the name localhost is another site.
    const site = app.url.replace('127.0.0.1', 'localhost');
    provider.changeClient({ redirect_uris: [`${site}/tasks/auth/callback/okta`] });
    await openPage();
    try {
      await page.goto(`${site}/tasks/auth/login`);
      await page.click('text=Sign in with okta');
      await page.fill('input[name=login]', 'ann');
      await page.click('button[type=submit]');
      await page.waitForURL(`${site}/home`);
      expect(await page.textContent('body')).toBe('{"name":"ann"}');
      const cookies = await page.context().cookies(site);
      const session = cookies.find(({ name }) => name === 'taskflow_token');
      expect(session?.sameSite).toBe('Strict');
    } finally {
      await page.context().close();
      await app.close();
      await provider.close();
    }
  });
});
