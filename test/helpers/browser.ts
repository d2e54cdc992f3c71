import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { hasChromium, startChromium } from '../../scripts/chromium.js';

export function startBrowser(): Promise<Browser> {
  if (!hasChromium()) throw new Error('no Chromium; run node scripts/setup-tests.js');
  return startChromium('--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync');
}

/** Sends the form of a page, and waits for the page that answers it. What is read before may be of the page with the form. */
export async function submit(page: Page): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.click('button[type=submit]')]);
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Rules of axe that the page breaks, those of good practice beside those of WCAG, with the elements that do. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await (
      globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    ).axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 120)}`));
  });
}
