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

/** Whether there is a Redis on this machine; with `CI=true` there must be. */
export const hasRedis =
  process.env.CI === 'true' || spawnSync('redis-server', ['--version']).status === 0;

/** What a Sentinel of a test's own watches, and how a client finds by it which Redis is written. */
export interface Sentinel {
  connection: { sentinels: { host: string; port: number }[]; name: string };
  remove(): Promise<void>;
}

/** A Sentinel that takes a Redis for dead after a second, and puts its replica in its place. */
export async function startSentinel(watched: RedisServer): Promise<Sentinel> {
  const folder = temporaryFolder();
  const port = await freePort();
  // It keeps in this file what it finds out.
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

/** A Redis of a test's own, whose file survives `stop` and `kill` until `remove`. */
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
      // Until its file is read it says LOADING.
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

  /** Deletes the data of a Redis that is stopped. */
  forget(): void {
    rmSync(join(this.#folder.path, 'appendonlydir'), { recursive: true, force: true });
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    this.#folder.remove();
  }
}

/**
 * Waits until a replica has all that was written to this Redis so far. WAIT covers only what its
 * own connection has written, and everything before that, so this writes first.
 */
export async function replicated(client: Redis): Promise<void> {
  await client.set('written-before', 1);
  if ((await client.wait(1, 20_000)) < 1) throw new Error('no replica has confirmed the writes');
}

/** A Redis for each test, with a client; what is kept is closed before it is gone. */
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
