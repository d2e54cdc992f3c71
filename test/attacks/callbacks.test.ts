import { describe, expect, it } from '@jest/globals';
import { attack } from './callbacks/attack.js';

/** The number of requests. `bench/fuzz-callbacks.js` sends a million. */
const count = 20_000;

describe('hostile callbacks, logout tokens, API tokens and headers of a proxy', () => {
  it('open no session, cause no error, and fill neither the memory nor the log', async () => {
    const report = await attack({ seed: 20_261_130, count });
    expect(report.faults).toEqual([]);
    expect(report.leaks).toEqual([]);
    expect(report.slowest).toBeLessThan(10_000);
    expect(report.longestLine).toBeLessThan(2000);
    expect(report.logLines).toBeLessThan(2 * count);
    expect(report.heapGrowth).toBeLessThan(64);
    expect(report.afterwards).toEqual({
      ...{ signIn: 303, user: 200, script: 200, ended: 200, afterwards: 401 },
    });
    // The requests reach all parts of the app.
    for (const [answer, least] of Object.entries({
      ...{ 'callback 400': 3000, 'callback 401': 200, 'callback 404': 100, 'callback 405': 50 },
      ...{ 'callback 429': 50, 'start 302': 1000, 'start 400': 20, 'bearer 401': 1000 },
      ...{ 'ended 200': 100, 'ended 400': 2000, 'ended 413': 10, 'ended 415': 100 },
      ...{ 'proxy 200': 50, 'proxy 401': 500 },
    }))
      expect([answer, (report.statuses[answer] ?? 0) > least]).toEqual([answer, true]);
  }, 240_000);
});
