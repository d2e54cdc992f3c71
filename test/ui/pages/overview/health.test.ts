import { describe, expect, it } from '@jest/globals';
import type { Metrics } from '../../../../src/client/client.js';
import { healthOf } from '../../../../src/ui/pages/overview/health.js';

const now = Date.parse('2026-11-03T14:25:30Z');
const none = { pending: 0, running: 0, success: 0, failed: 0, interrupted: 0, cancelled: 0 };
const nothing = { avg: null, min: null, max: null, p50: null, p95: null, p99: null };
const point = (minutesAgo: number, success: number, failed: number) => ({
  at: new Date(Date.parse('2026-11-03T14:25:00Z') - minutesAgo * 60_000).toISOString(),
  success,
  failed,
  p95: null,
});
const named = (name: string, failed: number) => ({
  name,
  counts: { ...none, failed },
  successRate: null,
  durations: nothing,
});
const hour = (series: Metrics['series'], functions: Metrics['functions'] = []): Metrics => ({
  counts: none,
  successRate: null,
  durations: nothing,
  functions,
  queues: [],
  series,
});

describe('the health sentence', () => {
  it('is quiet if no task ended recently, and good if none failed', () => {
    expect(healthOf(hour([point(40, 5, 5)]), now)).toMatchObject({ tone: 'quiet', ended: 0 });
    expect(healthOf(hour([point(3, 5, 0), point(40, 0, 5)]), now)).toMatchObject({
      tone: 'good',
      ended: 5,
      failed: 0,
    });
  });

  it('names the function with the most failures and its share', () => {
    const health = healthOf(
      hour([point(2, 1, 4)], [named('sync', 1), named('send_email', 3), named('good', 0)]),
      now,
    );
    expect(health).toMatchObject({
      tone: 'bad',
      failed: 4,
      ended: 5,
      worst: { name: 'send_email', share: 0.75 },
    });
  });

  it('starts with the first failure after five minutes without failures', () => {
    const series = [
      point(50, 0, 1),
      point(23, 0, 3),
      point(19, 9, 0),
      point(18, 0, 1),
      point(14, 0, 2),
      point(0, 0, 1),
    ].sort((a, b) => (a.at < b.at ? -1 : 1));
    expect(healthOf(hour(series), now).since).toBe(Date.parse('2026-11-03T14:25:00Z'));
    const closer = [point(23, 0, 3), point(18, 0, 1), point(14, 0, 2), point(10, 0, 1)].sort(
      (a, b) => (a.at < b.at ? -1 : 1),
    );
    expect(healthOf(hour(closer), now)).toMatchObject({
      failed: 3,
      since: Date.parse('2026-11-03T14:02:00Z'),
    });
  });
});
