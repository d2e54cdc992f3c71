// What a flood of logins costs everybody else: 200 a second from 200 addresses, beside a route of
// the same app.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const seconds = 15;
const app = spawn(
  process.execPath,
  [fileURLToPath(new URL('./lib/login-app.js', import.meta.url))],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
const [line] = await once(createInterface({ input: app.stdout }), 'line');
const port = Number(line);
const keepAlive = new Agent({ keepAlive: true });

/**
 * @param {string} path
 * @param {import('node:http').RequestOptions} [options]
 * @param {string} [body]
 * @returns {Promise<{ status: number, cookies: string[], text: string, ms: number }>}
 */
function ask(path, options = {}, body) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const asking = request({ port, host: '127.0.0.1', path, ...options }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => {
        const cookies = (response.headers['set-cookie'] ?? []).map(
          (each) => each.split(';')[0] ?? '',
        );
        resolve({
          status: response.statusCode ?? 0,
          cookies,
          text,
          ms: performance.now() - started,
        });
      });
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

/**
 * @param {string} username
 * @param {string} password
 * @param {string} localAddress
 * @param {string} [cookie]
 */
function logIn(username, password, localAddress, cookie) {
  const body = new URLSearchParams({ username, password }).toString();
  const headers = {
    'Content-Type': 'application/x-www-form-urlencoded',
    'Content-Length': body.length,
    ...(cookie && { cookie }),
  };
  return ask('/tasks/auth/login', { method: 'POST', localAddress, headers }, body);
}

/** The 99th percentile of the route's answers, in milliseconds, one asked each 10 ms. */
async function pingP99() {
  /** @type {Promise<{ ms: number }>[]} */
  const answers = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    answers.push(ask('/ping', { agent: keepAlive }));
    await sleep(10);
  }
  const times = (await Promise.all(answers)).map(({ ms }) => ms).sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.99)] ?? 0;
}

const memory = async () => Number((await ask('/memory')).text) / 2 ** 20;

try {
  await ask('/ping');
  const owner = await logIn('admin', 'correct horse battery staple', '127.0.0.1');
  const device = owner.cookies.find((cookie) => cookie.includes('_device='));
  const idle = await pingP99();
  const before = await memory();

  /** @type {Record<number, number>} */
  const statuses = {};
  let peak = before;
  let n = 0;
  const flood = setInterval(() => {
    n += 1;
    // Every other one at the account that is there, the rest at accounts of their own: no limit of
    // one account stops them.
    logIn(n % 2 === 0 ? 'admin' : `user ${n}`, `guess ${n}`, `127.0.${1 + (n % 200)}.1`).then(
      ({ status }) => {
        statuses[status] = (statuses[status] ?? 0) + 1;
      },
      () => {},
    );
  }, 5);
  const watch = setInterval(
    () =>
      void memory().then((now) => {
        peak = Math.max(peak, now);
      }),
    500,
  );
  const flooded = await pingP99();
  const returned = await logIn('admin', 'correct horse battery staple', '127.0.0.1', device);
  clearInterval(flood);
  clearInterval(watch);

  console.log(
    `| another route's p99 while 200 logins a second come | ${flooded.toFixed(1)} ms | ${idle.toFixed(1)} ms (idle) | less is better | ${(flooded / idle).toFixed(2)} × |`,
  );
  console.log(
    `  limit: twice idle and 20 ms = ${(2 * idle + 20).toFixed(1)} ms: ${flooded <= 2 * idle + 20 ? 'held' : 'NOT held'}`,
  );
  console.log(
    `  memory: ${before.toFixed(0)} MiB before, at most ${peak.toFixed(0)} MiB; ${n} logins sent, answered ${JSON.stringify(statuses)}`,
  );
  console.log(
    `  the owner, with the device cookie, during the flood: ${returned.status} after ${returned.ms.toFixed(0)} ms`,
  );
  if (returned.status !== 303) process.exitCode = 1;
} finally {
  app.kill();
}
