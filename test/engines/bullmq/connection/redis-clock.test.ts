import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { RedisClock } from '../../../../src/engines/bullmq/connection/redis-clock.js';
import { loggerOption } from '../../../../src/options.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';

(hasRedis ? describe : describe.skip)('the comparison with the clock of Redis', () => {
  const forEach = new RedisForEach();
  afterEach(() => void jest.restoreAllMocks());

  /** Sets the clock of this process, by seconds from the real time. */
  function setClock(seconds: number): void {
    jest.restoreAllMocks();
    const real = Date.now.bind(Date);
    jest.spyOn(Date, 'now').mockImplementation(() => real() + seconds * 1000);
  }

  it('logs one error if the clock of the process differs, and one recovery', async () => {
    const lines: [level: string, secondsAhead: number][] = [];
    const log = (level: string) => (fields: { secondsAhead?: number }) =>
      void lines.push([level, fields.secondsAhead ?? 0]);
    const logger = loggerOption('logger', {
      debug() {},
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
    } as never);
    const clock = new RedisClock(forEach.client, logger);
    for (const seconds of [0, 0.5, 60, 90, 0, 0, -60, -90, -1.5, 0]) {
      const real = Date.now();
      setClock(seconds);
      const now = await clock.now();
      jest.restoreAllMocks();
      // Whatever the clock of this process says, the answer is the time of Redis.
      expect(Math.abs(now - real)).toBeLessThan(1900);
    }
    const about = lines.map(([level, seconds]) => [level, Math.round(seconds / 10) * 10]);
    expect(about).toEqual([
      ['error', 60],
      ['info', expect.closeTo(0)],
      ['error', -60],
      ['info', expect.closeTo(0)],
    ]);
  });
});
