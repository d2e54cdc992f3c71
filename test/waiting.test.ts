import { stat } from 'node:fs';
import { afterAll, describe, expect, it } from '@jest/globals';
import { afterWaiting } from '../src/waiting.js';
import { block, promptly } from './helpers/wait.js';

describe('a limited wait', () => {
  const stops: (() => void)[] = [];
  afterAll(() => {
    for (const stop of stops) stop();
  });

  /** Resolves to the first event: the end of a wait, or the answer of the file system. */
  const first = (milliseconds: number): Promise<string> =>
    new Promise((resolve) => {
      stops.push(afterWaiting(milliseconds, () => resolve('expired')));
      stat('.', () => resolve('answered'));
    });

  it('expires after its time', async () => {
    const began = performance.now();
    await new Promise<void>((resolve) => stops.push(afterWaiting(100, resolve)));
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(95);
    expect(took).toBeLessThan(promptly * 1000);
  });

  it.each([0, 10, 300])(
    'of %i ms prefers an answer that arrived while the event loop was blocked',
    async (milliseconds) => {
      const outcome = first(milliseconds);
      block(400);
      expect(await outcome).toBe('answered');
    },
  );

  it('counts a blocked period as one step, because the answer may arrive after it', async () => {
    let isExpired = false;
    stops.push(
      afterWaiting(500, () => {
        isExpired = true;
      }),
    );
    block(1000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isExpired).toBe(false);
  });

  it('does not expire after it is stopped', async () => {
    let isExpired = false;
    const stop = afterWaiting(20, () => {
      isExpired = true;
    });
    stop();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isExpired).toBe(false);
  });
});
