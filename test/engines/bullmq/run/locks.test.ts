import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { takeLocks } from '../../../../src/engines/bullmq/run/locks.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { monitorRedis } from '../../../helpers/redis-monitor.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('missing locks', () => {
  let server: RedisServer;
  let redis: Redis;
  const scope = { active: 'active', jobKey: (id: string) => `job:${id}`, duration: 60_000 };
  const take = async (jobId: string, starts?: string) => {
    const { taken, cancelled, gone } = await takeLocks(redis, scope, [
      { jobId, token: 'old', starts },
    ]);
    return { taken: [...taken], cancelled: [...cancelled], gone: [...gone] };
  };
  const nothing = { taken: [], cancelled: [], gone: [] };

  beforeAll(async () => {
    server = await RedisServer.start();
    redis = new Redis(server.connection);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.remove();
  });

  it('are taken for jobs that still run as the same attempt', async () => {
    await redis.hset('job:same', 'ats', 3);
    await redis.lpush('active', 'same');
    expect(await take('same', '3')).toEqual({ ...nothing, taken: ['same'] });
    expect(await redis.get('job:same:lock')).toBe('old');
    expect(await redis.pttl('job:same:lock')).toBeGreaterThan(30_000);
    expect(await take('same')).toEqual({ ...nothing, taken: ['same'] });
  });

  it('are left alone if another attempt holds them', async () => {
    await redis.hset('job:held', 'ats', 2);
    await redis.lpush('active', 'held');
    await redis.set('job:held:lock', 'new');
    expect([await take('held', '1'), await take('held')]).toEqual([nothing, nothing]);
    expect(await redis.get('job:held:lock')).toBe('new');
  });

  it.each([
    ['is pending', { ats: 1 }, nothing],
    ['no longer exists', {}, { ...nothing, gone: ['other'] }],
  ])('are not set, not even for a moment, if the job %s', async (_what, fields, found) => {
    await redis.del('job:other');
    if ('ats' in fields) await redis.hset('job:other', fields);
    const monitor = await monitorRedis(server.port);
    expect(await take('other', '1')).toEqual(found);
    await redis.ping('over');
    await waitFor(() => monitor.commands().some(([, word]) => word === 'over'));
    const changes = monitor.commands().filter(([name]) => /^(set|del)$/i.test(name ?? ''));
    expect(changes).toEqual([]);
    await monitor.close();
  });
});
