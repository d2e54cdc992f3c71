import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { atExit, temporaryFolder } from './at-exit.js';

/**
 * Starts a Redis on a free port, with a temporary folder. What it has acknowledged is on disk
 * within a second (`everysec`, the usual setting with BullMQ), or at once (`always`). `stop` ends
 * it and removes the folder; so does the end of this process.
 * @param {'everysec' | 'always'} [fsync]
 */
export async function startRedis(fsync = 'everysec') {
  const folder = temporaryFolder();
  const port = await freePort();
  const options = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    fsync,
  ];
  // Else Redis would rewrite its file in the middle of a round, and only that of one side.
  options.push('--auto-aof-rewrite-percentage', '0', '--dir', folder.path);
  const server = spawn('redis-server', options, { stdio: 'ignore' });
  server.on('error', () =>
    console.error('redis-server is missing; install it (Debian: apt-get install redis-server)'),
  );
  const stop = atExit(() => {
    server.kill('SIGKILL');
    folder.remove();
  });
  for (let tries = 0; !(await accepts(port)); tries++) {
    if (server.pid === undefined || server.exitCode !== null || tries === 200)
      throw new Error('redis-server has not started');
    await setTimeout(50);
  }
  return { port, stop };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** @param {number} port */
async function accepts(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
