// Installs what the tests need and npm cannot bring: a Chromium. As root on Debian with apt, else with playwright's own
// download; where neither works it says what to install, and the tests that need it fail.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const candidates = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  chromium.executablePath(),
];
const found = () => candidates.some((path) => path && existsSync(path));

/** @param {string} command @param {string[]} args */
const run = (command, args) => {
  console.log(`> ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
};

if (!found() && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
  console.log('The browser tests need Chromium; installing it.');
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium']);
}
if (!found()) run(process.execPath, ['node_modules/playwright-core/cli.js', 'install', 'chromium']);
if (!found()) {
  console.error('Chromium is missing. Install it (Debian: apt-get install chromium), or set CHROMIUM_PATH to its program.');
  process.exitCode = 1;
}
