import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import type { Browser, Page } from 'playwright-core';
import { accessibilityFaults, startBrowser } from '../../helpers/browser.js';
import { secretKey } from '../../helpers/passwords.js';
import { type Child, startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { pageTimeout, promptly, waitFor } from '../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the dashboard of existing BullMQ queues', () => {
  let browser: Browser;
  let page: Page;
  let redis: RedisServer;
  let children: Child[];
  let url: string;
  let web: Child;
  const complaints: string[] = [];

  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser.close());
  beforeEach(async () => {
    redis = await RedisServer.start();
    children = [];
    page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(pageTimeout);
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    web = run('web.js');
    url = await addressOf(web);
  });
  afterEach(async () => {
    await page.context().close();
    for (const child of children) child.process.kill('SIGTERM');
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual(children.map(() => 0));
    await redis.remove();
    expect(complaints.splice(0)).toEqual([]);
  });

  function run(script: string): Child {
    const file = fileURLToPath(
      new URL(`../../../examples/existing-bullmq/${script}`, import.meta.url),
    );
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
    const printed = (): string | undefined =>
      child.lines.find((line) => line.startsWith('Dashboard'));
    await waitFor(() => printed() !== undefined);
    return printed()?.split(/\s+/)[1] ?? '';
  }

  async function signIn(search = ''): Promise<void> {
    await page.goto(url + search);
    await page.fill('#username', 'admin');
    await page.fill('#password', 'correct horse');
    await page.click('button[type=submit]');
    await page.waitForSelector('.connection.live');
  }

  const row = (name: string) => page.locator('tr[data-task]', { hasText: name });
  const panel = () => page.locator('.panel');

  it('shows and controls the jobs of plain BullMQ programs live behind a login', async () => {
    await signIn('?view=tasks');
    await page.getByText('Three lines create the first one').waitFor();
    const worker = run('worker.js');
    await row('send_welcome').locator('.badge', { hasText: 'completed' }).waitFor();
    await row('send_reminder').locator('.badge', { hasText: 'delayed' }).waitFor();
    expect(worker.lines).toEqual(['working']);

    await row('send_invoice').locator('.badge', { hasText: 'failed' }).waitFor();
    await row('send_invoice').locator('th a').click();
    await panel().locator('.error-box', { hasText: 'no address for order 1042' }).waitFor();
    await panel().locator('.stack', { hasText: 'worker.js' }).waitFor();
    await panel().getByText('connecting to the mail server for bob@example.com').waitFor();
    expect(await panel().getByRole('button', { name: 'Cancel' }).count()).toBe(0);
    await panel().getByRole('button', { name: 'Retry', exact: true }).click();
    await page.locator('.notice', { hasText: 'send_invoice is queued again.' }).waitFor();
    await panel().getByText('Attempts 2 of 2').waitFor();

    await page.keyboard.press('Escape');
    await row('send_reminder').locator('th a').click();
    await panel().getByRole('button', { name: 'Run now' }).click();
    await row('send_reminder').locator('.badge', { hasText: 'completed' }).waitFor();
    await panel().locator('.json', { hasText: 'eve@example.com' }).waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
  });

  it('shows a flow as a tree with links between its jobs', async () => {
    run('worker.js');
    await signIn('?view=tasks');
    await row('bind_book').locator('.badge', { hasText: 'completed' }).waitFor();
    await row('bind_book').locator('th a').click();
    const flow = panel().getByRole('region', { name: 'Flow' });
    await flow.getByRole('link', { name: 'print_page' }).nth(2).waitFor();
    expect(await flow.locator('[aria-current]').textContent()).toBe('bind_book');
    await flow.getByRole('link', { name: 'print_page' }).first().click();
    await panel().locator('h2', { hasText: 'print_page' }).waitFor();
    await flow.getByRole('link', { name: 'bind_book' }).waitFor();
    expect(new URL(page.url()).searchParams.get('task')).toMatch(/^pages:/);
    expect(await accessibilityFaults(page)).toEqual([]);
  });

  it('pauses queues, shows and runs schedulers, and hides unsupported actions', async () => {
    run('worker.js');
    await signIn('?view=queues');
    const mail = page.locator('tr', { hasText: 'mail' }).first();
    await mail.getByRole('button', { name: 'Pause…' }).click();
    await page.locator('dialog[open]').getByLabel('Reason').fill('the bank is down');
    await page.locator('dialog[open]').getByRole('button', { name: 'Pause queue' }).click();
    await page.locator('.banner', { hasText: 'the bank is down' }).waitFor();
    const queue = new Queue('mail', { connection: redis.connection });
    await waitFor(() => queue.isPaused());
    await page.getByText('jobs of pages').first().waitFor();
    await page.goto(`${url}?view=schedules`);
    const schedule = page.locator('tr', { hasText: 'newsletter' });
    await schedule.getByText('Mondays at 09:00').waitFor();
    expect(await schedule.getByRole('button', { name: 'Pause…' }).count()).toBe(0);
    await schedule.getByRole('button', { name: 'Run now' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Run now' }).click();
    await page.locator('.notice', { hasText: 'has been started' }).waitFor();
    await waitFor(async () => (await queue.getJobCountByTypes('wait')) === 1);
    await queue.close();
  });

  it('marks a removed job and shows it again if it is added with the same id', async () => {
    await signIn('?view=tasks');
    const queue = new Queue('mail', { connection: redis.connection });
    const add = () => queue.add('send_once', {}, { jobId: 'order-1042' });
    const job = await add();
    await row('send_once').waitFor();
    await job.remove();
    await page.locator('tr.gone[title="Removed from the history"]').waitFor();
    await add();
    await page.locator('tr[data-task]:not(.gone)', { hasText: 'send_once' }).waitFor();
    await queue.close();
  });

  it('sorts a job by its creation time even if it arrives later', async () => {
    await signIn('?view=tasks');
    const [pages, mail] = ['pages', 'mail'].map(
      (name) => new Queue(name, { connection: redis.connection }),
    );
    await pages?.add('newest', {});
    await row('newest').waitFor();
    await mail?.add('older', {}, { timestamp: Date.now() - 60_000 });
    await row('older').waitFor();
    expect(await page.locator('tr[data-task] th').allTextContents()).toEqual(['newest', 'older']);
    await Promise.all([pages?.close(), mail?.close()]);
  });

  it('shows the actions and the logout of one process in another', async () => {
    run('worker.js');
    const second = await addressOf(run('web.js'));
    await signIn('?view=tasks');
    await row('send_invoice').locator('.badge', { hasText: 'failed' }).waitFor();
    // Cookies ignore ports, so both processes get the same session.
    const other = await page.context().newPage();
    await other.goto(`${second}?view=tasks`);
    await other.waitForSelector('.connection.live');
    await other.locator('tr[data-task]', { hasText: 'send_reminder' }).waitFor();
    await row('send_reminder').locator('th a').click();
    await panel().getByRole('button', { name: 'Run now' }).click();
    await page.locator('.notice', { hasText: 'is due now' }).waitFor();
    await other
      .locator('tr[data-task]', { hasText: 'send_reminder' })
      .locator('.badge', { hasText: /waiting|active|completed/ })
      .waitFor({ timeout: promptly * 1000 });
    await other.bringToFront();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await other
      .locator('dialog[open]', { hasText: 'Sign in' })
      .waitFor({ timeout: promptly * 1000 });
    await page.goto(`${url.replace('/dashboard', '/auth/login')}`);
    await page.locator('#username').waitFor();
    await signIn('?view=audit');
    await page
      .locator('tbody tr', { hasText: 'run' })
      .filter({ hasText: 'admin' })
      .first()
      .waitFor();
  });

  it('reports an outage of Redis and recovers from it', async () => {
    run('worker.js');
    await signIn('?view=tasks');
    await row('send_welcome').waitFor();
    await redis.stop();
    const health = async (): Promise<number> =>
      (await page.request.get(url.replace('/dashboard', '/health'))).status();
    await waitFor(async () => (await health()) === 503);
    await page.keyboard.press('g');
    await page.keyboard.press('f');
    await page.locator('.banner', { hasText: 'The tasks have been unreachable' }).waitFor();
    await page.getByText('_UNAVAILABLE').first().waitFor();
    // A request is rejected if its session cannot be checked.
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => page.request.get(url.replace('/dashboard', ''))),
    );
    expect(new Set(answers.map((answer) => answer.status()))).toEqual(new Set([503]));
    await redis.start();
    await page.locator('tbody tr', { hasText: 'no address for order' }).waitFor();
    await page.locator('.banner', { hasText: 'The tasks cannot' }).waitFor({ state: 'detached' });
    // The queues and the sessions each log one line for the outage and one for the recovery,
    // however many requests fail.
    expect(
      web.lines
        .filter((line) => /"level":[56]0/.test(line))
        .map((line) => (JSON.parse(line) as { msg: string }).msg)
        .sort(),
    ).toEqual([
      'Redis cannot be used for sessions',
      'Redis cannot be used for the attached queues',
    ]);
    expect(web.lines.filter((line) => /can be used for .* again/.test(line))).toHaveLength(2);
  });
});
