// Installs the programs that the tests need and that npm does not install: Chromium, htpasswd,
// nginx, openssl, Redis and slapd. As root on Debian, it uses apt. Otherwise, Playwright downloads
// Chromium. Each program that is still missing is printed on its own line.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasChromium, hasShell } from './chromium.js';

/** @param {string} name */
const onPath = (name) =>
  [...(process.env.PATH ?? '').split(':'), '/usr/sbin'].some((folder) =>
    existsSync(join(folder, name)),
  );

const programs = [
  {
    name: 'htpasswd',
    package: 'apache2-utils',
    hint: 'or leave out the tests of htpasswd files',
  },
  {
    name: 'nginx',
    package: 'nginx-light',
    hint: 'or leave out the tests of the stream behind nginx',
  },
  { name: 'openssl', package: 'openssl', hint: 'or leave out the tests over HTTP/2' },
  {
    name: 'redis-server',
    package: 'redis-server',
    hint: 'or leave out the tests of queues of BullMQ',
  },
  { name: 'slapd', package: 'slapd', hint: 'or leave out the tests of LDAP' },
];
const missing = () => programs.filter(({ name }) => !onPath(name));

/**
 * @param {string} command
 * @param {string[]} args
 */
const run = (command, args) => {
  console.log(`> ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
};
/** With this file, apt starts no service that it installs: each test starts its own. */
const policy = '/usr/sbin/policy-rc.d';

/** @param {string[]} packages */
const install = (packages) => {
  const hasPolicy = existsSync(policy);
  if (!hasPolicy) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
  } finally {
    if (!hasPolicy) rmSync(policy);
  }
};

if (
  (missing().length > 0 || !hasShell()) &&
  process.getuid?.() === 0 &&
  existsSync('/usr/bin/apt-get')
) {
  const packages = missing().map((program) => program.package);
  console.log(
    `The tests need ${[...packages, ...(hasShell() ? [] : ['a Chromium'])].join(', ')}; ` +
      'installing.',
  );
  run('apt-get', ['update', '-qq']);
  if (packages.length > 0) install(packages);
  // Not every system that has apt has the shell alone.
  if (!hasShell() && !install(['chromium-headless-shell']) && !hasChromium()) install(['chromium']);
}
if (!hasChromium())
  run(process.execPath, ['node_modules/playwright-core/cli.js', 'install', 'chromium']);

const hints = missing().map(({ name, package: from, hint }) => ({ name, from, hint }));
if (!hasChromium()) {
  hints.push({
    name: 'chromium',
    from: 'chromium-headless-shell',
    hint: 'or set CHROMIUM_PATH to its program',
  });
  process.exitCode = 1;
}
for (const { name, from, hint } of hints)
  console.error(`${name} is missing. Install it (Debian: apt-get install ${from}), ${hint}.`);
