import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { endConnection } from '../../../../src/engines/bullmq/connection/connections.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { Statistics } from '../../../../src/engines/bullmq/statistics/statistics.js';
import { loggerOption } from '../../../../src/options.js';
import { cuttable } from '../../../helpers/cutter.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const kept = { minutes: 604_800_000, hours: 34_560_000_000 };
const minute = 60_000;

(hasRedis ? describe : describe.skip)('statistics in Redis', () => {
  const forEach = new RedisForEach();
  const keys = engineKeys('sums');
  const statistics = (logger: Parameters<typeof loggerOption>[1] = false): Statistics =>
    new Statistics({ redis: forEach.client, keys, logger: loggerOption('logger', logger), kept });
  const task = { id: 'a', name: 'mail', queue: 'default' };

  it('add up the counts of several processes', async () => {
    const now = Date.now();
    const [one, other] = [statistics(), statistics()];
    for (const ms of [10, 20]) one.ended({ ...task, status: 'success', at: now, ms });
    other.ended({ ...task, status: 'success', at: now, ms: 400 });
    other.ended({
      ...task,
      queue: 'bulk',
      status: 'failed',
      at: now,
      ms: 5,
      failure: { fingerprint: 'f'.repeat(16), name: 'Error', message: 'x' },
    });
    other.ended({ ...task, status: 'cancelled', at: now });
    await one.flush();
    await other.flush();
    const metrics = await statistics().metrics({ from: now - minute }, [], now);
    expect(metrics.counts).toMatchObject({ success: 3, failed: 1, cancelled: 1 });
    expect(metrics.durations).toMatchObject({ min: 0.005, max: 0.4 });
    expect(metrics.queues.map(({ name, counts }) => [name, counts.success])).toEqual([
      ['bulk', 0],
      ['default', 3],
    ]);
    expect(await statistics().histograms([0.011, 1])).toEqual([
      { name: 'mail', counts: [2, 4], count: 4, sum: 0.435 },
    ]);
  });

  it('keep counts that could not be written, and write no count twice', async () => {
    const now = Date.now();
    const sums = statistics();
    const failed = {
      ...task,
      status: 'failed',
      at: now,
      failure: { fingerprint: 'f'.repeat(16), name: 'Error', message: 'x' },
    } as const;
    const levels = [keys.statistics('minute', now - (now % minute)), keys.statistics('all', 0)];
    for (const key of [...levels, keys.failures, keys.failureTimes]) {
      sums.ended(failed);
      await forEach.client.set(key, 'not a hash');
      const flushed = sums.flush();
      sums.ended(failed);
      await expect(flushed).rejects.toThrow();
      await forEach.client.del(key);
    }
    await sums.flush();
    expect((await sums.metrics({ from: now - minute }, [], now)).counts.failed).toBe(8);
    expect((await sums.failures.read({ limit: 1 }, async () => 0)).items).toMatchObject([
      { count: 8, trend: { 23: 8 } },
    ]);
  });

  it('count each end once if the answers of Redis are lost', async () => {
    const now = Date.now();
    const line = forEach.keep(await cuttable(forEach.redis.port));
    const client = new Redis({ port: line.port, maxRetriesPerRequest: 0 });
    client.on('error', () => undefined);
    forEach.keep({ close: async () => endConnection(client) });
    const sums = new Statistics({
      redis: client,
      keys,
      logger: loggerOption('logger', false),
      kept,
    });
    const failed = {
      ...task,
      status: 'failed',
      at: now,
      failure: { fingerprint: 'f'.repeat(16), name: 'Error', message: 'x' },
    } as const;
    const minuteKey = keys.statistics('minute', now - (now % minute));
    sums.ended(failed);
    await sums.flush();
    sums.ended(failed);
    const before = await forEach.client.hvals(minuteKey);
    line.loseAnswers();
    const flushed = sums.flush().catch((error: unknown) => error);
    await waitFor(async () => (await forEach.client.hvals(minuteKey))[0] !== before[0]);
    line.cut();
    expect(await flushed).toBeInstanceOf(Error);
    // The rest is sent even if this process counts and reads nothing more.
    await waitFor(
      async () => JSON.parse((await forEach.client.hvals(keys.failures))[0] ?? '').count === 2,
    );
    sums.ended(failed);
    await Promise.all([sums.flush(), sums.flush()]);
    expect((await sums.metrics({ from: now - minute }, [], now)).counts.failed).toBe(3);
    expect((await sums.failures.read({ limit: 1 }, async () => 0)).items).toMatchObject([
      { count: 3 },
    ]);
  });

  it('omit only the entry that Redis cannot read', async () => {
    const now = Date.now();
    const sums = statistics();
    const failed = { ...task, status: 'failed', at: now } as const;
    // JSON with half of a surrogate pair.
    sums.ended({
      ...failed,
      failure: { fingerprint: '1'.repeat(16), name: '\ud83d', message: 'x' },
    });
    sums.ended({ ...failed, name: 'odd', ms: Number.NaN });
    sums.ended({
      ...failed,
      failure: {
        fingerprint: '2'.repeat(16),
        name: 'Error',
        message: `${'x'.repeat(999)}\u{1f600}`,
      },
    });
    await sums.flush();
    expect((await sums.metrics({ from: now - minute }, [], now)).counts.failed).toBe(2);
    const { items } = await sums.failures.read({ limit: 5 }, async () => 0);
    expect(items.map(({ fingerprint, count }) => [fingerprint, count])).toEqual([
      ['2'.repeat(16), 1],
    ]);
    expect(items[0]?.error.message).toHaveLength(1000);
  });

  it('expire after their period, except the all-time totals', async () => {
    const now = Date.now();
    const sums = statistics();
    sums.ended({ ...task, status: 'success', at: now, ms: 1 });
    await sums.flush();
    const left = async (level: 'minute' | 'hour' | 'all', at: number): Promise<number> =>
      forEach.client.pttl(keys.statistics(level, at));
    expect(await left('minute', now - (now % minute))).toBeGreaterThan(kept.minutes - 10_000);
    expect(await left('hour', now - (now % 3_600_000))).toBeGreaterThan(kept.hours - 10_000);
    expect(await left('all', 0)).toBe(-1);
  });

  it('group failures by fingerprint, and keep the thousand newest groups', async () => {
    const now = Date.now();
    const sums = statistics();
    const fingerprint = (n: number): string => n.toString(16).padStart(16, '0');
    for (let n = 0; n < 1010; n++)
      sums.ended({
        ...task,
        id: `t${n}`,
        status: 'failed',
        at: now + n,
        ms: 1,
        failure: { fingerprint: fingerprint(n), name: 'Error', message: `message ${n}` },
      });
    await sums.flush();
    sums.ended({
      ...task,
      id: 'again',
      status: 'failed',
      at: now + 2000,
      ms: 1,
      failure: { fingerprint: fingerprint(500), name: 'Error', message: 'again' },
    });
    await sums.flush();
    const none = async (): Promise<number> => 0;
    const { items, next } = await sums.failures.read({ limit: 2 }, none);
    expect(items).toMatchObject([
      {
        fingerprint: fingerprint(500),
        name: 'mail',
        error: { name: 'Error', message: 'again' },
        count: 2,
        lastTaskId: 'again',
      },
      { fingerprint: fingerprint(1009), count: 1 },
    ]);
    expect(items[0]?.trend.reduce((sum, n) => sum + n, 0)).toBe(2);
    const following = await sums.failures.read({ limit: 2, after: next ?? '' }, none);
    expect(following.items.map((each) => each.fingerprint)).toEqual([
      fingerprint(1008),
      fingerprint(1007),
    ]);
    expect(await forEach.client.hlen(keys.failures)).toBe(1000);
    expect((await sums.failures.read({ limit: 5, name: 'other' }, none)).items).toEqual([]);
  });

  it('omit entries that they cannot read', async () => {
    const now = Date.now();
    const sums = statistics();
    const failure = { fingerprint: 'f'.repeat(16), name: 'Error', message: 'x' };
    sums.ended({ ...task, status: 'failed', at: now, ms: 1, failure });
    await sums.flush();
    const texts = [
      'no JSON',
      'null',
      '{}',
      '[]',
      '{"ran":"1","ended":{},"buckets":{}}',
      '{"task":"mail","last":null,"hours":{}}',
    ];
    for (const [n, text] of texts.entries())
      for (const key of [
        keys.statistics('minute', now - (now % minute)),
        keys.statistics('all', 0),
        keys.failures,
      ])
        await forEach.client.hset(key, `odd ${n}`, text);
    expect((await sums.metrics({ from: now - minute }, [], now)).counts.failed).toBe(1);
    expect((await sums.histograms([1])).map(({ name }) => name)).toEqual(['mail']);
    const { items } = await sums.failures.read({ limit: 5 }, async () => 0);
    expect(items.map(({ fingerprint }) => fingerprint)).toEqual([failure.fingerprint]);
  });

  it.each(['no JSON', 'null', '[]', '{"ran":1}'])(
    'replace the entry %s, to which they cannot add, and log it',
    async (text) => {
      const now = Date.now();
      const { logger, lines } = recordingLogger();
      const sums = statistics(logger);
      const failure = { fingerprint: 'a'.repeat(16), name: 'Error', message: 'x' };
      const fail = async (): Promise<void> => {
        sums.ended({ ...task, status: 'failed', at: now, ms: 1, failure });
        await sums.flush();
      };
      await fail();
      for (const key of [keys.statistics('all', 0), keys.failures])
        for (const field of await forEach.client.hkeys(key))
          await forEach.client.hset(key, field, text);
      for (let n = 0; n < 2; n++) await fail();
      expect((await sums.histograms([1])).map(({ count }) => count)).toEqual([2]);
      const { items } = await sums.failures.read({ limit: 5 }, async () => 0);
      expect(items.map(({ count }) => count)).toEqual([2]);
      expect(lines.map(({ level, entries }) => [level, entries])).toEqual([
        [50, 1],
        [50, 1],
      ]);
    },
  );

  const oddValues = [null, 'x', -1, 0.5, 1e300, true, {}, [1], { 500000: 'x' }];

  it('lose only the part of a failure group that they cannot read', async () => {
    const now = Date.now() - 60_000;
    const fingerprint = 'e'.repeat(16);
    const sums = statistics();
    const fail = async (at: number, id: string): Promise<void> => {
      const failure = { fingerprint, name: 'Error', message: `message of ${id}` };
      sums.ended({ ...task, id, status: 'failed', at, failure });
      await sums.flush();
    };
    const read = async () =>
      (await sums.failures.read({ limit: 5 }, async () => 0)).items.map(
        ({ name, count, error, first, last, lastTaskId, trend }) => ({
          ...{ task: name, count, error: error.name, message: error.message, lastTaskId },
          ...{ first: Date.parse(first), last: Date.parse(last) },
          hours: trend.reduce((sum, n) => sum + n, 0),
        }),
      );
    await fail(now, 'one');
    await fail(now + 2000, 'two');
    const stored = await forEach.client.hget(keys.failures, fingerprint);
    const whole = { task: 'mail', count: 2, error: 'Error', message: 'message of two' };
    const before = { ...whole, lastTaskId: 'two', first: now, last: now + 2000, hours: 2 };
    const after = { ...before, count: 3, hours: 3 };
    // What is shown of a part that was lost, before and after the next failure.
    const lost = {
      ...{ task: ['', 'mail'], error: ['', 'Error'], message: ['', 'message of three'] },
      ...{ lastTaskId: ['', 'three'], count: [0, 1], hours: [0, 1] },
      ...{ first: [now + 2000, now + 1000], last: [now, now + 1000] },
    };
    for (const [part, [read0, read1]] of Object.entries(lost))
      for (const odd of oddValues) {
        if (typeof odd === 'string' && typeof lost[part as 'task'][0] === 'string') continue;
        const group = { ...JSON.parse(stored ?? ''), [part]: odd };
        await forEach.client.hset(keys.failures, fingerprint, JSON.stringify(group));
        expect([part, odd, await read()]).toEqual([part, odd, [{ ...before, [part]: read0 }]]);
        await fail(now + 1000, 'three');
        const [shown] = await read();
        const expected = { ...after, [part]: read1 };
        // The last time is that of the newest failure that can be read.
        if (part === 'last')
          Object.assign(expected, { message: 'message of three', lastTaskId: 'three' });
        expect([part, odd, shown]).toEqual([part, odd, expected]);
      }
  });

  it('lose only the counts or the durations of a sum that they cannot read', async () => {
    const now = Date.now();
    const sums = statistics();
    const end = async (status: 'success' | 'failed', ms: number): Promise<void> => {
      sums.ended({ ...task, status, at: now, ms });
      await sums.flush();
    };
    const read = async (): Promise<unknown[]> => {
      const { counts, durations } = await sums.metrics({ from: now - minute }, [], now);
      return [counts.success, counts.failed, durations.max];
    };
    await end('success', 2000);
    await end('failed', 1000);
    const [key, field] = [keys.statistics('minute', now - (now % minute)), 'mail\0default'];
    const stored = JSON.parse((await forEach.client.hget(key, field)) ?? '');
    const store = (sum: unknown): Promise<unknown> =>
      forEach.client.hset(key, field, JSON.stringify(sum));
    for (const part of ['ran', 'total', 'min', 'max', 'buckets'])
      for (const odd of [null, 'x', -1, 1e300, true, [1], { 9: 'x' }]) {
        await store({ ...stored, [part]: odd });
        expect([part, odd, await read()]).toEqual([part, odd, [1, 1, null]]);
        await end('success', 10);
        expect([part, odd, await read()]).toEqual([part, odd, [2, 1, 0.01]]);
      }
    for (const odd of oddValues) {
      await store({ ...stored, ended: { success: odd, failed: 1, odd: 1 } });
      expect([odd, await read()]).toEqual([odd, [0, 1, 2]]);
      await end('success', 10);
      expect([odd, await read()]).toEqual([odd, [1, 1, 2]]);
      await store({ ...stored, ended: odd });
      expect([odd, await read()]).toEqual([odd, [0, 0, 2]]);
      await end('success', 10);
      expect([odd, await read()]).toEqual([odd, [1, 0, 2]]);
    }
  });
});
