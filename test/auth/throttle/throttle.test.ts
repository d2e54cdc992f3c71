import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Buckets, bucketsIn } from '../../../src/auth/throttle/buckets.js';
import { type ThrottleOptions, throttleOption } from '../../../src/auth/throttle/limits.js';
import { createThrottle, type Familiar } from '../../../src/auth/throttle/throttle.js';
import { limitedStore } from '../../../src/auth/time-limit.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { everyStore, keysIn, type TwoViews } from '../../helpers/stores.js';

const seconds = 1000;
const minutes = 60 * seconds;
const hours = 60 * minutes;

const laptop: Familiar = { by: 'device', id: 'laptop', strategy: 'default', username: 'alice' };
const phone: Familiar = { by: 'device', id: 'phone', strategy: 'default', username: 'alice' };
const office: Familiar = {
  by: 'network',
  id: '203.0.113.7',
  strategy: 'default',
  username: 'alice',
};

function throttleAt(
  options: ThrottleOptions | false = {},
  buckets?: Buckets,
  clock = { now: Date.parse('2026-03-01T12:00:00Z') },
) {
  const notified: [string, number, number][] = [];
  const now = (): number => clock.now;
  const throttle = createThrottle({
    limits: throttleOption('throttle', options),
    buckets: buckets ?? bucketsIn(memoryStore({ now }), ''),
    keys: () => [Buffer.from('key')],
    now,
  });
  const enter = (username = 'alice', address = '203.0.113.7', familiar?: Familiar) =>
    throttle.enter({ username, address, familiar }, (...args) => void notified.push(args));
  /** Makes a failing attempt. Resolves to 'in', or to the seconds that it must wait. */
  const fail = async (...args: Parameters<typeof enter>): Promise<'in' | number> => {
    try {
      const counted = await enter(...args);
      await counted.failed();
      return 'in';
    } catch (error) {
      const { code, headers } = error as { code: string; headers: Record<string, string> };
      expect(code).toBe('THROTTLED');
      return Number(headers['Retry-After']);
    }
  };
  const failTimes = async (
    times: number,
    ...args: Parameters<typeof fail>
  ): Promise<('in' | number)[]> => {
    const outcomes: ('in' | number)[] = [];
    for (let n = 0; n < times; n++) outcomes.push(await fail(...args));
    return outcomes;
  };
  return { throttle, clock, notified, enter, fail, failTimes };
}

