import { describe, expect, it } from '@jest/globals';
import { taskContext, taskLog } from '../../../src/index.js';
import { useDashboard } from '../../helpers/dashboard.js';
import { eventually, gate, sleep, waitFor } from '../../helpers/wait.js';

const board = useDashboard({ database: ':memory:', limits: { logLines: 200_000 } });

const lines = () => board.panel.locator('.log .line');

describe('a task in a browser', () => {
  it('can be found, read, retried and closed with the keyboard alone', async () => {
    const { page, tasks } = board;
    let healthy = false;
    const bad = tasks.task('charge_card', () => {
      if (!healthy) throw new RangeError('card was declined');
    });
    await tasks.task('good', () => 1).enqueue();
    const id = await bad.enqueue();
    await tasks.task('good_too', () => 1).enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 2);
    await board.signIn();
    await page.keyboard.press('g');
    await page.keyboard.press('t');
    await page.waitForURL(`${board.url}?view=tasks`);
    await board.hasRows(3);
    const focused = () =>
      page.evaluate(() => document.activeElement?.closest<HTMLElement>('tr')?.dataset.task);
    for (let n = 0; n < 3 && (await focused()) !== id; n++) await page.keyboard.press('j');
    expect(await focused()).toBe(id);
    await page.keyboard.press('Enter');
    await board.panel.locator('.stack', { hasText: 'task.test' }).waitFor();
    healthy = true;
    await page.keyboard.press('r');
    await board.panel.locator('h2 .badge.success').waitFor();
    await page.keyboard.press('Escape');
    await board.panel.waitFor({ state: 'detached' });
    await waitFor(async () => (await focused()) === id);
    expect(board.complaints).toEqual([]);
  });

  it('lists its shortcuts under ?, and they can be switched off', async () => {
    const { page, tasks } = board;
    await tasks.task('good', () => 1).enqueue();
    await board.signIn();
    await page.keyboard.press('?');
    const help = page.locator('dialog[open]', { hasText: 'Keyboard shortcuts' });
    for (const key of ['Ctrl K', '/', 'j k', 'Esc'])
      await help.locator('kbd', { hasText: key }).first().waitFor();
    await help.getByLabel('Single letters are shortcuts').uncheck();
    await page.keyboard.press('Escape');
    await help.waitFor({ state: 'detached' });
    for (const key of ['g', 't', 'p', 'd', '?', '/']) await page.keyboard.press(key);
    await page.waitForTimeout(100);
    expect(page.url()).toBe(board.url);
    expect(await page.locator('dialog[open]').count()).toBe(0);
    expect(await page.textContent('.connection')).toBe('Live');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('queu');
    await page.keyboard.press('Enter');
    await page.waitForURL(`${board.url}?view=queues`);
  });

  it('has a bar for each attempt, which selects the attempt', async () => {
    const { page, tasks } = board;
    const flaky = tasks.task(
      'flaky',
      () => {
        const { attempt } = taskContext();
        taskLog(`try ${attempt}`);
        throw new Error(`failed the ${attempt}. time`);
      },
      { retries: 2, delay: 0.2 },
    );
    const id = await flaky.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    await board.signIn(`?task=${id}`);
    const bars = board.panel.locator('.timeline li');
    await board.panel.locator('.timeline button').nth(2).waitFor();
    await eventually(async () => {
      expect(await board.panel.locator('.timeline button').count()).toBe(3);
      expect(await bars.filter({ hasText: 'wait' }).count()).toBeGreaterThanOrEqual(2);
    });
    await board.panel.locator('.error-box', { hasText: 'failed the 3. time' }).waitFor();
    await board.panel.locator('.timeline button').nth(1).click();
    await board.panel.locator('.error-box', { hasText: 'failed the 2. time' }).waitFor();
    await page.waitForURL(/attempt=2/);
    await page.keyboard.press('2');
    await eventually(async () =>
      expect(await lines().allTextContents()).toEqual([expect.stringContaining('try 2')]),
    );
    await board.panel.getByRole('button', { name: 'attempt 2' }).click();
    await waitFor(async () => (await lines().count()) === 3);
  });

  it('shows the cause and members of an error with code and stack, collapsible', async () => {
    const { page, tasks } = board;
    const bad = tasks.task('bad', () => {
      const refused = (host: string) =>
        Object.assign(new Error(`connect to ${host}`), { code: 'ECONNREFUSED' });
      const none = new AggregateError(
        [refused('mirror-a'), refused('mirror-b')],
        'no mirror answered',
      );
      throw new RangeError('could not bill', { cause: none });
    });
    const id = await bad.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    await board.signIn(`?task=${id}`);
    await board.panel.locator('.error-box', { hasText: 'RangeError: could not bill' }).waitFor();
    const cause = board.panel
      .locator('.related-error', { hasText: 'Caused by AggregateError: no mirror answered' })
      .first();
    const [first, second] = [
      cause.locator('.related-error').nth(0),
      cause.locator('.related-error').nth(1),
    ];
    await first.locator('.error-code', { hasText: 'ECONNREFUSED' }).waitFor();
    await first.locator('.stack', { hasText: 'task.test' }).waitFor();
    expect(await second.locator('.stack').isVisible()).toBe(false);
    await second.locator('summary').focus();
    await page.keyboard.press('Enter');
    await second.locator('.stack', { hasText: 'mirror-b' }).waitFor();
    await cause.locator('> summary').click();
    await first.waitFor({ state: 'hidden' });
    expect(board.complaints).toEqual([]);
  });

  it('shows a growing log, follows its end on demand, and filters it', async () => {
    const { page, tasks } = board;
    const endless = tasks.task('endless', async () => {
      const { signal } = taskContext();
      for (let n = 1; !signal.aborted; n++) {
        (n % 10 === 0 ? taskLog.warn : taskLog)(`line ${n}`, { n });
        await sleep(0.02);
      }
    });
    const id = await endless.enqueue();
    await board.signIn(`?tab=logs&task=${id}`);
    await lines().nth(60).waitFor();
    const log = board.panel.locator('.log');
    const atEnd = () =>
      log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 30);
    await waitFor(atEnd);
    await log.evaluate((box) => box.scrollTo(0, 10));
    await waitFor(
      async () =>
        (await board.panel.getByRole('button', { name: 'Follow' }).getAttribute('aria-pressed')) ===
        'false',
    );
    const seen = await lines().count();
    await lines()
      .nth(seen + 5)
      .waitFor();
    expect(await log.evaluate((box) => box.scrollTop)).toBe(10);
    await log.press('End');
    await waitFor(atEnd);
    await lines()
      .nth(seen + 30)
      .waitFor();
    await waitFor(atEnd);
    await board.panel.getByLabel('Level').selectOption('warn');
    await waitFor(async () => {
      const texts = await lines().allTextContents();
      return texts.length > 0 && texts.every((text) => text.includes('warn'));
    });
    const warned = await lines().count();
    await lines().nth(warned).waitFor();
    await board.panel.getByLabel('Find in the log').fill('line 30');
    await waitFor(async () => (await lines().count()) === 1);
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    await board.panel.locator('h2 .badge.cancelled').waitFor();
    expect(board.complaints).toEqual([]);
    await page.close();
  });

  // One engine is enough, because the test checks the page.
  (process.env.TEST_ENGINE ? it.skip : it)(
    'opens a log of 100,000 lines at its end and downloads all of it',
    async () => {
      const { page, tasks } = board;
      const id = await tasks
        .task('talks', async () => {
          for (let n = 1; n <= 100_000; n++) {
            taskLog(`line ${n}`);
            if (n % 5000 === 0) await sleep(0.01);
          }
        })
        .enqueue();
      await waitFor(async () => (await tasks.get(id, { logs: 0 }))?.status === 'success');
      await board.signIn(`?tab=logs&task=${id}`);
      await lines().last().waitFor();
      const shows = (edge: 'first' | 'last', text: string) =>
        eventually(async () => {
          expect(await lines()[edge]().textContent()).toContain(text);
          expect(await lines().count()).toBe(500);
        });
      await shows('last', 'line 100000');
      await board.panel.getByRole('button', { name: 'Earlier lines' }).click();
      await shows('first', 'line 99001');
      await board.panel.getByRole('button', { name: 'To the end' }).click();
      await shows('last', 'line 100000');
      const saving = page.waitForEvent('download');
      await board.panel.getByRole('button', { name: 'Download' }).click();
      const stream = await (await saving).createReadStream();
      let text = '';
      for await (const part of stream) text += String(part);
      expect(text.trimEnd().split('\n')).toHaveLength(100_000);
      expect(text).toContain('line 50000\n');
      expect(board.complaints).toEqual([]);
    },
  );

  it('can be rerun with edited arguments as a new, linked task', async () => {
    const { page, tasks } = board;
    const seen: unknown[] = [];
    const bill = tasks.task('bill', (order: { id: string; cents: number }) => {
      seen.push(order);
      if (order.cents < 0) throw new Error('negative');
    });
    const id = await bill.enqueue({ id: 'A-1', cents: -5 });
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    await board.signIn(`?task=${id}`);
    await board.panel.getByRole('button', { name: 'Edit & retry' }).click();
    const dialog = page.locator('dialog[open]');
    const field = dialog.getByLabel('Arguments, as a JSON list');
    await field.fill('[{"id":');
    await dialog.getByText('This is not JSON').waitFor();
    await waitFor(() => dialog.getByRole('button', { name: 'Run as a new task' }).isDisabled());
    await field.fill('{"id":"A-1"}');
    await dialog.getByText('put them in [ ]').waitFor();
    await field.fill('[{"id":"A-1","cents":5}]');
    await eventually(async () =>
      expect(await dialog.locator('.diff').innerText()).toMatch(
        /- {5}"cents": -5\s+\+ {5}"cents": 5/,
      ),
    );
    await dialog.getByRole('button', { name: 'Run as a new task' }).click();
    await page.getByText('A new bill is queued.').waitFor();
    await board.panel.getByText('retried as').waitFor();
    await page.getByRole('link', { name: 'Open it' }).click();
    await board.panel.locator('h2 .badge.success').waitFor();
    await board.panel.getByText('rerun of').waitFor();
    expect(seen).toEqual([
      { id: 'A-1', cents: -5 },
      { id: 'A-1', cents: 5 },
    ]);
  });

  it('shows arguments as a tree and renders long ones on demand', async () => {
    const { page, tasks } = board;
    const many = tasks.task(
      'many',
      (_order: { lines: { deep: { deeper: string } }[]; text: string }) => 'done',
    );
    const lines = Array.from({ length: 5000 }, (_, n) => ({ deep: { deeper: `leaf ${n}` } }));
    const id = await many.enqueue({ lines, text: 'x'.repeat(100_000) });
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
    await board.signIn(`?tab=data&task=${id}`);
    const json = board.panel.locator('.json').first();
    await json.getByText('[5,000 items]').waitFor();
    expect(await json.textContent()).not.toContain('leaf');
    expect((await json.textContent())?.length).toBeLessThan(25_000);
    await json.getByText('[5,000 items]').click();
    await json.getByText('{1 key}').first().waitFor();
    await eventually(async () => expect(await json.locator('summary').count()).toBe(103));
    const first = json
      .locator('details', { has: page.locator('> summary', { hasText: /^\{1 key\}$/ }) })
      .first();
    await first.locator('> summary').click();
    await first.locator('details > summary').click();
    await first.getByText('leaf 0').waitFor();
    await json.getByRole('button', { name: 'Show all 5,000 items' }).click();
    await page.waitForFunction(() => document.querySelectorAll('.json summary').length > 5000);
    await json.getByRole('button', { name: /Show all [0-9.]+ KB/ }).click();
    await page.waitForFunction(
      () => (document.querySelector('.json')?.textContent?.length ?? 0) > 100_000,
    );
    expect(board.complaints).toEqual([]);
  });

  it('shows cancelling until it stops, and reports if it has already ended', async () => {
    const { page, tasks } = board;
    const { passed, open } = gate();
    const stubborn = tasks.task('stubborn', () => passed, { cancelGrace: 30 });
    const id = await stubborn.enqueue();
    await board.signIn(`?task=${id}&view=tasks`);
    await board.panel.getByRole('button', { name: 'Cancel' }).click();
    const dialog = page.locator('dialog[open]');
    // A second button "Cancel" would be ambiguous.
    await dialog.getByRole('button', { name: 'Keep running' }).waitFor();
    expect(await dialog.getByRole('button', { name: 'Cancel' }).count()).toBe(0);
    await dialog.getByRole('button', { name: 'Stop task' }).click();
    await board.panel.getByRole('button', { name: 'Cancelling…' }).waitFor();
    await board.panel.locator('h2 .badge', { hasText: 'cancelling' }).waitFor();
    open();
    await board.panel.locator('h2 .badge.cancelled').waitFor();

    const quick = tasks.define('quick');
    const other = await quick.enqueue();
    await board.visit(`?task=${other}&view=tasks`);
    await board.panel.getByRole('button', { name: 'Cancel' }).waitFor();
    // The paused page does not learn that the task has ended.
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    quick.handle(() => 1);
    await waitFor(async () => (await tasks.get(other))?.status === 'success');
    await board.panel.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('.notice', { hasText: 'quick has changed.' }).waitFor();
    expect(await page.locator('.notice.failed span').count()).toBe(0);
    await board.panel.locator('h2 .badge.success').waitFor();
  });
});
