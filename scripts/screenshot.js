// Takes the picture of the README from the running quickstart: node scripts/screenshot.js
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-'));
const root = fileURLToPath(new URL('..', import.meta.url));
const env = { ...process.env, PORT: '3170', ADMIN_PASSWORD: 'screenshot', DATABASE: join(folder, 'tasks.db') };
const app = spawn(process.execPath, ['examples/quickstart/app.js'], { cwd: root, env, stdio: 'ignore' });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  await setTimeout(1500);
  const page = await browser.newPage({ viewport: { width: 1440, height: 720 }, timezoneId: 'Europe/Berlin' });
  await page.goto('http://127.0.0.1:3170/tasks/dashboard');
  await page.fill('#username', 'admin');
  await page.fill('#password', 'screenshot');
  await page.click('button[type=submit]');
  await page.locator('tbody tr', { hasText: 'charge_card' }).locator('.badge.failed').waitFor();
  await setTimeout(6000);
  await page.locator('tbody tr', { hasText: 'charge_card' }).locator('a').click();
  await page.locator('.detail .error-box').waitFor();
  await setTimeout(500);
  await page.screenshot({ path: join(root, 'docs/images/dashboard.png') });
} finally {
  await browser.close();
  app.kill();
  rmSync(folder, { recursive: true, force: true });
}
