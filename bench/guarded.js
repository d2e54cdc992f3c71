// A guarded request: 50 connections on a Koa app in a process of its own, with the same small
// answer behind each guard.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { compare } from './lib/rounds.js';

const program = fileURLToPath(new URL('./lib/guarded-app.js', import.meta.url));

/** @param {string} kind */
async function perSecond(kind) {
  const app = spawn(process.execPath, [program, kind], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(app.stdout, 'data');
  const { url, headers } = JSON.parse(String(line));
  await autocannon({ url, headers, connections: 50, duration: 1 });
  const { requests, non2xx } = await autocannon({ url, headers, connections: 50, duration: 3 });
  app.kill();
  if (non2xx > 0) throw new Error(`${kind}: ${non2xx} answers were errors`);
  return requests.average;
}

const bare = () => perSecond('bare');
await compare('guarded request', {
  unit: 'requests a second',
  ours: () => perSecond('taskflow'),
  peer: () => perSecond('koa-jwt'),
  peerName: 'koa-jwt',
});
await compare('guarded request', {
  unit: 'requests a second',
  ours: () => perSecond('taskflow'),
  peer: bare,
  peerName: 'no guard',
});
