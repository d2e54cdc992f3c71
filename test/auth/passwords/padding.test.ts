import { describe, expect, it } from '@jest/globals';
import { paddedChecks } from '../../../src/auth/passwords/padding.js';
import type { CheckOptions } from '../../../src/auth/passwords/password-hash.js';
import type { StoredPassword } from '../../../src/auth/passwords/stored-password.js';
import type { AuthContext } from '../../../src/auth/strategies/strategy.js';

const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };

/**
 * Makes a stored password. Its check reports a given number of milliseconds for each spelling that
 * is checked.
 */
function storedAs(format: string, ms: number, { cost = ms, spellings = 1 } = {}) {
  const stored = {
    cost,
    format,
    took: ms,
    checks: 0,
    version: () => '',
    async matches(password: string, { onTime }: CheckOptions = {}) {
      stored.checks += 1;
      for (let n = 0; n < spellings; n++) onTime?.(stored.took);
      return password === 'right';
    },
  };
  return stored satisfies StoredPassword;
}

/** Makes padded checks with a clock of the test, and records their delays. */
function padded(all: readonly StoredPassword[]) {
  const clock = { now: 0 };
  const waits: number[] = [];
  const checks = paddedChecks(all, {
    wait: async (ms) => void waits.push(ms),
    now: () => clock.now,
  });
  return { checks, waits, clock };
}

describe('password checks with hashes of different costs', () => {
  it('delay the failure of a cheap hash to the duration of the costliest one', async () => {
    const [cheap, costly] = [storedAs('ln=15', 90), storedAs('ln=17', 400)];
    const { checks, waits } = padded([cheap, costly]);
    expect(await checks.matches(cheap, 'wrong', context)).toBe(false);
    expect(await checks.matches(costly, 'wrong', context)).toBe(false);
    expect(waits).toEqual([310]);
  });

  it('pad each spelling that was checked', async () => {
    const [cheap, costly] = [storedAs('ln=15', 90, { spellings: 2 }), storedAs('ln=17', 400)];
    const { checks, waits } = padded([cheap, costly]);
    await checks.matches(cheap, 'wrong', context);
    expect(waits).toEqual([620]);
  });

  it('do not delay a success', async () => {
    const [cheap, costly] = [storedAs('ln=15', 90), storedAs('ln=17', 400)];
    const { checks, waits } = padded([cheap, costly]);
    expect(await checks.matches(cheap, 'right', context)).toBe(true);
    expect(waits).toEqual([]);
  });

  it('pad to the hash with the longest measured time, whatever its estimate', async () => {
    const [underrated, costly] = [storedAs('argon2', 500, { cost: 50 }), storedAs('ln=17', 400)];
    const { checks, waits } = padded([underrated, costly]);
    await checks.matches(underrated, 'wrong', context);
    await checks.matches(costly, 'wrong', context);
    expect(waits).toEqual([100]);
  });

  it('follow the load, and measure the costliest hash again from time to time', async () => {
    const [cheap, costly] = [storedAs('ln=15', 90), storedAs('ln=17', 400)];
    const { checks, waits, clock } = padded([cheap, costly]);
    expect(costly.checks).toBe(1);
    costly.took = 800;
    for (let n = 0; n < 30; n++) {
      clock.now += 10_001;
      await checks.matches(cheap, 'wrong', context);
    }
    expect(costly.checks).toBe(31);
    expect(waits.at(-1)).toBeGreaterThan(700);
    await checks.matches(cheap, 'wrong', context);
    expect(costly.checks).toBe(31);
  });

  it('use the estimate while the costliest hash cannot be measured', async () => {
    const [cheap, costly] = [storedAs('ln=15', 90), storedAs('ln=17', 400)];
    costly.matches = () => Promise.reject(new Error('no memory'));
    const { checks, waits } = padded([cheap, costly]);
    await checks.matches(cheap, 'wrong', context);
    expect(waits).toEqual([310]);
  });
});

describe('password checks with hashes of equal cost', () => {
  it('add neither a delay nor a check', async () => {
    const [one, other] = [storedAs('ln=15', 90), storedAs('ln=15', 95)];
    const { checks, waits } = padded([one, other]);
    await checks.matches(one, 'wrong', context);
    expect([waits, one.checks, other.checks]).toEqual([[], 1, 0]);
  });
});
