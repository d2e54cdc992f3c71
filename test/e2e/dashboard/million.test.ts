import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { BrowserContextOptions, CDPSession, Page } from 'playwright-core';
import { TaskManager } from '../../../src/index.js';
import { startBrowser } from '../../helpers/browser.js';
import { Dashboard } from '../../helpers/dashboard.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { multiplyTasks } from '../../helpers/million.js';
import { waitFor } from '../../helpers/wait.js';

const board = new Dashboard();
const folder = temporaryFolder();
const database = folder.file('tasks.db');

/**
 * A thousand ended tasks of three functions, of which one percent failed. Each is copied a thousand
 * times.
 */
beforeAll(async () => {
  board.browser = await startBrowser();
  const tasks = new TaskManager({ database, logger: false, concurrency: 100 });
  const functions = ['send_email', 'resize_image', 'charge_card'].map((name) =>
    tasks.task(name, (n: number) => {
      if (n % 100 === 0)
        throw new Error(n === 300 ? 'quicksilver in the pipe' : `no answer from host ${n}`);
      return n;
    }),
  );
  await tasks.start();
  for (let n = 0; n < 1000; n++) void functions[n % 3]?.enqueue(n);
  await waitFor(async () => {
    const { success, failed } = (await tasks.aggregate('statsSnapshot')).counts;
    return (
      success + failed === 1000 && (await tasks.find({ q: 'quicksilver', limit: 1 })).total === 1
    );
  });
  await tasks.stop();
  multiplyTasks(database, 1000);
}, 300_000);
afterAll(async () => {
  await board.browser.close();
  folder.remove();
});
beforeEach(async () => {
  board.complaints = [];
  await board.start({ database }, false);
  await board.open();
});
afterEach(async () => {
  await board.context.close();
  await Promise.all([board.served.close(), board.tasks.stop({ timeout: 0.1 })]);
});

/** Changes a given number of tasks per second until the returned function is called. */
function changing(perSecond: number): () => Promise<void> {
  const noise = board.tasks.define<[n: number]>('noise');
  let on = true;
  const running = (async () => {
    for (let n = 0; on; n++) {
      const next = Date.now() + 100;
      await noise.enqueueMany(Array.from({ length: perSecond / 10 }, (_, k) => [n * 1000 + k]));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - Date.now())));
    }
  })();
  return async () => {
    on = false;
    await running;
  };
}

/**
 * Returns the processor times of the longest tasks of the main thread in a period, in milliseconds
 * and longest first.
 */
async function longestTasks(session: CDPSession, seconds: number): Promise<number[]> {
  const found: number[] = [];
  const collect = ({ value }: { value: { name?: string; tdur?: number }[] }): void => {
    for (const { name, tdur } of value)
      if (name === 'RunTask' && tdur !== undefined) found.push(tdur / 1000);
  };
  session.on('Tracing.dataCollected', collect as never);
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['disabled-by-default-devtools.timeline', 'toplevel'] },
  } as never);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const complete = new Promise<void>((resolve) =>
    session.once('Tracing.tracingComplete', () => resolve()),
  );
  await session.send('Tracing.end');
  await complete;
  return found.sort((a, b) => b - a).slice(0, 5);
}

/** The length of one measurement of the main thread, in seconds. */
const stretch = 4;
/** The longest permitted task of the main thread, in milliseconds. */
const maxTask = 50;

/**
 * Time limits in milliseconds, several times the usual values: until the page is complete in a new
 * tab, and until its rows are painted.
 */
const maxWait = { all: 3000, painted: 300 };
/**
 * The rows may take this many times as long as the login form, because a slow browser is slow with
 * every page.
 */
const maxOfForm = 4;
/** Runs in the page. It records when the first frame with the rows or the form has been drawn. */
function notePaint(): void {
  const look = (): void => {
    if (!document.querySelector('tr[data-task], #password')) requestAnimationFrame(look);
    else
      requestAnimationFrame(() =>
        setTimeout(() => Object.assign(window, { painted: performance.now() })),
      );
  };
  look();
}

/**
 * Returns the milliseconds from the start of the navigation to that frame or to the first
 * contentful paint, whichever is later.
 */
async function painted(page: Page): Promise<number> {
  await page.waitForFunction(() => 'painted' in window);
  return page.evaluate(() => {
    const [first] = performance.getEntriesByName('first-contentful-paint');
    return Math.max((window as unknown as { painted: number }).painted, first?.startTime ?? 0);
  });
}

/**
 * Opens the dashboard or the login form in a tab of a new browser context, and loads it again
 * there.
 */
