import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach } from '@jest/globals';
import { Redis } from 'ioredis';
import { endConnection } from '../../src/engines/bullmq/connection/connections.js';
import { closeAfterEach } from './closing.js';
import { temporaryFolder } from './folder.js';
import { freePort } from './free-port.js';
import { waitFor } from './wait.js';

/** Whether this machine has redis-server. With `CI=true` it is required. */
export const hasRedis =
  process.env.CI === 'true' || spawnSync('redis-server', ['--version']).status === 0;

/** A Sentinel of a test. Clients use it to find the current primary. */
export interface Sentinel {
  connection: { sentinels: { host: string; port: number }[]; name: string };
  remove(): Promise<void>;
}

/** Starts a Sentinel that treats Redis as failed after a second and promotes its replica. */
export async function startSentinel(watched: RedisServer): Promise<Sentinel> {
  const folder = temporaryFolder();
  const port = await freePort();
  // Sentinel writes its state to this file.
  const file = join(folder.path, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder.path}`,
    `sentinel monitor tasks 127.0.0.1 ${watched.port} 1`,
    'sentinel down-after-milliseconds tasks 1000',
    'sentinel failover-timeout tasks 5000',
  ];
  writeFileSync(file, lines.join('\n'));
  const sentinel = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  return {
    connection: { sentinels: [{ host: '127.0.0.1', port }], name: 'tasks' },
    async remove() {
      sentinel.kill('SIGKILL');
      await once(sentinel, 'exit');
      folder.remove();
    },
  };
}

/** A Redis server for a test. Its file survives `stop` and `kill` until `remove`. */
export class RedisServer {
  readonly port: number;
  readonly #folder = temporaryFolder();
  readonly #options: readonly string[];
  #server: ChildProcess | undefined;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    this.#options = options;
  }

  static async start(...options: string[]): Promise<RedisServer> {
    const redis = new RedisServer(await freePort(), options);
    await redis.start();
    return redis;
  }

  get connection(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.port };
  }

  async start(): Promise<void> {
    const settings = [
      '--port',
      String(this.port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'yes',
      '--dir',
      this.#folder.path,
    ];
    this.#server = spawn('redis-server', [...settings, ...this.#options], { stdio: 'ignore' });
    await waitFor(() => this.#answers());
  }

  async #answers(): Promise<boolean> {
    const socket = createConnection(this.port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      socket.write('PING\r\n');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      // It answers LOADING until it has read its file.
      return /PONG|NOAUTH/.test(String(answer));
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#server?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const server = this.#server;
    if (!server || server.exitCode !== null) return;
    this.#server = undefined;
    server.kill(signal);
    await once(server, 'exit');
  }

  /** Deletes the data of a stopped server. */
  forget(): void {
    rmSync(join(this.#folder.path, 'appendonlydir'), { recursive: true, force: true });
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    this.#folder.remove();
  }
}

/**
 * Waits until a replica has received all writes to this server so far. WAIT covers only the writes
 * of its own connection and earlier ones, so this function writes first.
 */
export async function replicated(client: Redis): Promise<void> {
  await client.set('written-before', 1);
  if ((await client.wait(1, 20_000)) < 1) throw new Error('no replica has confirmed the writes');
}

/** Makes a Redis server and a client for each test. Kept resources are closed before the server. */
export class RedisForEach {
  redis!: RedisServer;
  client!: Redis;
  readonly keep = closeAfterEach();

  constructor() {
    beforeEach(async () => {
      this.redis = await RedisServer.start();
      this.client = new Redis(this.redis.connection);
    });
    afterEach(async () => {
      // While a client waits to reconnect, `disconnect` alone leaves a timer that keeps this
      // process alive.
      endConnection(this.client);
      await this.redis.remove();
    });
  }
}
