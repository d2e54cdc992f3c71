import { afterAll, describe, expect, it } from '@jest/globals';
import { doubling } from '../../../src/auth/throttle/bucket.js';
import { type Buckets, memoryBuckets, sharedBuckets } from '../../../src/auth/throttle/buckets.js';
import { createThrottle, type ThrottleOptions, throttleOption } from '../../../src/auth/throttle/throttle.js';
import { TaskManager } from '../../../src/manager.js';
import { memoryStore } from '../../../src/store/memory-store.js';

const seconds = 1000;
const minutes = 60 * seconds;
const hours = 60 * minutes;

function throttleAt(options: ThrottleOptions | false = {}, buckets?: Buckets) {
  const clock = { now: Date.parse('2026-03-01T12:00:00Z') };
  const told: [string, number, number][] = [];
  const now = (): number => clock.now;
  const throttle = createThrottle({
    limits: throttleOption(options),
    buckets: buckets ?? memoryBuckets(),
    key: Buffer.from('key'),
    now,
  });
  /** One try that fails; resolves to 'in', or to the seconds it must wait. */
  const fail = async (username = 'alice', address = '203.0.113.7', device?: string): Promise<'in' | number> => {
    try {
      await throttle.enter({ username, address, device }, (...args) => void told.push(args));
      return 'in';
    } catch (error) {
      const { code, headers } = error as { code: string; headers: Record<string, string> };
      expect(code).toBe('THROTTLED');
      return Number(headers['Retry-After']);
    }
  };
  const failTimes = async (times: number, ...args: Parameters<typeof fail>): Promise<('in' | number)[]> => {
    const outcomes: ('in' | number)[] = [];
    for (let n = 0; n < times; n++) outcomes.push(await fail(...args));
    return outcomes;
  };
  return { throttle, clock, told, fail, failTimes };
}

const managers: TaskManager[] = [];
afterAll(() => Promise.all(managers.map((manager) => manager.stop({ timeout: 0 }))));

function managerOf(): TaskManager {
  const manager = new TaskManager({ database: ':memory:', logger: false });
  managers.push(manager);
  return manager;
}

