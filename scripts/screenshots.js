// Takes the pictures of the docs from a running app: npm run build && node scripts/screenshots.js
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChromium } from './chromium.js';

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-'));
const root = fileURLToPath(new URL('..', import.meta.url));
const env = {
  ...process.env,
  PORT: '3170',
  ADMIN_PASSWORD: 'screenshot',
  DATABASE: join(folder, 'tasks.db'),
};
const app = spawn(process.execPath, ['examples/quickstart/app.js'], {
  cwd: root,
  env,
  stdio: 'ignore',
});
const browser = await startChromium();
const address = 'http://127.0.0.1:3170/tasks/dashboard';

/**
 * @param {'light' | 'dark'} colorScheme
 * @param {number} width
 * @param {number} height
 */
async function signedIn(colorScheme, width, height) {
  const page = await browser.newPage({
    viewport: { width, height },
    colorScheme,
    timezoneId: 'Europe/Berlin',
  });
  await page.goto(address);
  await page.fill('#username', 'admin');
  await page.fill('#password', 'screenshot');
  await page.click('button[type=submit]');
  await page.locator('.connection.live').waitFor();
  return page;
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function take(page, name) {
  await setTimeout(700);
  await page.screenshot({ path: join(root, `docs/images/${name}.png`) });
}

try {
  await setTimeout(1500);
  const page = await signedIn('light', 1440, 900);
  // Until the card has been declined, and mails have been tried three times.
  await page.goto(`${address}?view=tasks`);
  await page
    .locator('tr[data-task]', { hasText: 'charge_card' })
    .locator('.badge.failed')
    .waitFor();
  await setTimeout(8000);
  await page.locator('tr[data-task]', { hasText: 'charge_card' }).locator('th a').click();
  await page.locator('.panel .stack').waitFor();
  await take(page, 'task');
  await page.goto(`${address}?range=-1h`);
  await take(page, 'overview');
  const dark = await signedIn('dark', 1440, 600);
  await dark.goto(`${address}?view=failures`);
  await take(dark, 'failures');
  await dark.goto(`${address}?view=functions`);
  await take(dark, 'functions');
  const phone = await signedIn('light', 390, 780);
  await take(phone, 'phone');
} finally {
  await browser.close();
  app.kill();
  rmSync(folder, { recursive: true, force: true });
}
