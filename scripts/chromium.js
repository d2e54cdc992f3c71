// Which Chromium tests, pictures and benchmarks run in: the headless shell where there is one. It
// is the same engine, without the windows, menus and extensions around it, which take far more
// processor time than the page.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

/** Debian's headless shell itself: the script beside the other programs outlives what ends it. */
const shell = '/usr/lib/chromium/chromium-headless-shell';
const others = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const given = process.env.CHROMIUM_PATH;

/** Whether playwright has brought one of its own; it takes the shell of it by itself. */
const isBrought = () => existsSync(chromium.executablePath());

/** Whether there is the one to choose. */
export const hasShell = () =>
  given === undefined ? existsSync(shell) || isBrought() : existsSync(given);

export const hasChromium = () => hasShell() || others.some((path) => existsSync(path));

/** @param {string[]} args */
export function startChromium(...args) {
  const program =
    given ??
    (existsSync(shell) ? shell : isBrought() ? undefined : others.find((path) => existsSync(path)));
  const flags = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    ...args,
  ];
  return chromium.launch({
    args: flags,
    ...(program !== undefined && { executablePath: program }),
  });
}
