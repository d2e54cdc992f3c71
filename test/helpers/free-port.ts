import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports for servers that a test stops and starts again. The system gives ports from 32768 on to
 * outgoing connections, and one of them could take the port of a server that is down. Each Jest
 * worker has its own part of the ports below, because workers run at the same time.
 */
const [first, perWorker, workers] = [10_000, 2_000, 11];

const start = first + (Number(process.env.JEST_WORKER_ID ?? 0) % workers) * perWorker;
let next = Math.floor(Math.random() * perWorker);

/** Returns a port on which no server listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = start + (next++ % perWorker);
    if (await canListen(port)) return port;
  }
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