async function paintTwice(
  options: BrowserContextOptions,
): Promise<{ first: number; again: number }> {
  const context = await board.browser.newContext(options);
  const page = await board.newPage(context);
  await page.addInitScript(notePaint);
  // A first page is opened before the measurement, because the start of a tab does not count.
  await page.goto(board.url.replace(/dashboard$/, 'health'));
  await page.goto(board.url);
  const first = await painted(page);
  await page.reload();
  const again = await painted(page);
  await context.close();
  return { first, again };
}

/** The number of tries. Other tests share the machine, but a slow page is slow in every try. */
const maxTries = 10;

/**
 * Returns the longest task of the first period without a task over the limit, or else of the
 * quietest period. Other tests share the machine, but a slow page is slow in every period.
 */
async function longestOfQuietest(session: CDPSession): Promise<number> {
  let longest = Number.POSITIVE_INFINITY;
  for (let tries = maxTries; tries > 0 && longest >= maxTask; tries--) {
    const found = await longestTasks(session, stretch);
    expect(found).toHaveLength(5);
    longest = Math.min(longest, found[0] ?? Number.POSITIVE_INFINITY);
  }
  return longest;
}

/**
 * Returns the largest of many heap sizes. The page loads several hundred rows at a time, which take
 * a megabyte, and releases them now and then.
 */
async function heap(session: CDPSession): Promise<number> {
  const sizes: number[] = [];
  for (let n = 0; n < 15; n++) {
    await session.send('HeapProfiler.collectGarbage');
    sizes.push((await session.send('Runtime.getHeapUsage')).usedSize);
    await new Promise((resolve) => setTimeout(resolve, 137));
  }
  return Math.max(...sizes);
}

describe('the dashboard with a million tasks', () => {
  it('shows the health sentence and fifty rows quickly with an empty cache', async () => {
    await board.signIn();
    let took = Number.POSITIVE_INFINITY;
    for (let tries = maxTries; tries > 0 && took > maxWait.all; tries--) {
      const fresh = await board.browser.newContext({
        storageState: await board.context.storageState(),
      });
      const page = await board.newPage(fresh);
      const began = Date.now();
      await page.goto(board.url);
      await page.locator('.health').waitFor();
      await page.locator('tr[data-task]').nth(49).waitFor();
      took = Math.min(took, Date.now() - began);
      expect(await page.textContent('caption >> nth=-1')).toContain('50 of more than 10,000 tasks');
      await fresh.close();
    }
    expect((await board.tasks.aggregate('statsSnapshot')).counts.success).toBe(990_000);
    expect(took).toBeLessThanOrEqual(maxWait.all);
  });

  it('paints its rows within 300 ms or four times the time of the login form', async () => {
    await board.signIn();
    const storageState = await board.context.storageState();
    const least = {
      form: Number.POSITIVE_INFINITY,
      first: Number.POSITIVE_INFINITY,
      again: Number.POSITIVE_INFINITY,
    };
    const most = (): number => Math.max(maxWait.painted, maxOfForm * least.form);
    for (
      let tries = maxTries;
      tries > 0 && !(Math.max(least.first, least.again) <= most());
      tries--
    ) {
      const form = await paintTwice({});
      const rows = await paintTwice({ storageState });
      least.form = Math.min(least.form, form.first);
      least.first = Math.min(least.first, rows.first);
      least.again = Math.min(least.again, rows.again);
    }
    expect(least.first).toBeLessThanOrEqual(most());
    expect(least.again).toBeLessThanOrEqual(most());
  });

  it('finds a word in one of their errors', async () => {
    await board.signIn('?q=quicksilver&view=tasks');
    await board.hasRows(1);
  });

  it('never blocks its main thread for 50 ms during a hundred changes per second', async () => {
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const stop = changing(100);
    await board.row('noise').first().waitFor();
    const session = await board.context.newCDPSession(board.page);
    const longest = await longestOfQuietest(session);
    await stop();
    expect(longest).toBeLessThan(maxTask);
  });

  it('keeps its memory and speed during a thousand changes per second', async () => {
    await board.signIn('?view=tasks');
    await board.hasRows(50);
    const stop = changing(1000);
    const session = await board.context.newCDPSession(board.page);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const before = await heap(session);
    const began = performance.now();
    const longest = await longestOfQuietest(session);
    await new Promise((resolve) => setTimeout(resolve, began + 6000 - performance.now()));
    let after = await heap(session);
    // On a slow machine, the heap also contains changes that the page has not shown yet. A leak
    // would remain and grow.
    for (let tries = maxTries; tries > 0 && after / before >= 1.2; tries--) {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      after = await heap(session);
    }
    await stop();
    expect(longest).toBeLessThan(maxTask);
    expect(after / before).toBeLessThan(1.2);
    expect(board.complaints).toEqual([]);
  });
});
