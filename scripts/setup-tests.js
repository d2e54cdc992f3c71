// Installs what the tests need and npm cannot bring: a Chromium, an nginx, openssl for a certificate, and a Redis. As root on Debian with
// apt, Chromium else with playwright's own download; what is still missing is said in a line each.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** @param {string} name */
const onPath = (name) => [...(process.env.PATH ?? '').split(':'), '/usr/sbin'].map((folder) => join(folder, name));

const programs = [
  {
    name: 'chromium',
    places: [
      process.env.CHROMIUM_PATH,
      '/usr/bin/chromium',
      '/usr/bin/chromium-browser',
      '/usr/bin/google-chrome',
      chromium.executablePath(),
    ],
    hint: 'or set CHROMIUM_PATH to its program',
  },
  { name: 'nginx', package: 'nginx-light', places: onPath('nginx'), hint: 'or leave out the tests of the stream behind nginx' },
  { name: 'openssl', places: onPath('openssl'), hint: 'or leave out the tests over HTTP/2' },
  { name: 'redis-server', places: onPath('redis-server'), hint: 'or leave out the tests of queues of BullMQ' },
];
const missing = () => programs.filter(({ places }) => !places.some((path) => path && existsSync(path)));

/** @param {string} command @param {string[]} args */
const run = (command, args) => {
  console.log(`> ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
};

if (missing().length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
  const packages = missing().map((program) => program.package ?? program.name);
  console.log(`The tests need ${packages.join(', ')}; installing.`);
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
}
if (missing().some(({ name }) => name === 'chromium'))
  run(process.execPath, ['node_modules/playwright-core/cli.js', 'install', 'chromium']);
for (const { name, package: from = name, hint } of missing()) {
  console.error(`${name} is missing. Install it (Debian: apt-get install ${from}), ${hint}.`);
  if (name === 'chromium') process.exitCode = 1;
}
