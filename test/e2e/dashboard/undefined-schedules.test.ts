import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { TaskManager } from '../../../src/index.js';
import { turnableClock } from '../../helpers/clock.js';
import { useDashboard } from '../../helpers/dashboard.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { waitFor } from '../../helpers/wait.js';

const folder = temporaryFolder();
const database = folder.file('tasks.db');
let clock: ReturnType<typeof turnableClock>;
// The clock is replaced before the server starts, so that all its parts have the same clock.
beforeEach(() => {
  clock = turnableClock();
});
afterEach(() => void jest.useRealTimers());
const board = useDashboard({ database });
afterAll(() => folder.remove());

const storedSchedules = async () =>
  (await board.tasks.describe()).schedules.map(({ name }) => name).sort();
const scheduleRow = (name: string, page = board.page) =>
  page.locator('tbody tr', { hasText: name });

/**
 * Leaves two schedules: this process also defines `kept_report`, and no process has defined
 * `old_report` for a minute.
 */
async function leaveSchedule(): Promise<void> {
  const previous = new TaskManager({ database, logger: false });
  for (const name of ['old_report', 'kept_report'])
    previous.schedule(name, () => {}, { every: 3600 });
  board.tasks.schedule('kept_report', () => {}, { every: 3600 });
  await previous.start();
  await waitFor(async () => (await storedSchedules()).length === 2);
  await previous.stop();
  clock.pass(61);
}

describe('a schedule that no process defines', () => {
  it('is marked, and can be removed after a confirmation with an audit entry', async () => {
    const { page } = board;
    await leaveSchedule();
    await board.signIn('?view=schedules');
    const old = scheduleRow('old_report');
    await old.locator('.pill', { hasText: 'not defined' }).waitFor();
    await scheduleRow('kept_report').waitFor();
    expect(await scheduleRow('kept_report').locator('.pill').count()).toBe(0);
    const remove = page.getByRole('button', { name: 'Remove…' });
    expect(await remove.count()).toBe(1);

    // A viewer sees the mark but no button.
    const elsewhere = await board.browser.newContext();
    const other = await board.newPage(elsewhere);
    await board.signIn('?view=schedules', { page: other, username: 'vera', pass: 'three' });
    await scheduleRow('old_report', other).locator('.pill', { hasText: 'not defined' }).waitFor();
    expect(await other.getByRole('button', { name: 'Remove…' }).count()).toBe(0);
    await elsewhere.close();

    await remove.click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await storedSchedules()).toEqual(['kept_report', 'old_report']);

    await remove.click();
    await dialog.getByLabel('Reason').fill('replaced in May');
    await dialog.getByRole('button', { name: 'Remove schedule' }).click();
    await page.locator('.notice', { hasText: 'old_report has been removed.' }).waitFor();
    await old.waitFor({ state: 'detached' });
    await scheduleRow('kept_report').waitFor();
    expect(await storedSchedules()).toEqual(['kept_report']);

    await board.visit('?view=audit');
    const entry = page.locator('tbody tr', {
      hasText: 'schedule: old_report, reason: replaced in May',
    });
    await entry.locator('td[data-label="What"]', { hasText: /^remove$/ }).waitFor();
    await entry.locator('th', { hasText: 'admin' }).waitFor();
    await entry.locator('.badge', { hasText: 'done' }).waitFor();
    expect(await entry.count()).toBe(1);
    expect(board.complaints).toEqual([]);
  });
});