describe.each(everyStore)('the throttle on the %s store', (_name, openStore) => {
  let views: TwoViews;
  let prefix = '';
  let tests = 0;
  beforeAll(async () => {
    views = await openStore();
  });
  afterAll(() => views.close());
  beforeEach(() => {
    tests += 1;
    prefix = `throttle ${tests}:`;
  });
  /** Makes counts that belong to the current test. */
  const make = (store = views.one): Buckets => bucketsIn(store, prefix);

  it('allows five failures of an account per address, then delays from 1 s to 15 min', async () => {
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

  it('accepts an attempt exactly when the wait is over', async () => {
    const { clock, fail, failTimes } = throttleAt({}, make());
    await failTimes(5);
    clock.now += 999;
    expect(await fail()).toBe(1);
    clock.now += 1;
    expect(await fail()).toBe('in');
  });

  it('allows thirty failures of an address in ten minutes, whatever the names', async () => {
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

  it('counts all addresses of one IPv6 network together', async () => {
    const { clock, fail } = throttleAt({ address: 3 }, make());
    for (let n = 0; n < 3; n++) expect(await fail(`user ${n}`, `2001:db8:1:2::${n}`)).toBe('in');
    expect(await fail('another', '2001:db8:1:2:ffff::1')).toBe(600);
    expect(await fail('another', '2001:db8:1:3::1')).toBe('in');
    clock.now += 600 * seconds;
    expect(await fail('another', '2001:db8:1:2::9')).toBe('in');
  });

  it('allows fifty failures of an account in an hour, then one every 30 seconds', async () => {
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

  it('counts all spellings of a name together', async () => {
    const { fail, failTimes } = throttleAt({}, make());
    await failTimes(2, 'Jos\u00e9 P');
    await failTimes(2, 'jose\u0301  p');
    await fail(' \uff4aos\u00e9\u200b p\u00a0');
    expect(await fail('JOS\u00c9 P')).toBe(1);
    expect(await fail('JOS\u00c9P')).toBe('in');
  });

  it('counts neither successful nor rejected attempts', async () => {
    const { clock, enter, fail, failTimes } = throttleAt({}, make());
    await failTimes(4);
    for (let n = 0; n < 10; n++) {
      const counted = await enter();
      expect(counted.attempt).toBe(n === 0 ? 5 : 1);
      await counted.succeeded();
    }
    expect(await fail()).toBe('in');
    for (let n = 0; n < 100; n++) expect(await fail()).toBe(1);
    clock.now += seconds;
    expect(await fail()).toBe('in');
    expect(await fail('bob')).toBe('in');
  });

  it('admits five of two hundred simultaneous wrong attempts', async () => {
    const { enter } = throttleAt({ global: 1000 }, make());
    let checked = 0;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, async () => {
        const counted = await enter();
        checked += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
        await counted.failed();
      }),
    );
    expect(checked).toBe(5);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(195);
  });

  it('admits all simultaneous right attempts of two processes', async () => {
    const clock = { now: Date.parse('2026-03-01T12:00:00Z') };
    const processes = [views.one, views.two].map((store) => throttleAt({}, make(store), clock));
    const logIn = async ({ enter }: (typeof processes)[0]): Promise<number> => {
      const counted = await enter();
      await new Promise((resolve) => setTimeout(resolve, 30));
      await counted.succeeded();
      return counted.attempt;
    };
    const outcomes = await Promise.allSettled(
      [0, 1].flatMap((n) => Array.from({ length: 10 }, () => logIn(processes[n] as never))),
    );
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
  });

  it('keeps no data of successful, rejected and withdrawn attempts', async () => {
    const { enter, fail, failTimes } = throttleAt({ global: 1000 }, make());
    const keys = (): Promise<string[]> => keysIn(views.two, prefix);
    await (await enter('carol', '192.0.2.1')).succeeded();
    await (await enter('dave', '192.0.2.2')).withdrawn();
    expect(await keys()).toEqual([]);
    for (let n = 0; n < 30; n++) await fail(`user ${n}`);
    const before = await keys();
    expect(before).toHaveLength(61);
    for (let n = 0; n < 300; n++) expect(await fail(`name ${n}`)).toBe(600);
    expect(await keys()).toEqual(before);
    expect(await failTimes(1, 'user 1')).toEqual([600]);
  });

  it('counts a familiar browser separately, so that strangers cannot lock it out', async () => {
    const { clock, fail, failTimes } = throttleAt({ global: 1000 }, make());
    for (let n = 0; n < 60; n++) await fail('alice', `198.51.100.${n}`);
    await failTimes(30, 'alice', '203.0.113.7');
    expect(await fail('alice', '203.0.113.7')).not.toBe('in');
    expect(await failTimes(6, 'alice', '203.0.113.7', laptop)).toEqual([
      'in',
      'in',
      'in',
      'in',
      'in',
      1,
    ]);
    expect(await fail('alice', '203.0.113.7', phone)).toBe('in');
    expect(await fail('bob', '203.0.113.7', { ...laptop, username: 'bob' })).toBe('in');
    clock.now += seconds;
    expect(await fail('alice', '192.0.2.1', laptop)).toBe('in');
  });

  it('counts a familiar network separately, and within the limit of its address', async () => {
    const { fail, failTimes } = throttleAt({ global: 1000 }, make());
    for (let n = 0; n < 60; n++) await fail('alice', `198.51.100.${n}`);
    expect(await fail('alice', '203.0.113.9')).toBe(30);
    expect(await failTimes(6, 'alice', '203.0.113.7', office)).toEqual([
      'in',
      'in',
      'in',
      'in',
      'in',
      1,
    ]);
    for (let n = 0; n < 25; n++) expect(await fail(`user ${n}`)).toBe('in');
    expect(await fail('bob', '203.0.113.7', office)).toBe(600);
  });

  it('allows fifty failures in an hour for all familiar browsers and networks', async () => {
    const { clock, fail } = throttleAt({ global: 1000 }, make());
    const familiar = (n: number): Familiar =>
      n % 2 ? { ...laptop, id: `device ${n}` } : { ...office, id: `192.0.2.${n}` };
    let admitted = 0;
    for (let n = 0; n < 40; n++) {
      for (let guess = 0; guess < 5; guess++)
        if ((await fail('alice', `192.0.2.${n}`, familiar(n))) === 'in') admitted += 1;
    }
    expect(admitted).toBe(50);
    expect(await fail('alice', '203.0.113.7')).toBe('in');
    expect(await fail('alice', '192.0.2.1', { ...laptop, strategy: 'another' })).toBe('in');
    expect(await fail('al\u00edce', '192.0.2.1', { ...laptop, username: 'al\u00edce' })).toBe('in');
    expect(await fail('ALICE', '192.0.2.1', { ...laptop, id: 'desktop' })).toBe(30);
    clock.now += hours;
    expect(await fail('alice', '192.0.2.1', phone)).toBe('in');
  });

  it('never blocks for longer than its limit after the clock was set back', async () => {
    const { clock, fail, failTimes } = throttleAt({ address: 10 }, make());
    await failTimes(5);
    await failTimes(5, 'bob');
    expect(await fail('bob')).toBe(600);
    clock.now -= 2 * hours;
    expect(await fail('alice', '192.0.2.1')).toBe('in');
    expect(await fail('alice')).toBe('in');
    expect(await fail('alice')).toBe(600);
    clock.now += 600 * seconds;
    expect(await fail('alice')).toBe('in');
  });

  it('forgets failures after 75 minutes without a failure', async () => {
    const { clock, fail, failTimes } = throttleAt({}, make());
    await failTimes(5);
    clock.now += 75 * minutes;
    expect(await failTimes(5)).toEqual(Array(5).fill('in'));
    expect(await fail()).toBe(1);
  });
});

describe('the throttle', () => {
  it('admits twenty attempts a second, not counting familiar browsers and networks', async () => {
    const { clock, fail } = throttleAt();
    for (let n = 0; n < 20; n++) expect(await fail(`user ${n}`, `198.51.100.${n}`)).toBe('in');
    expect(await fail('another', '203.0.113.1')).toBe(1);
    expect(await fail('another', '203.0.113.1', laptop)).toBe('in');
    expect(await fail('another', '203.0.113.7', office)).toBe('in');
    clock.now += seconds;
    expect(await fail('another', '203.0.113.1')).toBe('in');
  });

  it('rejects an attempt that waits for five seconds', async () => {
    const { enter, fail } = throttleAt();
    for (let n = 0; n < 5; n++) await enter();
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'performance'] });
    let outcome: unknown;
    void fail().then((answer) => {
      outcome = answer;
    });
    await jest.advanceTimersByTimeAsync(4900);
    expect(outcome).toBeUndefined();
    await jest.advanceTimersByTimeAsync(200);
    expect(outcome).toBe(1);
    jest.useRealTimers();
  });

  it('keeps counting an attempt if the store fails before its outcome is written', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'performance'] });
    const store = memoryStore();
    let down = false;
    const replace: SharedStore['replace'] = (...args) =>
      down ? Promise.reject(new Error('down')) : store.replace(...args);
    const { enter, fail } = throttleAt({}, bucketsIn(limitedStore({ ...store, replace }), ''));
    for (let n = 0; n < 5; n++) {
      const counted = await enter();
      down = true;
      await expect(n % 2 ? counted.succeeded() : counted.failed()).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
      });
      down = false;
    }
    const sixth = fail();
    await jest.advanceTimersByTimeAsync(5000);
    expect(await sixth).toBe(1);
    jest.useRealTimers();
  });

  it('queues a hundred attempts per limit and rejects further ones at once', async () => {
    const { enter } = throttleAt({ global: 1000 });
    const underWay = await Promise.all(Array.from({ length: 5 }, () => enter()));
    const waiting = Array.from({ length: 100 }, () => enter());
    await Promise.resolve();
    const late = await Promise.allSettled(Array.from({ length: 10 }, () => enter()));
    expect(late.map(({ status }) => status)).toEqual(Array(10).fill('rejected'));
    for (const counted of underWay) await counted.failed();
    expect((await Promise.allSettled(waiting)).map(({ status }) => status)).toEqual(
      Array(100).fill('rejected'),
    );
  });

  it('reports a block once, and then its rejections at most once a minute', async () => {
    const { clock, notified, fail, failTimes } = throttleAt({ address: 2 });
    await failTimes(2);
    await failTimes(50, 'bob');
    expect(notified).toEqual([['address', 600, 1]]);
    clock.now += minutes;
    await fail('carol');
    expect(notified).toEqual([
      ['address', 600, 1],
      ['address', 540, 50],
    ]);
  });

  it('does nothing if it is switched off', async () => {
    const { failTimes } = throttleAt(false);
    expect(new Set(await failTimes(500))).toEqual(new Set(['in']));
  });

  it.each<[string, object | boolean]>([
    ['true', true],
    ['an unknown limit', { perUser: 3 }],
    ['a limit of 0', { pair: 0 }],
    ['a fraction', { account: 1.5 }],
    ['a floor of a minute', { floor: 60 }],
  ])('rejects %s as an option', (_case, value) => {
    expect(() => throttleOption('throttle', value as ThrottleOptions)).toThrow(/throttle/);
  });
});

