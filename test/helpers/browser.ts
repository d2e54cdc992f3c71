import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { hasChromium, startChromium } from '../../scripts/chromium.js';

/**
 * The delay of each answer to a page in milliseconds. With a delay, scripts run at a third of their
 * speed. Default 0.
 */
const slowness = Number(process.env.TEST_SLOW_PAGES ?? 0);

export async function startBrowser(): Promise<Browser> {
  if (!hasChromium()) throw new Error('no Chromium; run node scripts/setup-tests.js');
  const browser = await startChromium(
    '--disable-quic',
    '--no-first-run',
    '--disable-component-update',
    '--disable-sync',
  );
  if (slowness > 0) slowDown(browser);
  return browser;
}

/**
 * Slows all pages down, so that a test fails if it reads a page before it has waited for the
 * expected state.
 */
function slowDown(browser: Browser): void {
  const newContext = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await newContext(options);
    const newPage = context.newPage.bind(context);
    context.newPage = async () => {
      const page = await newPage();
      const session = await context.newCDPSession(page);
      const line = {
        offline: false,
        latency: slowness,
        downloadThroughput: -1,
        uploadThroughput: -1,
      };
      await session.send('Network.emulateNetworkConditions', line);
      await session.send('Emulation.setCPUThrottlingRate', { rate: 3 });
      return page;
    };
    return context;
  };
}

/**
 * Submits the form of a page and waits for the answer. Until then, the page still shows the form.
 */
export async function submit(page: Page): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.click('button[type=submit]')]);
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/**
 * Returns the axe rules that the page violates, from WCAG and from best practices, with the
 * affected elements.
 */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await (
      globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
      }
    ).axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html }) => `${id}: ${html.slice(0, 120)}`),
    );
  });
}
