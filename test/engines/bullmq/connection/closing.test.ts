import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { untilClosed } from '../../../../src/engines/bullmq/connection/closing.js';
import { endConnection } from '../../../../src/engines/bullmq/connection/connections.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const never = new Promise<never>(() => undefined);

(hasRedis ? describe : describe.skip)('waiting for workers to close', () => {
  const on = new RedisForEach();

  it('ends when they are closed', async () => {
    const wait = untilClosed({
      closed: Promise.resolve(),
      redis: on.client,
      timeout: 60_000,
      isIdle: () => false,
    });
    expect(await wait).toBe(true);
  });

  it('ends at the time limit if Redis is reachable', async () => {
    await on.client.ping();
    const begun = performance.now();
    const wait = untilClosed({ closed: never, redis: on.client, timeout: 150, isIdle: () => true });
    expect(await wait).toBe(false);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(149);
  });

  it('ends before the time limit if Redis is unreachable and no write is open', async () => {
    const lost = new Redis({ ...on.redis.connection, retryStrategy: () => 60_000 });
    lost.on('error', () => undefined);
    on.keep({ close: async () => endConnection(lost) });
    await lost.ping();
    await on.redis.stop('SIGKILL');
    await waitFor(() => lost.status !== 'ready');
    expect(
      await untilClosed({ closed: never, redis: lost, timeout: 100, isIdle: () => false }),
    ).toBe(false);
    expect(
      await untilClosed({ closed: never, redis: lost, timeout: 60_000, isIdle: () => true }),
    ).toBe(true);
  });
});