describe('a full table of counts in memory', () => {
  it('keeps active blocks and high counts during a flood of thirty thousand names', async () => {
    const now = (): number => clock.now;
    const clock = { now: Date.parse('2026-03-01T12:00:00Z') };
    const store = memoryStore({ maxKeys: 500, now });
    const { fail, failTimes } = throttleAt(
      { global: 1e6, address: 1e6 },
      bucketsIn(store, ''),
      clock,
    );
    await failTimes(20, 'victim', '192.0.2.1');
    for (let n = 0; n < 49; n++) await fail('alice', `2001:db8:${n}::1`);
    for (let n = 0; n < 30_000; n++) await fail(`name ${n}`, '198.51.100.7');
    expect(await fail('victim', '192.0.2.1')).toBe(1);
    expect(await fail('alice', '2001:db8:1000::1')).toBe('in');
    expect(await fail('alice', '2001:db8:1001::1')).toBe(30);
  });

  it('rejects a new count instead of dropping an active block', async () => {
    const buckets = bucketsIn(memoryStore({ maxKeys: 20, now: () => 0 }), '');
    const { enter, fail } = throttleAt({ pair: 1, account: 1, address: 1, global: 1e6 }, buckets, {
      now: 0,
    });
    const codes = new Set<unknown>();
    for (let n = 0; n < 30; n++) {
      const failed = enter(`name ${n}`, `192.0.2.${n}`).then((counted) => counted.failed());
      await failed.catch((error: { code?: string }) => codes.add(error.code));
    }
    expect([...codes]).toEqual(['STORE_UNAVAILABLE']);
    expect(await fail('name 1', '192.0.2.1')).toBe(600);
  });
});
