import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** Starts a Redis that is on disk within a second of a write (BullMQ's usual setting), on a port and in a folder of its own. */
export async function startRedis(port = 6399) {
  const dir = mkdtempSync(join(tmpdir(), 'koa-taskflow-bench-'));
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--dir', dir], {
    stdio: 'ignore',
  });
  server.on('error', () => console.error('redis-server is missing; install it (Debian: apt-get install redis-server)'));
  await setTimeout(500);
  return {
    port,
    stop() {
      server.kill();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
