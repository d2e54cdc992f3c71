import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type BullmqEngineOptions, bullmqEngine } from '../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../src/manager.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { freePort } from '../../helpers/free-port.js';
import { inState } from '../../helpers/job-processes.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();
const unavailable = expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' });

function manager(connection: BullmqEngineOptions['connection']): TaskManager {
  const made = new TaskManager({
    engine: bullmqEngine({ connection, logger: false }),
    logger: false,
  });
  keep({ close: () => made.stop({ timeout: 0.1 }) });
  return made;
}

(hasRedis ? describe : describe.skip)('Redis Cluster', () => {
  it('is rejected at the start if the connection leads to one of its nodes', async () => {
    const node = await RedisServer.start('--cluster-enabled', 'yes');
    keep({ close: () => node.remove() });
    const error = (await manager(node.connection)
      .start()
      .catch((thrown: unknown) => thrown)) as Error;
    expect(error).toEqual(unavailable);
    expect(error.message).toContain('Redis Cluster');
  });
});

/** The certificate and the TLS port of a Redis. */
interface Secure {
  ca: string;
  port: number;
}

(hasRedis ? describe : describe.skip)('Redis behind TLS', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let secure: Secure;

  beforeEach(async () => {
    folder = temporaryFolder();
    const [key, cert] = [folder.file('key.pem'), folder.file('cert.pem')];
    const subject = [
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ];
    const made = spawnSync('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      ...subject,
    ]);
    expect([made.error, made.status]).toEqual([undefined, 0]);
    const port = await freePort();
    const files = [
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert,
      '--tls-auth-clients',
      'no',
    ];
    const redis = await RedisServer.start('--tls-port', String(port), ...files);
    keep({ close: () => redis.remove() });
    secure = { ca: readFileSync(cert, 'utf8'), port };
  });
  afterEach(() => folder.remove());

  it('runs tasks if its certificate is trusted', async () => {
    const { ca, port } = secure;
    const tasks = manager({ host: '127.0.0.1', port, tls: { ca } });
    const add = tasks.task('add', (a: number, b: number) => a + b);
    await tasks.start();
    expect(await inState(tasks, await add.enqueue(1, 2), 'success')).toMatchObject({ result: 3 });
    await tasks.store.set('key', 'value', 60);
    expect(await tasks.store.get('key')).toBe('value');
  });

  it.each(['redis', 'rediss'] as const)(
    'reports how to connect if it is reached by %s and needs the other scheme',
    async (scheme) => {
      const plain = scheme === 'rediss' ? await RedisServer.start() : undefined;
      if (plain) keep({ close: () => plain.remove() });
      const noop = manager(`${scheme}://127.0.0.1:${plain?.port ?? secure.port}`).define('noop');
      const error = (await noop.enqueue().catch((thrown: unknown) => thrown)) as Error;
      expect(error).toEqual(unavailable);
      expect(error.message).toContain(scheme === 'redis' ? 'rediss://' : 'redis://');
    },
  );

  it('reports why a call fails if its certificate is not trusted', async () => {
    const noop = manager(`rediss://127.0.0.1:${secure.port}`).define('noop');
    const said = await waitFor(async () => {
      const error = (await noop.enqueue().catch((thrown: unknown) => thrown)) as Error;
      expect(error).toEqual(unavailable);
      return /certificate/.test(error.message) && error.message;
    });
    expect(said).toContain('127.0.0.1');
  });
});
