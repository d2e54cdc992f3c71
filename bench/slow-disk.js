// A disk whose every sync takes eight milliseconds longer: what another route of the app waits
// while 200 tasks a second are enqueued. Needs Linux and a C compiler, for the few lines that make
// the disk slow.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-slow-'));
const [source, library] = [join(folder, 'slow.c'), join(folder, 'slow.so')];
writeFileSync(
  source,
  `#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slowly(const char *name, int file) {
  usleep(8000);
  return ((int (*)(int)) dlsym(RTLD_NEXT, name))(file);
}
int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
`,
);
execFileSync('cc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl']);

const child = spawn(
  process.execPath,
  [fileURLToPath(new URL('./lib/slow-app.js', import.meta.url)), join(folder, 'tasks.db')],
  {
    env: { ...process.env, LD_PRELOAD: library },
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
const port = await new Promise((resolve) =>
  child.stdout.once('data', (text) => resolve(String(text).trim())),
);
const url = `http://127.0.0.1:${port}`;

/** @param {number} seconds */
async function pings(seconds) {
  const times = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const started = performance.now();
    await (await fetch(`${url}/ping`)).text();
    times.push(performance.now() - started);
    await setTimeout(5);
  }
  times.sort((a, b) => a - b);
  return {
    p50: times[Math.floor(times.length * 0.5)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
  };
}

await pings(2);
const idle = await pings(8);
// From a process of its own, so that asking does not wait for it.
const load = spawn(
  process.execPath,
  [
    fileURLToPath(import.meta.resolve('autocannon')),
    '-R',
    '200',
    '-c',
    '20',
    '-d',
    '11',
    `${url}/enqueue`,
  ],
  {
    stdio: 'ignore',
  },
);
await setTimeout(500);
const busy = await pings(10);
load.kill();
child.kill();
rmSync(folder, { recursive: true, force: true });
const ms = (/** @type {number} */ value) => value.toFixed(2);
console.log(
  `| another route, each sync 8 ms slower, 200 enqueues a second | ${ms(busy.p50)} / ${ms(busy.p99)} | ${ms(idle.p50)} / ${ms(idle.p99)} (itself, idle) | ms, median / 99th percentile | ${(busy.p99 - idle.p99).toFixed(1)} ms more |`,
);
