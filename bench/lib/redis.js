import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/**
 * Starts a Redis on a port and in a folder of its own. What it answers is on disk within a second (`everysec`, BullMQ's usual
 * setting), or at once (`always`).
 * @param {'everysec' | 'always'} fsync
 */
export async function startRedis(port = 6399, fsync = 'everysec') {
  const dir = mkdtempSync(join(tmpdir(), 'koa-taskflow-bench-'));
  const server = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--appendfsync', fsync, '--dir', dir],
    {
      stdio: 'ignore',
    },
  );
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