describe.each([
  ['in memory', (): Buckets => memoryBuckets()],
  ['in a shared store', (): Buckets => sharedBuckets(memoryStore(), 'throttle:')],
  ["in the tasks' database", (): Buckets => sharedBuckets(managerOf().store, 'throttle:')],
])('the throttle %s', (_where, make) => {
  it('lets an account fail five times from one address, and then makes it wait 1 second, doubling to 15 minutes', async () => {
    const { clock, fail, failTimes } = throttleAt({ address: 1000, account: 1000 }, make());
    expect(await failTimes(5)).toEqual(Array(5).fill('in'));
    const waits: ('in' | number)[] = [];
    for (let n = 0; n < 12; n++) {
      const wait = await fail();
      waits.push(wait);
      clock.now += Number(wait) * seconds;
      expect(await fail()).toBe('in');
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
  });

  it('lets a try through the moment its time is over, and not before', async () => {
    const { clock, fail, failTimes } = throttleAt({}, make());
    await failTimes(5);
    clock.now += 999;
    expect(await fail()).toBe(1);
    clock.now += 1;
    expect(await fail()).toBe('in');
  });

  it('lets an address fail thirty times in ten minutes, whatever names it tries', async () => {
    const { clock, fail } = throttleAt({}, make());
    for (let n = 0; n < 30; n++) {
      expect(await fail(`user ${n}`)).toBe('in');
      clock.now += 100;
    }
    expect(await fail('another')).toBe(597);
    expect(await fail('another', '203.0.113.8')).toBe('in');
    clock.now += 597 * seconds;
    expect(await fail('another')).toBe('in');
  });

  it('counts the addresses of one IPv6 network as one', async () => {
    const { clock, fail } = throttleAt({ address: 3 }, make());
    for (let n = 0; n < 3; n++) expect(await fail(`user ${n}`, `2001:db8:1:2::${n}`)).toBe('in');
    expect(await fail('another', '2001:db8:1:2:ffff::1')).toBe(600);
    expect(await fail('another', '2001:db8:1:3::1')).toBe('in');
    clock.now += 600 * seconds;
    expect(await fail('another', '2001:db8:1:2::9')).toBe('in');
  });

  it('lets an account fail fifty times in an hour from all addresses, and then once each 30 seconds', async () => {
    const { clock, fail } = throttleAt({}, make());
    for (let n = 0; n < 50; n++) {
      expect(await fail('alice', `198.51.100.${n}`)).toBe('in');
      clock.now += 100;
    }
    expect(await fail('alice', '203.0.113.1')).toBe(30);
    expect(await fail('bob', '203.0.113.1')).toBe('in');
    clock.now += 30 * seconds;
    expect(await fail('alice', '203.0.113.2')).toBe('in');
    expect(await fail('alice', '203.0.113.3')).toBe(30);
    clock.now += hours;
    expect(await fail('alice', '203.0.113.4')).toBe('in');
    expect(await fail('alice', '203.0.113.5')).toBe('in');
  });

  it('counts a name however it is composed, capitalised or spaced', async () => {
    const { fail, failTimes } = throttleAt({}, make());
    await failTimes(2, 'Jos\u00e9 P');
    await failTimes(2, 'jose\u0301  p');
    await fail(' \uff4aos\u00e9\u200b p\u00a0');
    expect(await fail('JOS\u00c9 P')).toBe(1);
    expect(await fail('JOS\u00c9P')).toBe('in');
  });

  it('counts no try that succeeded, nor one that was refused', async () => {
    const { throttle, clock, fail, failTimes } = throttleAt({}, make());
    await failTimes(4);
    for (let n = 0; n < 10; n++) {
      const ticket = await throttle.enter({ username: 'alice', address: '203.0.113.7' }, () => {});
      expect(ticket.attempt).toBe(n === 0 ? 5 : 1);
      await ticket.succeeded();
    }
    expect(await fail()).toBe('in');
    for (let n = 0; n < 100; n++) expect(await fail()).toBe(1);
    clock.now += seconds;
    expect(await fail()).toBe('in');
    expect(await fail('bob')).toBe('in');
  });

  it('lets five of two hundred tries at once through', async () => {
    const { fail } = throttleAt({ global: 1000 }, make());
    const outcomes = await Promise.all(Array.from({ length: 200 }, () => fail()));
    expect(outcomes.filter((outcome) => outcome === 'in')).toHaveLength(5);
  });

  it('counts a browser that has logged in before by itself: a stranger who hammers the account does not lock it out', async () => {
    const { clock, fail, failTimes } = throttleAt({ global: 1000 }, make());
    for (let n = 0; n < 60; n++) await fail('alice', `198.51.100.${n}`);
    await failTimes(30, 'alice', '203.0.113.7');
    expect(await fail('alice', '203.0.113.7')).not.toBe('in');
    expect(await failTimes(6, 'alice', '203.0.113.7', 'laptop')).toEqual(['in', 'in', 'in', 'in', 'in', 1]);
    expect(await fail('alice', '203.0.113.7', 'phone')).toBe('in');
    expect(await fail('bob', '203.0.113.7', 'laptop')).toBe('in');
    clock.now += seconds;
    expect(await fail('alice', '192.0.2.1', 'laptop')).toBe('in');
  });

  it('forgets failures after an hour and a quarter without one', async () => {
    const { clock, fail, failTimes } = throttleAt({}, make());
    await failTimes(5);
    clock.now += 75 * minutes;
    expect(await failTimes(5)).toEqual(Array(5).fill('in'));
    expect(await fail()).toBe(1);
  });
});

describe('the throttle', () => {
  it('lets twenty tries a second through in all, those of known browsers apart', async () => {
    const { clock, fail } = throttleAt();
    for (let n = 0; n < 20; n++) expect(await fail(`user ${n}`, `198.51.100.${n}`)).toBe('in');
    expect(await fail('another', '203.0.113.1')).toBe(1);
    expect(await fail('another', '203.0.113.1', 'laptop')).toBe('in');
    clock.now += seconds;
    expect(await fail('another', '203.0.113.1')).toBe('in');
  });

  it('tells of a block once, and then at most once a minute how many it refused', async () => {
    const { clock, told, fail, failTimes } = throttleAt({ address: 2 });
    await failTimes(2);
    await failTimes(50, 'bob');
    expect(told).toEqual([['address', 600, 1]]);
    clock.now += minutes;
    await fail('carol');
    expect(told).toEqual([
      ['address', 600, 1],
      ['address', 540, 50],
    ]);
  });

  it('does nothing when it is switched off', async () => {
    const { failTimes } = throttleAt(false);
    expect(new Set(await failTimes(500))).toEqual(new Set(['in']));
  });

  it.each<[string, object | boolean]>([
    ['true', true],
    ['an unknown limit', { perUser: 3 }],
    ['a limit of 0', { pair: 0 }],
    ['half a try', { account: 1.5 }],
    ['a floor of a minute', { floor: 60 }],
  ])('refuses %s as an option', (_case, value) => {
    expect(() => throttleOption(value as ThrottleOptions)).toThrow(/throttle/);
  });
});

describe('buckets in memory', () => {
  it('stay within their number under a million names, and keep a block that is running', async () => {
    const buckets = memoryBuckets();
    const now = Date.now();
    for (let n = 0; n < 5; n++) expect(buckets.take('victim', doubling(5), now)).toMatchObject({ allowed: true });
    for (let n = 0; n < 1_000_000; n++) buckets.take(`name ${n}`, doubling(5), now);
    expect(buckets.size).toBe(10_000);
    expect(buckets.take('victim', doubling(5), now)).toEqual({ allowed: false, until: now + seconds });
  });
});
