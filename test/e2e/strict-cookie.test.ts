import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import type { RedirectStrategy } from '../../src/auth/strategies/strategy.js';
import { startBrowser } from '../helpers/browser.js';
import { ask } from '../helpers/client.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { pageTimeout } from '../helpers/wait.js';

/*
 * The app is on `localhost` and the provider on `127.0.0.1`, which are two sites. The user follows
 * a link of the provider, so the browser sends no Strict cookie with the callback.
 */

let provider: Server;
let app: LoginApp;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  provider = createServer(({ url = '' }, response) => {
    const { searchParams } = new URL(url, 'http://127.0.0.1');
    const link = searchParams.get('link');
    const href = link ?? `${searchParams.get('to')}?state=${searchParams.get('state')}&code=1`;
    response.setHeader('Content-Type', 'text/html');
    response.end(`<a href="${href}">Continue</a>`);
  });
  await once(provider.listen(0, '127.0.0.1'), 'listening');
  const { port } = provider.address() as { port: number };
  const strategy: RedirectStrategy = {
    label: 'Okta',
    begin: (_ctx, { state, redirectUri }) =>
      `http://127.0.0.1:${port}/?${new URLSearchParams({ state, to: redirectUri })}`,
    complete: () => ({ ok: true, username: 'ann', roles: [] }),
  };
  app = await serveLogin({ strategies: strategy, cookie: { sameSite: 'strict' } });
  browser = await startBrowser();
  page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(pageTimeout);
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
  provider.close();
  provider.closeAllConnections();
});

describe('a sign-in at a provider with a Strict session cookie', () => {
  it('opens a session and ends the one that the browser had before', async () => {
    const url = app.url.replace('127.0.0.1', 'localhost');
    const signIn = async (): Promise<string> => {
      await page.goto(`${url}/tasks/auth/start/default`);
      await page.click('text=Continue');
      await page.waitForFunction(() => document.body.textContent === '{"name":"ann"}');
      const cookies = await page.context().cookies(url);
      return cookies.find(({ name }) => name === 'taskflow_token')?.value ?? '';
    };
    const first = await signIn();
    const second = await signIn();
    expect(second).not.toBe(first);
    const nameOf = async (token: string): Promise<unknown> =>
      (await ask(app.url, { headers: { cookie: `taskflow_token=${token}` } })).json;
    expect(await nameOf(second)).toEqual({ name: 'ann' });
    expect(await nameOf(first)).toEqual({ name: null });
  });

  it('keeps the session if a link of another site begins a sign-in', async () => {
    const url = app.url.replace('127.0.0.1', 'localhost');
    const { port } = provider.address() as { port: number };
    const token = async (): Promise<string | undefined> =>
      (await page.context().cookies(url)).find(({ name }) => name === 'taskflow_token')?.value;
    const before = await token();
    expect(before).toBeDefined();
    const link = encodeURIComponent(`${url}/tasks/auth/start/default?next=/reports`);
    await page.goto(`http://127.0.0.1:${port}/?link=${link}`);
    await page.click('text=Continue');
    await page.waitForURL(`${url}/reports`);
    expect(await token()).toBe(before);
  });

  it('tells the tab that waits for it, and closes its own', async () => {
    const url = app.url.replace('127.0.0.1', 'localhost');
    await page.context().clearCookies();
    await page.goto(url);
    await page.evaluate(() => {
      new BroadcastChannel('/tasks/auth/done').onmessage = ({ data }) => {
        document.title = data;
      };
    });
    const start = `${url}/tasks/auth/start/default?next=/tasks/auth/done`;
    const [tab] = await Promise.all([
      page.context().waitForEvent('page'),
      page.evaluate((to) => void window.open(to), start),
    ]);
    await tab.click('text=Continue', { timeout: pageTimeout });
    if (!tab.isClosed()) await tab.waitForEvent('close', { timeout: pageTimeout });
    await page.waitForFunction(() => document.title === 'signed in');
    await page.reload();
    expect(await page.textContent('body')).toBe('{"name":"ann"}');
  });
});
