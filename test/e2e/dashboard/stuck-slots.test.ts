import { describe, expect, it } from '@jest/globals';
import type { Locator } from 'playwright-core';
import { useDashboard } from '../../helpers/dashboard.js';
import { gate, sleep, waitFor } from '../../helpers/wait.js';

const board = useDashboard({ database: ':memory:', concurrency: 3 });

/** Seconds between two loads of the page, with a margin. */
const betweenLoads = 6;

/**
 * Waits until the page shows a locator after one of its next loads, and moves the clock of the page
 * forward meanwhile.
 */
const shownSoon = (wanted: Locator): Promise<boolean> =>
  waitFor(async () => {
    await board.page.clock.fastForward(betweenLoads * 1000);
    return wanted.waitFor({ timeout: 300 }).then(
      () => true,
      () => false,
    );
  });

describe('slots of handlers that did not stop', () => {
  it('are shown with their tasks until the handlers return', async () => {
    const { page, tasks } = board;
    const [first, second] = [gate(), gate()];
    const hanging = (name: string, { passed }: typeof first) =>
      tasks.task(name, () => passed, { timeout: 0.05, cancelGrace: 0.05 });
    const workers = () => tasks.aggregate('workers');
    await page.clock.install();
    await board.signIn('?view=queues');
    const worker = page.locator('tbody tr', { hasText: `:${process.pid}` });
    await worker.getByText('0 of 3', { exact: true }).waitFor();
    expect(await worker.locator('.stuck').count()).toBe(0);

    const ids = [
      await hanging('hangs', first).enqueue(),
      await hanging('hangs_too', second).enqueue(),
    ];
    const note = worker.locator('.stuck summary');
    await shownSoon(note.filter({ hasText: '2 of 3 slots held by handlers that did not stop' }));
    await note.click();
    const listed = worker.locator('.stuck li');
    await listed.filter({ hasText: /^hangs, attempt 1, given up/ }).waitFor();
    await listed.filter({ hasText: /^hangs_too, attempt 1, given up/ }).waitFor();
    expect(await listed.count()).toBe(2);
    await listed.getByRole('link', { name: 'hangs_too' }).click();
    await board.panel.locator('h2', { hasText: 'hangs_too' }).waitFor();
    expect(new URL(page.url()).searchParams.get('task')).toBe(ids[1]);
    await page.keyboard.press('Escape');
    await board.panel.waitFor({ state: 'detached' });

    // A paused page does not change.
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    first.open();
    await waitFor(async () => (await workers())[0]?.stuck === 1);
    for (let n = 0; n < 3; n++) {
      await page.clock.fastForward(betweenLoads * 1000);
      await sleep(0.1);
    }
    expect(await note.textContent()).toContain('2 of 3 slots');
    await page.getByRole('button', { name: 'Resume' }).click();
    await shownSoon(note.filter({ hasText: '1 of 3 slots held by handlers that did not stop' }));
    expect(await listed.allTextContents()).toEqual([expect.stringMatching(/^hangs_too,/)]);

    const navigation = page.getByRole('navigation', { name: 'Pages of the dashboard' });
    await navigation.getByRole('link', { name: 'Overview' }).click();
    const line = page.locator('.lines li', { hasText: `:${process.pid}` });
    await shownSoon(line.getByText('1 of 3 slots held by handlers that did not stop'));
    second.open();
    await shownSoon(line.getByText('alive'));
    await navigation.getByRole('link', { name: 'Queues' }).click();
    await note.waitFor({ state: 'detached' });
    await worker.getByText('0 of 3', { exact: true }).waitFor();
    expect(board.complaints).toEqual([]);
  });
});
