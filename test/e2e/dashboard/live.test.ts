import { describe, expect, it } from '@jest/globals';
import { useDashboard } from '../../helpers/dashboard.js';
import { password } from '../../helpers/passwords.js';
import { eventually, gate, promptly, sleep, waitFor } from '../../helpers/wait.js';

const board = useDashboard();

const numbers = (length: number) => Array.from({ length }, (_, n): [number] => [n]);
const fail = (message: string) => () => {
  throw new Error(message);
};

describe('the live dashboard', () => {
  /**
   * The time limit for a change to reach the page: many times the usual time, and less than the
   * interval of periodic requests.
   */
  const soon = { timeout: promptly * 1000 };

  it('shows the progress of a task from pending to success without a reload', async () => {
    const { page, tasks } = board;
    await board.signIn('?view=tasks');
    await page.evaluate(() => Object.assign(window, { untouched: true }));
    const waits = tasks.define('wait_for_it');
    await waits.enqueue();
    await board.row('wait_for_it').locator('.badge.pending').waitFor(soon);
    const { passed, open } = gate();
    waits.handle(() => passed);
    await board.row('wait_for_it').locator('.badge.running').waitFor(soon);
    open();
    await board.row('wait_for_it').locator('.badge.success').waitFor(soon);
    expect(await page.evaluate(() => (window as unknown as { untouched: boolean }).untouched)).toBe(
      true,
    );
    expect(board.complaints).toEqual([]);
  });

  it('keeps scroll, selection and focus during a hundred changes per second', async () => {
    const { page, tasks } = board;
    const many = tasks.define<[n: number]>('many');
    await many.enqueueMany(Array.from({ length: 60 }, (_, n) => [n]));
    const bad = await tasks.task('bad', fail('look at me')).enqueue();
    const noise = tasks.task('noise', () => 1);
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    await page.locator('tr[data-task] input').nth(5).check();
    await board.visit(`?tab=summary&task=${bad}&view=tasks`);
    await board.panel.locator('.error-box').waitFor();
    await board.hasRows(50);
    await page.locator('tr[data-task] input').nth(5).check();
    await page.locator('tr[data-task] input').nth(9).check();
    await page.evaluate(() => {
      window.scrollTo(0, 400);
      const box = document.querySelector('.error-box');
      if (box) getSelection()?.selectAllChildren(box);
    });
    await page.locator('#tab-data').focus();
    const held = () =>
      page.evaluate(() => ({
        scroll: window.scrollY,
        text: getSelection()?.toString(),
        focus: document.activeElement?.id,
        tab: document.querySelector('[role=tab][aria-selected=true]')?.id,
        checked: [
          ...document.querySelectorAll<HTMLInputElement>('tr[data-task] input:checked'),
        ].map((box) => box.closest('tr')?.dataset.task),
        rows: [...document.querySelectorAll<HTMLElement>('tr[data-task]')].map(
          (row) => row.dataset.task,
        ),
      }));
    const before = await held();
    expect(before).toMatchObject({
      text: 'Error: look at me',
      focus: 'tab-data',
      tab: 'tab-summary',
      scroll: 400,
    });
    expect(before.checked).toHaveLength(2);
    for (let n = 0; n < 20; n++) {
      await noise.enqueueMany(Array.from({ length: 10 }, () => []));
      await sleep(0.1);
    }
    await page.getByRole('button', { name: /\d+ new/ }).waitFor();
    expect(await held()).toEqual(before);
    expect(board.complaints).toEqual([]);
  });

  it('reuses row elements for new tasks and updates a hovered time', async () => {
    const { page, tasks } = board;
    await tasks.define<[n: number]>('old').enqueueMany(numbers(50));
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const first = () =>
      page.evaluate(() => {
        const row = document.querySelector('tr[data-task]');
        const time = row?.querySelector('time');
        return { marked: row !== null && 'marked' in row, at: time?.dateTime, title: time?.title };
      });
    await page.evaluate(() => {
      for (const row of document.querySelectorAll('tr[data-task]'))
        Object.assign(row, { marked: true });
    });
    const time = page.locator('tr[data-task] time').first();
    await time.hover();
    await waitFor(async () => (await first()).title);
    const before = await first();
    await sleep(1.1);
    await tasks.define<[n: number]>('fresh').enqueueMany(numbers(50));
    await board.becomes('fresh');
    await time.hover({ position: { x: 3, y: 3 } });
    await eventually(async () => {
      const after = await first();
      expect([before.marked, after.marked]).toEqual([true, true]);
      expect([after.at === before.at, after.title === before.title]).toEqual([false, false]);
    });
  });

  it('keeps a pressed row, and does not move the focus to another task', async () => {
    const { page, tasks } = board;
    const [old, fresh] = [tasks.define<[n: number]>('old'), tasks.define<[n: number]>('fresh')];
    await old.enqueueMany(numbers(50));
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const aimed = await board.rows.first().getAttribute('data-task');
    await board.rows.first().locator('.state').hover();
    await page.mouse.down();
    await fresh.enqueueMany(numbers(50));
    await page.getByRole('button', { name: '50 new' }).waitFor();
    await page.mouse.up();
    await page.waitForFunction(
      (id) => new URLSearchParams(location.search).get('task') === id,
      aimed,
    );

    await board.visit('?view=tasks');
    await board.becomes('fresh');
    await board.rows.first().locator('a').focus();
    // With so many changes, the list is always loaded again.
    await old.enqueueMany(numbers(2000));
    await board.becomes('old');
    expect(await page.evaluate(() => document.activeElement?.nodeName)).toBe('BODY');
    expect(board.complaints).toEqual([]);
  });

  it('freezes and counts changes while it is paused, and catches up on resume', async () => {
    const { page, tasks } = board;
    await board.signIn('?view=tasks');
    await page.getByRole('button', { name: 'Pause' }).click();
    await tasks.define('meanwhile').enqueueMany([[], []]);
    await tasks.task('bad', fail('x')).enqueue();
    await page.getByRole('button', { name: 'Resume +3' }).waitFor();
    await sleep(1.2);
    expect(await board.rows.count()).toBe(0);
    expect(await page.locator('.nav .n').count()).toBe(0);
    await page.reload();
    await board.hasRows(3);
    await page.locator('.connection', { hasText: /^Paused$/ }).waitFor();
    await tasks.define('more').enqueue();
    await page.getByRole('button', { name: 'Resume +1' }).click();
    await board.hasRows(4);
    await page.locator('.nav .n', { hasText: /^1$/ }).waitFor();
    await page.locator('.connection', { hasText: /^Live$/ }).waitFor();
  });

  it('shows the age of its data while the server is down, and recovers', async () => {
    const { page, tasks } = board;
    await board.signIn('?view=tasks');
    const { port } = new URL(board.served.url);
    const { server } = board.served;
    await board.served.close();
    await page
      .locator('.banner.offline', {
        hasText: /Connection lost \d+ s ago — showing \d\d:\d\d:\d\d\. Trying again/,
      })
      .waitFor();
    await tasks.define('while_away').enqueue();
    await new Promise<void>((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
    await page.getByRole('button', { name: 'Now' }).click();
    await board.row('while_away').waitFor();
    await page.waitForSelector('.connection.live');
    await page.locator('.banner.offline').waitFor({ state: 'detached' });
  });

  it('asks for a new login in place after the session has ended elsewhere', async () => {
    const { page } = board;
    await board.tasks.task('bad', fail('x')).enqueue();
    await board.signIn('?status=failed');
    await board.row('bad').waitFor();
    await page.getByLabel('Tag, as key or key:value').fill('half typed');
    const elsewhere = await board.browser.newContext();
    const other = await board.newPage(elsewhere);
    await board.signIn('?view=audit', { page: other });
    await other.getByRole('button', { name: 'End all others…' }).click();
    await other.locator('dialog[open]').getByRole('button', { name: 'End 1' }).click();
    const dialog = page.locator('dialog[open]', { hasText: 'Your session has ended' });
    await dialog.waitFor(soon);
    await page.keyboard.press('Escape');
    await dialog.getByLabel('Password').fill('wrong');
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.getByText('Invalid username or password.').waitFor();
    await dialog.getByLabel('Password').fill(password);
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.waitForSelector('.connection.live');
    expect(await page.inputValue('[aria-label="Tag, as key or key:value"]')).toBe('half typed');
    expect(new URL(page.url()).search).toBe('?status=failed');
    await board.tasks.task('worse', fail('y')).enqueue();
    await board.row('worse').waitFor();
    await elsewhere.close();
  });

  it('keeps eight tabs live with one stream, even if its tab is closed', async () => {
    const { page, context, tasks, served } = board;
    await board.signIn('?view=tasks');
    const tabs = [page];
    for (let n = 1; n < 8; n++) {
      const tab = await board.newPage(context);
      await tab.goto(`${board.url}?view=tasks`);
      tabs.push(tab);
    }
    for (const tab of tabs) await tab.waitForSelector('.connection.live');
    const open = (): Promise<number> =>
      new Promise((resolve) => served.server.getConnections((_error, n) => resolve(n)));
    await eventually(async () => expect(await open()).toBeLessThanOrEqual(6));
    await tasks.define('for_all').enqueue();
    for (const tab of tabs) {
      await tab.bringToFront();
      await tab.locator('tr[data-task]', { hasText: 'for_all' }).waitFor();
    }
    await page.close();
    await sleep(0.3);
    const id = await tasks.task('after', fail('the reader is gone')).enqueue();
    for (const tab of tabs.slice(1)) {
      await tab.bringToFront();
      await tab.locator('tr[data-task]', { hasText: 'the reader is gone' }).waitFor();
    }
    // A listening tab also gets the log of a task that no other tab shows.
    const last = tabs[7] ?? page;
    await last.goto(`${board.url}?tab=logs&task=${id}&view=tasks`);
    await last.getByText('No line yet.').waitFor();
    expect(board.complaints).toEqual([]);
  });

  it('shows a second tab the changes from before its script started', async () => {
    const { page, context, tasks } = board;
    await board.signIn('?view=tasks');
    await page.waitForSelector('.connection.live');
    const tab = await board.newPage(context);
    // The tab is slow: it receives the counts of a second before the others know of it.
    await tab.addInitScript(() => {
      const say = BroadcastChannel.prototype.postMessage;
      BroadcastChannel.prototype.postMessage = function (message: { kind?: string }) {
        setTimeout(() => say.call(this, message), message.kind === 'joins' ? 2500 : 0);
      };
    });
    await tab.route(/assets\/chunk-.*\.js$/, async (route) => {
      await tasks.define('between').enqueue();
      await page.locator('tr[data-task]', { hasText: 'between' }).waitFor();
      await route.continue();
    });
    await tab.goto(`${board.url}?view=tasks`);
    await tab.locator('tr[data-task]', { hasText: 'between' }).waitFor();
  });

  it('shows the right ages with a wrong clock and in another time zone', async () => {
    const { tasks } = board;
    await board.context.close();
    const page = await board.open({ timezoneId: 'America/New_York' });
    await page.addInitScript(() => {
      const real = Date.now;
      Date.now = () => real() - 600_000;
    });
    const { passed, open } = gate();
    await tasks.task('runs', () => passed).enqueue();
    await tasks.task('bad', fail('x')).enqueue();
    await board.signIn('?view=failures');
    await page.locator('td[data-label="Last"] time', { hasText: /^(now|\d+ s ago)$/ }).waitFor();
    await board.visit('?view=tasks');
    await waitFor(async () =>
      /^[0-9.]+ s$/.test(
        (await board.row('runs').locator('td[data-label="Duration"]').textContent()) ?? '',
      ),
    );
    open();
  });

  it.each(['Asia/Kolkata', 'America/St_Johns'])(
    'shows the UTC offset of the browser zone: %s',
    async (timezoneId) => {
      await board.context.close();
      await board.open({ timezoneId });
      await board.tasks.define('waits').enqueue();
      await board.signIn('?view=tasks');
      const head = board.page.locator('th[data-label="Created"]');
      const parts = new Intl.DateTimeFormat('en', {
        timeZone: timezoneId,
        timeZoneName: 'shortOffset',
      }).formatToParts(new Date());
      const offset = parts.find(({ type }) => type === 'timeZoneName')?.value.slice('GMT'.length);
      expect(offset).toMatch(/^[+-]\d+:30$/);
      expect(await head.textContent()).toContain(`Created, UTC${offset}`);
    },
  );

  it('shows all times in the selected zone, which the URL contains', async () => {
    const { tasks } = board;
    await board.context.close();
    const page = await board.open({ timezoneId: 'America/New_York', locale: 'en-US' });
    const id = await tasks.task('bad', fail('x')).enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    const task = await tasks.get(id);
    const clock = (zone: string) =>
      new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
        hourCycle: 'h23',
      }).format(new Date(task?.createdAt ?? ''));
    await board.signIn('?view=tasks');
    const created = board.row('bad').locator('td[data-label="Created"] time');
    await board.row('bad').waitFor();
    await eventually(async () =>
      expect(await created.textContent()).toContain(clock('America/New_York').slice(0, 5)),
    );
    await page.keyboard.press('u');
    await page.waitForFunction(() =>
      document.querySelector('th[data-label="Created"]')?.textContent?.includes('UTC+0'),
    );
    await eventually(async () => expect(await created.textContent()).toBe(clock('UTC')));
    for (const view of ['overview', 'failures', 'queues', 'audit']) {
      await board.visit(`?tz=Asia/Tokyo&view=${view}`);
      await page.locator('main time').first().waitFor();
      const wrong = await page.locator('main time').evaluateAll((times) =>
        times
          .filter((time) => /^\d\d:\d\d/.test(time.textContent ?? ''))
          .filter((time) => {
            const at = new Date(time.getAttribute('datetime') ?? '');
            const hour = new Intl.DateTimeFormat('en-US', {
              timeZone: 'Asia/Tokyo',
              hour: '2-digit',
              hourCycle: 'h23',
            }).format(at);
            return !time.textContent?.startsWith(hour);
          })
          .map((time) => time.outerHTML),
      );
      expect(wrong).toEqual([]);
    }
  });

  it('labels its chart in the selected zone', async () => {
    await board.context.close();
    const page = await board.open({ timezoneId: 'America/New_York', locale: 'en-US' });
    await tasksEnd();
    await board.signIn('?range=-6h');
    await page.locator('.bars a').first().waitFor();
    const marks = () => page.locator('.bars figcaption span').allTextContents();
    const hours = (texts: string[]) => texts.slice(0, -1).map((text) => Number(text.slice(0, 2)));
    await waitFor(async () => (await marks()).length > 1);
    const here = hours(await marks());
    const bar = await page.locator('.bars a').first().getAttribute('aria-label');
    await board.visit('?range=-6h&tz=Asia/Kolkata');
    await page.locator('.bars a').first().waitFor();
    const there = await marks();
    await eventually(async () =>
      expect(await page.locator('.bars a').first().getAttribute('aria-label')).not.toBe(bar),
    );
    // The zone differs by five and a half hours from UTC.
    const now = (timeZone: string) => {
      const [day = 0, hour = 0, minute = 0] = new Intl.DateTimeFormat('en-US', {
        timeZone,
        day: 'numeric',
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      })
        .formatToParts(new Date())
        .filter(({ type }) => type !== 'literal')
        .map(({ value }) => Number(value));
      return day * 1440 + hour * 60 + minute;
    };
    const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
    // On the last day of a month, the number of the day can be smaller in Kolkata.
    const ahead = (now('Asia/Kolkata') - now('America/New_York') + 32 * 1440) % 1440;
    expect(here).toHaveLength(4);
    for (const [n, text] of there.slice(0, -1).entries())
      expect((minutes(text) - (here[n] ?? 0) * 60 + 1440) % 1440).toBeGreaterThanOrEqual(ahead);
    for (const [n, text] of there.slice(0, -1).entries())
      expect((minutes(text) - (here[n] ?? 0) * 60 + 1440) % 1440).toBeLessThan(ahead + 60);
  });

  it.each([
    { click: 'a click', button: 'left' },
    { click: 'a click that opens a tab', button: 'middle' },
  ] as const)(
    'counts $click although a banner appears between its press and its release',
    async ({ button }) => {
      const { page, tasks, context } = board;
      await tasks.define('send', { queue: 'mail' }).with({ runIn: 3600 }).enqueue();
      await tasks.define('other').with({ runIn: 3600 }).enqueue();
      await board.signIn('?view=queues');
      const row = page.locator('tr', { hasText: 'mail' });
      const pause = row.getByRole('button', { name: 'Pause…' });
      await (button === 'left' ? pause : row.getByRole('link', { name: 'mail' })).hover();
      await page.mouse.down({ button });
      await tasks.control({ action: 'pause', queue: 'default' }, { actor: 'ada' });
      // The banner usually appears within half a second.
      await sleep(1.5);
      await page.mouse.up({ button });
      if (button === 'left')
        await page.locator('dialog[open]', { hasText: 'Pause mail?' }).waitFor(soon);
      else await waitFor(() => context.pages().some((tab) => tab.url().includes('queue=mail')));
      await page.locator('.banner', { hasText: 'default is paused' }).waitFor(soon);
      expect(board.complaints).toEqual([]);
    },
  );

  it('reports the end of a watched task on the page, as notification and icon', async () => {
    const { page, tasks } = board;
    const { passed, open } = gate();
    const long = tasks.task('long', async () => {
      await passed;
      throw new Error('secret of the handler');
    });
    await board.context.grantPermissions(['notifications'], { origin: board.served.url });
    await page.addInitScript(() => {
      const notices: string[] = [];
      const Real = Notification;
      Object.assign(window, {
        notices,
        Notification: class extends Real {
          // A headless shell grants the permission but still reports "denied" here.
          static override readonly permission = 'granted';
          constructor(title: string, options?: NotificationOptions) {
            super(title, options);
            notices.push(`${title} ${options?.body ?? ''}`);
          }
        },
      });
    });
    const id = await long.enqueue();
    await board.signIn(`?task=${id}`);
    await board.panel.getByRole('button', { name: 'Watch', exact: true }).click();
    await board.panel.getByRole('button', { name: 'Watched', pressed: true }).waitFor();
    await page.locator('.notice', { hasText: 'when long ends' }).waitFor();
    await page.keyboard.press('Escape');
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { get: () => true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    });
    const icon = () => page.locator('link[rel=icon]').getAttribute('href');
    expect(await icon()).not.toContain('alert');
    open();
    await page.locator('.notice', { hasText: /long [0-9a-f]{8}….{4}: failed/ }).waitFor();
    expect(await page.evaluate(() => (window as unknown as { notices: string[] }).notices)).toEqual(
      [expect.stringMatching(/^long [0-9a-f]{8}….{4}: failed Error$/)],
    );
    await waitFor(async () => (await icon())?.includes('icon-alert') === true);
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { get: () => false, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await eventually(async () => expect(await icon()).not.toContain('alert'));
    await page.locator('.notice').getByRole('link', { name: 'Show' }).click();
    await board.panel.locator('.error-box').waitFor();
    expect(board.complaints).toEqual([]);
  });
});

async function tasksEnd(): Promise<void> {
  const { tasks } = board;
  const good = tasks.task('good', () => 1);
  await good.enqueue();
  await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 1);
}
