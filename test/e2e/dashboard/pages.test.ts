import { describe, expect, it } from '@jest/globals';
import { useDashboard } from '../../helpers/dashboard.js';
import { eventually, waitFor } from '../../helpers/wait.js';

const board = useDashboard();

const fail = (message: string) => () => {
  throw new Error(message);
};

describe('the other pages of the dashboard', () => {
  it('groups a thousand similar failures and retries all of them at once', async () => {
    const { page, tasks } = board;
    let healthy = false;
    const bad = tasks.task('send_email', (n: number) => {
      if (!healthy)
        throw new TypeError(
          `no address for order ${n} of user ` +
            `0190f3c1-7a6b-7c2d-8e3f-${String(n).padStart(12, '0')}`,
        );
    });
    await bad.enqueueMany(Array.from({ length: 1000 }, (_, n) => [n]));
    await tasks.task('other', fail('else')).enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 1001);
    await board.signIn('?view=failures');
    const group = page.locator('tbody tr', { hasText: 'no address for order' });
    await group.waitFor();
    await eventually(async () => {
      expect(await page.locator('tbody tr').count()).toBe(2);
      expect(await group.locator('td[data-label="Times"]').textContent()).toContain('1,000');
      expect(await group.locator('time').count()).toBe(2);
    });
    healthy = true;
    await group.getByRole('button', { name: 'Retry 1,000…' }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('1,000 tasks', { exact: true }).waitFor();
    await dialog.getByText('Test shop').waitFor();
    await dialog.getByLabel('Spread over').waitFor();
    await dialog.getByLabel('Reason').fill('the list is fixed');
    await dialog.getByRole('button', { name: 'Retry 1,000 tasks' }).click();
    await page.getByText('1,000 queued.').waitFor();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 1);
    await group.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'all', exact: true }).click();
    await group.waitFor();
    await board.visit('?view=audit');
    await page.locator('tbody tr', { hasText: 'the list is fixed' }).first().waitFor();
    expect(board.complaints).toEqual([]);
  });

  it('opens the tasks of a period that the user selects in the chart', async () => {
    const { page, tasks } = board;
    await tasks.task('good', () => 1).enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 1);
    await board.signIn('?range=-1h');
    await page.locator('.bars a').first().waitFor();
    const box = await page.locator('.bars svg').boundingBox();
    if (!box) throw new Error('no chart');
    const x = (bar: number) => box.x + (box.width * (bar + 0.5)) / 60;
    await page.mouse.move(x(59), box.y + 60);
    await page.mouse.down();
    await page.mouse.move(x(45), box.y + 60, { steps: 5 });
    await page.locator('.bars .drawn').waitFor();
    await page.mouse.up();
    await board.hasRows(1);
    const { searchParams } = new URL(page.url());
    expect(searchParams.get('view')).toBe('tasks');
    expect(
      Date.parse(searchParams.get('to') ?? '') - Date.parse(searchParams.get('from') ?? ''),
    ).toBe(15 * 60_000);
    await page.goBack();
    await page.locator('.bars a').last().click();
    await page.waitForURL(/view=tasks/);
    const one = new URL(page.url()).searchParams;
    expect(Date.parse(one.get('to') ?? '') - Date.parse(one.get('from') ?? '')).toBe(60_000);
    expect(board.complaints).toEqual([]);
  });

  it('exports the filtered audit', async () => {
    const { page, tasks } = board;
    await tasks.define('never').enqueue();
    await board.signIn('?view=audit');
    await page.locator('tbody tr', { hasText: 'login' }).first().waitFor();
    await page.getByLabel('Action, such as retry').fill('login');
    await page.keyboard.press('Enter');
    await page.waitForURL(/action=login/);
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.locator('a[href*="action=login"]', { hasText: 'CSV' }).click(),
    ]);
    expect(file.suggestedFilename()).toBe('audit.csv');
    expect(file.url()).toContain('action=login');
  });

  it('shows further pages of failures without repeats or gaps while they change', async () => {
    const { page, tasks } = board;
    const words = (n: number): string => `${'abcdefgh'[n % 8]}${'ijklmnop'[Math.floor(n / 8)]}`;
    const bad = tasks.task('bad', (n: number) => {
      throw new Error(`no way to ${words(n)}`);
    });
    for (let n = 0; n < 55; n++) await bad.enqueue(n);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 55);
    await board.signIn('?view=failures');
    const rows = page.locator('tbody tr');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 50);
    await page.getByRole('button', { name: 'Show more' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 55);
    await page.getByRole('button', { name: 'Show more' }).waitFor({ state: 'detached' });
    // The last row moves to the top and pushes another row off the first page.
    await bad.enqueue(0);
    await bad.enqueue(60);
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 56);
    await eventually(async () => {
      const groups = await rows.locator('th').allTextContents();
      expect(new Set(groups).size).toBe(56);
      expect(groups.slice(0, 2).join()).toContain(words(0));
    });
    expect(board.complaints).toEqual([]);
  });

  it('asks again if the number of matching tasks has changed since the count', async () => {
    const { page, tasks } = board;
    const bad = tasks.task('bad', fail('x'));
    for (let n = 0; n < 3; n++) await bad.enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 3);
    await board.signIn('?name=bad&status=failed');
    await board.hasRows(3);
    await page.locator('summary', { hasText: 'All matching' }).click();
    await page.getByRole('button', { name: 'Delete all matching…' }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByRole('button', { name: 'Delete 3 tasks' }).waitFor();
    await bad.enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 4);
    await dialog.getByRole('button', { name: 'Delete 3 tasks' }).click();
    await dialog.locator('[role=alert]', { hasText: 'There are 4 tasks now' }).waitFor();
    expect((await tasks.aggregate('statsSnapshot')).counts.failed).toBe(4);
    await dialog.getByRole('button', { name: 'Delete 4 tasks' }).click();
    await page.getByText('4 deleted.').waitFor();
    expect((await tasks.aggregate('statsSnapshot')).counts.failed).toBe(0);
  });

  it('applies a command to every task if no filter is set', async () => {
    const { page, tasks } = board;
    await tasks.task('bad', fail('x')).enqueueMany([[], []]);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 2);
    await board.signIn('?view=tasks');
    await board.hasRows(2);
    await page.locator('summary', { hasText: 'All matching' }).click();
    await page.getByRole('button', { name: 'Delete all matching…' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Delete 2 tasks' }).click();
    await page.getByText('2 deleted.').waitFor();
    expect((await tasks.aggregate('statsSnapshot')).counts.failed).toBe(0);
  });

  it('shows a paused queue with user, time and reason on every page and browser', async () => {
    const { page, tasks } = board;
    await tasks.define('waits', { queue: 'mail' }).enqueue();
    await board.signIn('?view=queues');
    const elsewhere = await board.browser.newContext();
    const other = await board.newPage(elsewhere);
    await board.signIn('?view=tasks', { page: other, username: 'vera', pass: 'three' });
    await page
      .locator('tbody tr', { hasText: 'mail' })
      .getByRole('button', { name: 'Pause…' })
      .click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByLabel('Reason').fill('the bank is down');
    await dialog.getByRole('button', { name: 'Pause queue' }).click();
    for (const each of [page, other])
      await each
        .locator('.banner', {
          hasText: /Queue mail is paused by admin since \d\d:\d\d:\d\d: the bank is down/,
        })
        .waitFor();
    await page
      .locator('tbody tr', { hasText: 'mail' })
      .locator('.pill', { hasText: 'paused' })
      .waitFor();
    expect(await other.locator('.banner button').count()).toBe(0);
    for (const view of ['overview', 'failures', 'schedules']) {
      await board.visit(`?view=${view}`);
      await page.locator('.banner', { hasText: 'the bank is down' }).waitFor();
    }
    await page.getByRole('button', { name: 'Resume mail' }).click();
    for (const each of [page, other])
      await each.locator('.banner', { hasText: 'the bank is down' }).waitFor({ state: 'detached' });
    await elsewhere.close();
  });

  it('runs a schedule once on demand and shows its next runs across a clock change', async () => {
    const { tasks } = board;
    await board.context.close();
    const page = await board.open({ timezoneId: 'America/New_York', locale: 'en-US' });
    let ran = 0;
    const report = tasks.task('report', () => {
      ran += 1;
    });
    tasks.schedule('nightly', report, { cron: '0 3 * * *', timezone: 'Europe/Berlin' });
    await board.signIn('?view=schedules');
    const row = page.locator('tbody tr', { hasText: 'nightly' });
    await row.getByText('daily at 03:00').waitFor();
    await row.locator('summary').click();
    const runs = row.locator('.runs li');
    await eventually(async () => {
      expect(await runs.count()).toBe(5);
      for (const text of await runs.allInnerTexts()) {
        expect(text).toMatch(/E[SD]T/);
        expect(text).toMatch(/= .*(3:00:00.AM|03:00:00)/);
      }
    });
    // The server announces runs before and after the night of the clock change.
    await page.route('**/tasks/schedules', async (route) => {
      const answer = await route.fetch();
      const { items } = (await answer.json()) as { items: object[] };
      const nextRuns = [
        '2027-03-27T02:00:00.000Z',
        '2027-03-28T01:00:00.000Z',
        '2027-03-29T01:00:00.000Z',
      ];
      await route.fulfill({ json: { items: items.map((item) => ({ ...item, nextRuns })) } });
    });
    await page.reload();
    await row.locator('summary').click();
    await eventually(async () => {
      const texts = await runs.allInnerTexts();
      expect(
        texts.map((text) => /= .*?(\d+:\d\d:\d\d.AM)/.exec(text)?.[1]?.replace(/\s/, ' ')),
      ).toEqual(['3:00:00 AM', '3:00:00 AM', '3:00:00 AM']);
      expect(texts[1]).toContain('clocks change before');
    });
    await page.unroute('**/tasks/schedules');
    await row.getByRole('button', { name: 'Run now' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Run now' }).click();
    await page.getByText('nightly has been started.').waitFor();
    await waitFor(() => ran === 1);
    await row.locator('.run-history .mark.success').waitFor();
    expect(ran).toBe(1);
    await row.getByRole('button', { name: 'Pause…' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Pause schedule' }).click();
    await row.getByText('paused', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('nightly is resumed.').waitFor();
  });

  it('leads from the first page to the cause of failures and retries them', async () => {
    const { page, tasks } = board;
    let healthy = false;
    const bad = tasks.task('sync_stock', () => {
      if (!healthy) throw new Error('ETIMEDOUT stock.example');
    });
    for (let n = 0; n < 5; n++) await bad.enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 5);
    await board.signIn();
    let presses = 0;
    const press = async (
      name: string | RegExp,
      role: 'link' | 'button' = 'button',
      within = page.locator('body'),
    ): Promise<void> => {
      presses += 1;
      await within.getByRole(role, { name }).first().click();
    };
    await page.locator('.health', { hasText: 'all from sync_stock' }).waitFor();
    await press('Show failures', 'link');
    await press(/ETIMEDOUT/, 'link');
    await board.panel.locator('.stack').waitFor();
    healthy = true;
    await press('Retry all that failed in the last 1h…');
    await press('Retry 5 tasks', 'button', page.locator('dialog[open]'));
    await page.getByText('5 queued.').waitFor();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 5);
    expect(presses).toBe(4);
  });

  it('shows functions with statistics, options and a link to their tasks', async () => {
    const { page, tasks } = board;
    const retried = { retries: 3, delay: 1, backoff: 2, timeout: 30 };
    const settings = { ...retried, tags: { team: 'ops' }, cancelGrace: 7 };
    await tasks.task('good', () => 1, settings).enqueue();
    await tasks.task('bad', fail('x')).enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 1);
    await board.signIn('?view=functions');
    const row = page.locator('tbody tr', { hasText: 'good' });
    const retrying = '3 retries · after 1.0 s · × 2';
    await row.getByText(`tag team:ops · ${retrying} · timeout 30.0 s · 7.0 s to stop`).waitFor();
    await eventually(async () =>
      expect(await row.locator('td[data-label="Success"]').textContent()).toBe('100 %'),
    );
    await page
      .locator('tbody tr', { hasText: 'bad' })
      .locator('.run-history .mark.failed')
      .waitFor();
    await page.getByRole('link', { name: 'bad', exact: true }).click();
    await board.hasRows(1);
    expect(new URL(page.url()).search).toBe('?name=bad&view=tasks');
  });

  it('deletes history only after a count and the typed environment name', async () => {
    const { page, tasks } = board;
    await tasks.task('good', () => 1).enqueueMany(Array.from({ length: 3 }, () => []));
    await tasks.define('waits').enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 3);
    await board.signIn('?view=settings');
    await page.getByLabel('How long ago').fill('1');
    await page.getByRole('button', { name: 'Count and delete…' }).click();
    await page.getByText('No task ended more than 1 days ago.').waitFor();
    const counted = await page.evaluate(() =>
      fetch('/tasks/history?dryRun=true&before=2100-01-01', { method: 'DELETE' }).then(
        (answer) => answer.json() as Promise<object>,
      ),
    );
    expect(counted).toEqual({ deleted: 3, more: false });
    expect((await tasks.aggregate('statsSnapshot')).counts.success).toBe(3);
    await page.route('**/tasks/history*', (route) =>
      route.continue({
        url: route
          .request()
          .url()
          .replace(/before=[^&]*/, 'before=2100-01-01'),
      }),
    );
    await page.getByRole('button', { name: 'Count and delete…' }).click();
    const button = page.locator('dialog[open]').getByRole('button', { name: 'Delete 3 tasks' });
    await button.waitFor();
    await waitFor(() => button.isDisabled());
    await page.locator('dialog[open]').getByLabel('Type Test shop to confirm').fill('Test shop');
    await button.click();
    await page.getByText('3 tasks deleted.').waitFor();
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      success: 0,
      pending: 1,
    });
  });
});
