import { afterEach, describe, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { startBrowser } from '../helpers/browser.js';
import { ask } from '../helpers/client.js';
import { type Child, startProcess } from '../helpers/process.js';
import { waitFor } from '../helpers/wait.js';

describe('the prices example', () => {
  let child: Child | undefined;
  let browser: Browser | undefined;
  afterEach(async () => {
    await browser?.close();
    child?.process.kill('SIGKILL');
    await child?.ended;
  });

  it('streams events of an app without tasks to a page behind a login', async () => {
    child = startProcess(process.execPath, ['examples/prices/app.js'], {
      PORT: '0',
      ADMIN_PASSWORD: 'Canary-Pa55word',
    });
    const { lines } = child;
    const address = await waitFor(() => /Prices +(http\S+)/.exec(lines.join('\n'))?.[1]);
    expect((await ask(`${address}prices`)).status).toBe(401);
    browser = await startBrowser();
    const page = await browser.newPage();
    await page.goto(address);
    await page.fill('input[name=username]', 'admin');
    await page.fill('input[name=password]', 'Canary-Pa55word');
    await page.click('button[type=submit]');
    await page.waitForFunction(() => document.getElementById('state')?.textContent === 'live');
    await page.waitForFunction(() =>
      /^\d+\.\d\d$/.test(document.getElementById('price')?.textContent ?? ''),
    );
    const first = await page.textContent('#price');
    await page.waitForFunction(
      (before) => document.getElementById('price')?.textContent !== before,
      first,
    );
    expect(child.lines.join('\n')).not.toContain('Canary');
    // The user signs out in another tab. This page learns that from the stream alone.
    const cookie = (await page.context().cookies())
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
    await ask(`${address}tasks/auth/logout`, { method: 'POST', headers: { Cookie: cookie } });
    await page.waitForURL(/auth\/login/);
  });
});
