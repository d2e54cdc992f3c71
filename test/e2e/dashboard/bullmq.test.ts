import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { accessibilityFaults, startBrowser } from '../../helpers/browser.js';
import { secretKey } from '../../helpers/passwords.js';
import { type Child, startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { pageTimeout, waitFor } from '../../helpers/wait.js';

// Runs the same tests as with the embedded engine.
process.env.TEST_ENGINE = 'bullmq';
if (hasRedis) await import('./task.test.js');

(hasRedis ? describe : describe.skip)('the example with web and worker processes and Redis', () => {
  let browser: Browser;
  let page: Page;
  let redis: RedisServer;
  let children: Child[];

  beforeEach(async () => {
    [browser, redis] = await Promise.all([startBrowser(), RedisServer.start()]);
    children = [];
    page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(pageTimeout);
  });
  afterEach(async () => {
    await browser.close();
    for (const child of children) child.process.kill('SIGTERM');
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual(children.map(() => 0));
    await redis.remove();
  });

  function run(script: string): Child {
    const file = fileURLToPath(new URL(`../../../examples/bullmq/${script}`, import.meta.url));
    const env = {
      PORT: '0',
      REDIS_PORT: String(redis.port),
      ADMIN_PASSWORD: 'correct horse',
      TASKFLOW_SECRET_KEY: secretKey,
    };
    const child = startProcess(process.execPath, [file], env);
    children.push(child);
    return child;
  }
  async function addressOf(child: Child): Promise<string> {
    return (
      (await waitFor(() => child.lines.find((line) => line.startsWith('Dashboard')))).split(
        /\s+/,
      )[1] ?? ''
    );
  }

  it('shows and cancels tasks that another process enqueues and a worker runs', async () => {
    const [one, two] = [await addressOf(run('web.js')), await addressOf(run('web.js'))];
    await page.goto(`${one}?view=tasks`);
    await page.fill('#username', 'admin');
    await page.fill('#password', 'correct horse');
    await page.click('button[type=submit]');
    await page.waitForSelector('.connection.live');
    expect((await fetch(new URL('/customers/ada', two), { method: 'POST' })).status).toBe(202);
    const row = (name: string) => page.locator('tr[data-task]', { hasText: name });
    await row('make_report').locator('.badge', { hasText: 'pending' }).waitFor();
    run('worker.js');
    await row('make_report').locator('.badge', { hasText: 'running' }).waitFor();
    await row('make_report').locator('th a').click();
    const panel = page.locator('.panel');
    // The summary shows only the last lines.
    await panel
      .getByText(/page \d+ of the report for ada/)
      .first()
      .waitFor();
    await panel.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Stop task' }).click();
    await row('make_report').locator('.badge', { hasText: 'cancelled' }).waitFor();
    await row('send_welcome').locator('.badge', { hasText: 'success' }).waitFor();
    await page.keyboard.press('Escape');
    await page.goto(`${two}?view=queues`);
    await waitFor(
      async () =>
        (await page.locator('tbody tr', { hasText: String(children[2]?.process.pid) }).count()) > 0,
    );
    expect(await accessibilityFaults(page)).toEqual([]);
  });
});
