// A change on 100 streams: ten events a second of 3.2 KB each, to 100 clients. CPU of the server, per 1,000 events delivered.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { compare } from './lib/rounds.js';

const clients = 100;
const seconds = 5;
const program = fileURLToPath(new URL('./lib/stream-app.js', import.meta.url));

/** @param {string} kind @returns {Promise<number>} CPU milliseconds per 1,000 events */
async function cpu(kind) {
  const app = spawn(process.execPath, [program, kind], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(app.stdout, 'data');
  const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
  let delivered = 0;
  for (let client = 0; client < clients; client++) {
    get(String(line).trim(), { agent }, (response) => {
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        delivered += chunk.match(/^event: ?tick$/gm)?.length ?? 0;
      });
      response.on('error', () => {});
    }).on('error', () => {});
  }
  await setTimeout(1000);
  app.stdin.write('start\n');
  await once(app.stdout, 'data');
  const before = delivered;
  await setTimeout(seconds * 1000);
  app.stdin.write('stop\n');
  const [used] = await once(app.stdout, 'data');
  const events = delivered - before;
  app.kill();
  agent.destroy();
  if (events < clients * seconds * 8) throw new Error(`${kind}: only ${events} events were delivered`);
  return Number(String(used)) / 1000 / (events / 1000);
}

await compare('a change on 100 streams', {
  unit: 'CPU ms per 1,000 events',
  ours: () => cpu('taskflow'),
  peer: () => cpu('better-sse'),
  peerName: 'better-sse',
  lessIsBetter: true,
});
