import { describe, expect, it } from '@jest/globals';
import { useDashboard } from '../../helpers/dashboard.js';
import { eventually, waitFor } from '../../helpers/wait.js';

const board = useDashboard();

const fail = (message: string) => () => {
  throw new Error(message);
};
const names = () => board.page.locator('tr[data-task] th a').allTextContents();
const ids = () => board.shownIds();
const ended = (n: number) =>
  waitFor(async () => (await board.tasks.aggregate('statsSnapshot')).counts.pending === n);

describe('the task list in a browser', () => {
  it('keeps all conditions in the URL, so that a link shows the same rows', async () => {
    const { page, tasks } = board;
    const good = tasks.task('good', () => 1, { tags: { tenant: '7' } });
    const bad = tasks.task('bad', fail('the printer is on fire'), {
      queue: 'mail',
      tags: { tenant: '7' },
    });
    for (let n = 0; n < 3; n++)
      await Promise.all([
        good.enqueue(),
        bad.enqueue(),
        bad.with({ tags: { tenant: '8' } }).enqueue(),
      ]);
    // Failures are indexed for search in batches, some time after they are stored.
    await waitFor(async () => (await tasks.find({ q: 'printer fire', limit: 1 })).total === 6);
    await board.signIn('?view=tasks');
    await board.hasRows(9);
    await page.locator('.chip.failed').click();
    await board.hasRows(6);
    await page.getByLabel('Function').selectOption('bad');
    await page.getByLabel('Queue').selectOption('mail');
    await page.getByLabel('Created', { exact: true }).selectOption('-1h');
    await page.getByLabel('Tag, as key or key:value').fill('tenant:7');
    await page.keyboard.press('Enter');
    await board.hasRows(3);
    await page.getByLabel('Search id').fill('printer fire');
    await page.waitForURL(/q=printer/);
    expect(new URL(page.url()).search).toBe(
      '?from=-1h&name=bad&q=printer+fire&queue=mail&status=failed&tag=tenant%3A7&view=tasks',
    );
    await board.hasRows(3);
    const shown = await ids();
    const fresh = await board.browser.newContext();
    const other = await board.newPage(fresh);
    await board.signIn(new URL(page.url()).search, { page: other });
    await board.hasRows(3, other);
    expect(await board.shownIds(other)).toEqual(shown);
    expect(await other.locator('.chip.failed').getAttribute('aria-pressed')).toBe('true');
    await fresh.close();
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await board.hasRows(9);
    expect(board.complaints).toEqual([]);
  });

  it('finds a word that occurs only in an error message', async () => {
    const { page, tasks } = board;
    const noise = tasks.task('noise', fail('nothing of note'));
    await noise.enqueueMany(Array.from({ length: 200 }, () => []));
    await tasks.task('needle', fail('quicksilver in the pipe')).enqueue();
    await waitFor(async () => (await tasks.find({ q: 'quicksilver', limit: 1 })).total === 1);
    await board.signIn();
    await page.keyboard.press('/');
    await page.keyboard.type('quicksilver');
    await page.keyboard.press('Enter');
    await board.hasRows(1);
    await eventually(async () => expect(await names()).toEqual(['needle']));
  });

  it('pages forward and back without repeats or gaps while tasks are added', async () => {
    const { page, tasks } = board;
    const many = tasks.define<[n: number]>('many');
    await many.enqueueMany(Array.from({ length: 120 }, (_, n) => [n]));
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const first = await ids();
    // New rows do not move the rows that the user is reading.
    await page.locator('tr[data-task] input').nth(3).check();
    await many.enqueueMany(Array.from({ length: 10 }, (_, n) => [n]));
    await page.getByRole('button', { name: '10 new' }).waitFor();
    expect(await ids()).toEqual(first);
    await page.getByRole('button', { name: 'older' }).click();
    await page.waitForFunction(
      (id) => document.querySelector<HTMLElement>('tr[data-task]')?.dataset.task !== id,
      first[0],
    );
    await board.hasRows(50);
    const second = await ids();
    await many.enqueueMany(Array.from({ length: 10 }, (_, n) => [n]));
    await page.getByRole('button', { name: 'older' }).click();
    await board.hasRows(20);
    const third = await ids();
    expect(new Set([...first, ...second, ...third]).size).toBe(120);
    await page.getByRole('button', { name: 'newer' }).click();
    await board.hasRows(50);
    await eventually(async () => expect(await ids()).toEqual(second));
    await page.goBack();
    await board.hasRows(20);
    await eventually(async () => expect(await ids()).toEqual(third));
    await page.goForward();
    await board.hasRows(50);
    await page.getByRole('button', { name: 'newer' }).click();
    await page.waitForFunction(
      (id) => document.querySelector<HTMLElement>('tr[data-task]')?.dataset.task !== id,
      second[0],
    );
    await eventually(async () =>
      expect((await ids()).filter((id) => second.includes(id))).toEqual([]),
    );
  });

  it('sorts by each column header with mouse and keyboard, and shows the order', async () => {
    const { page, tasks } = board;
    const slow = tasks.task('b_slow', () => new Promise((resolve) => setTimeout(resolve, 120)));
    const quick = tasks.task('a_quick', () => 1);
    for (let n = 0; n < 3; n++) await Promise.all([slow.enqueue(), quick.enqueue()]);
    await ended(0);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.running === 0);
    await board.signIn('?view=tasks');
    await board.hasRows(6);
    const head = (name: string) => page.locator(`th[data-label="${name}"]`);
    expect(await head('Created').getAttribute('aria-sort')).toBe('descending');
    const sorted = (name: string, order: string) =>
      page.locator(`th[data-label="${name}"][aria-sort=${order}]`).waitFor();
    const rows = (...wanted: string[]) =>
      eventually(async () => expect(await names()).toEqual(wanted));
    await head('Function').getByRole('button').click();
    await sorted('Function', 'ascending');
    await rows('a_quick', 'a_quick', 'a_quick', 'b_slow', 'b_slow', 'b_slow');
    await page.waitForURL(/sort=name/);
    const once = await ids();
    await head('Function').getByRole('button').press('Enter');
    await sorted('Function', 'descending');
    await rows('b_slow', 'b_slow', 'b_slow', 'a_quick', 'a_quick', 'a_quick');
    await head('Duration').getByRole('button').press('Space');
    await sorted('Duration', 'descending');
    await rows('b_slow', 'b_slow', 'b_slow', 'a_quick', 'a_quick', 'a_quick');
    await board.visit('?sort=name&view=tasks');
    await board.hasRows(6);
    // Equal keys keep their order.
    await eventually(async () => expect(await ids()).toEqual(once));
    for (const key of ['createdAt', 'startedAt', 'endedAt', 'duration', 'name', 'status']) {
      await board.visit(`?sort=-${key}&view=tasks`);
      await board.hasRows(6);
    }
  });

  it('shows new tasks at the top, or their number if the user has scrolled', async () => {
    const { page, tasks } = board;
    const many = tasks.define<[n: number]>('many');
    await many.enqueueMany(Array.from({ length: 60 }, (_, n) => [n]));
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const [top] = await ids();
    await tasks.define('arrives').enqueue();
    await board.row('arrives').waitFor();
    expect((await ids())[1]).toBe(top);
    // The list does not move while a task is open or selected.
    await board.row('arrives').locator('th a').click();
    await board.panel.locator('.tabs').waitFor();
    await tasks.define('unseen').enqueue();
    await page.getByRole('button', { name: '1 new' }).waitFor();
    expect((await ids())[1]).toBe(top);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: '1 new' }).click();
    await board.row('unseen').waitFor();
    await page.evaluate(() => window.scrollTo(0, 800));
    const [before] = await ids();
    await tasks.define('later').enqueue();
    await page.getByRole('button', { name: '1 new' }).waitFor();
    expect((await ids())[0]).toBe(before);
    await page.getByRole('button', { name: '1 new' }).click();
    await board.row('later').waitFor();
    await page.waitForFunction(() => window.scrollY < 200);
  });

  it('keeps and marks a row that no longer matches', async () => {
    const { tasks } = board;
    const waits = tasks.define('waits');
    await waits.enqueue();
    await board.signIn('?status=pending');
    await board.row('waits').waitFor();
    waits.handle(() => 1);
    await board.page.locator('tr.gone .badge.success').waitFor();
    expect(await board.rows.count()).toBe(1);
  });

  it('clears the selection if the filter changes, and announces that', async () => {
    const { page, tasks } = board;
    const bad = tasks.task('bad', fail('x'));
    const worse = tasks.task('worse', fail('y'));
    for (let n = 0; n < 4; n++) await Promise.all([bad.enqueue(), worse.enqueue()]);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 8);
    await board.signIn('?view=tasks');
    await board.hasRows(8);
    const boxes = page.locator('tr[data-task] input');
    await boxes.nth(1).click();
    await boxes.nth(4).click({ modifiers: ['Shift'] });
    await page.getByText('4 tasks selected').waitFor();
    await page.getByLabel('Function').selectOption('worse');
    await board.hasRows(4);
    expect(await page.locator('tr[data-task] input:checked').count()).toBe(0);
    await page.locator('.selection-bar').waitFor({ state: 'detached' });
    await page
      .getByText('the selection was cleared', { exact: false })
      .waitFor({ state: 'attached' });
    // A task that is deleted elsewhere leaves the selection.
    await page.getByLabel('Select all on this page').check();
    await page.getByText('4 tasks selected').waitFor();
    await tasks.control({ action: 'delete', ids: (await ids()).slice(0, 1) }, { actor: 'test' });
    await page.getByText('3 tasks selected').waitFor();
    await page.getByRole('button', { name: 'Retry 3' }).click();
    await page.getByRole('button', { name: 'Retry 3 tasks' }).click();
    await page.getByText('3 queued.').waitFor();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 7);
  });

  it('restores pages, open tasks, scroll position and focus on Back and Forward', async () => {
    const { page, tasks } = board;
    const many = tasks.define<[n: number]>('many');
    const stored = await many.enqueueMany(Array.from({ length: 60 }, (_, n) => [n]));
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    await page.evaluate(() => window.scrollTo(0, 900));
    await page.getByRole('link', { name: 'Queues', exact: true }).click();
    await page.locator('tbody tr', { hasText: 'default' }).waitFor();
    await page.goBack();
    await board.hasRows(50);
    await page.waitForFunction(() => Math.abs(window.scrollY - 900) < 5);
    const link = page.locator(`tr[data-task="${stored[20]}"] th a`);
    await link.click();
    await board.panel.locator('h2', { hasText: 'many' }).waitFor();
    await page.waitForFunction(() => document.activeElement?.id === 'panel-name');
    await page.keyboard.press('Escape');
    await board.panel.waitFor({ state: 'detached' });
    await page.waitForFunction(
      (id) => document.activeElement?.closest<HTMLElement>('tr')?.dataset.task === id,
      stored[20],
    );
    await page.goBack();
    await board.panel.locator('h2', { hasText: 'many' }).waitFor();
    await page.goBack();
    await board.panel.waitFor({ state: 'detached' });
    await page.goForward();
    await board.panel.locator('h2', { hasText: 'many' }).waitFor();
    expect(board.complaints).toEqual([]);
  });
});
