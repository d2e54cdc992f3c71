import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startBrowser } from '../../helpers/browser.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { password, secretKey } from '../../helpers/passwords.js';
import { type Child, startProcess, startScript } from '../../helpers/process.js';
import { pageTimeout, promptly, waitFor } from '../../helpers/wait.js';

let browser: Browser;
let page: Page;
let folder: ReturnType<typeof temporaryFolder>;
let children: Child[];

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  page = await browser.newPage();
  page.setDefaultTimeout(pageTimeout);
  folder = temporaryFolder();
  children = [];
});
afterEach(async () => {
  await page.context().close();
  for (const child of children) child.process.kill('SIGKILL');
  await Promise.all(children.map(({ ended }) => ended));
  folder.remove();
});

function run(...args: string[]): Child {
  const child = startScript('worker.js', folder.file('tasks.db'), ...args);
  children.push(child);
  return child;
}

async function web(port = '0'): Promise<{ child: Child; url: string }> {
  const script = new URL('../../helpers/scripts/web.js', import.meta.url).pathname;
  const child = startProcess(
    process.execPath,
    [script, folder.file('tasks.db'), secretKey, `admin ${password}`],
    { PORT: port },
  );
  children.push(child);
  await waitFor(() => child.lines.length > 0);
  return { child, url: child.lines[0] ?? '' };
}

async function signIn(url: string, search: string): Promise<void> {
  await page.goto(`${url}/tasks/dashboard${search}`);
  await page.fill('#username', 'admin');
  await page.fill('#password', password);
  await page.click('button[type=submit]');
  await page.waitForSelector('.connection.live');
}

const row = (name: string) => page.locator('tr[data-task]', { hasText: name });

describe('the dashboard of a process that runs no tasks', () => {
  it('shows the tasks of other processes, and survives its own kill -9', async () => {
    const { child, url } = await web();
    await signIn(url, '?view=tasks');
    await page.getByText('Three lines create the first one').waitFor();
    const waiting = run('enqueue', '1');
    await waitFor(() => waiting.lines.includes('enqueued'));
    await row('quick')
      .locator('.badge.pending')
      .waitFor({ timeout: promptly * 1000 });
    const worker = run('run', '0');
    await row('quick').locator('.badge.success').waitFor();

    child.process.kill('SIGKILL');
    await page.locator('.banner.offline', { hasText: 'Connection lost' }).waitFor();
    const meanwhile = run('enqueue', '3');
    await waitFor(() => meanwhile.lines.includes('enqueued'));
    await page.evaluate(() => Object.assign(window, { untouched: true }));
    await web(new URL(url).port);
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 4);
    await page.waitForSelector('.connection.live');
    expect(await page.evaluate(() => (window as unknown as { untouched: boolean }).untouched)).toBe(
      true,
    );
    expect(worker.process.exitCode).toBe(null);
  });

  it('warns before a retry of a task that kill -9 interrupted', async () => {
    const worker = run('run', '0');
    await waitFor(() => worker.lines.includes('started'));
    const { url } = await web();
    await signIn(url, '?view=tasks');
    const { TaskManager } = await import('../../../src/index.js');
    const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    await tasks.define<[ms: number]>('once').enqueue(60_000);
    await row('once').locator('.badge.running').waitFor();
    worker.process.kill('SIGKILL');
    await row('once').locator('.badge.interrupted').waitFor();
    await row('once').locator('th a').click();
    await page.locator('.panel').getByRole('button', { name: 'Retry', exact: true }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('It may already have done part of its work.').waitFor();
    await dialog.getByRole('button', { name: 'Run again' }).click();
    await row('once').locator('.badge.pending').waitFor();
    await tasks.stop({ timeout: 0 });
  });
});
