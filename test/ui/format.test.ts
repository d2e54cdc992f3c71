import { describe, expect, it } from '@jest/globals';
import { duration, percent, shortId } from '../../src/ui/format.js';

describe('the formats of the dashboard', () => {
  it.each([
    [null, ''],
    [0, '0 ms'],
    [0.84, '840 ms'],
    [1.26, '1.2 s'],
    [59.99, '59.9 s'],
    [364, '6m 4s'],
    [7500, '2h 05m'],
    [273_600, '3d 4h'],
    [-3, '0 ms'],
  ])('shows %s seconds as %j', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  it.each([
    [null, '—'],
    [1, '100 %'],
    [0.99999, '99.9 %'],
    [0.914, '91.4 %'],
    [0, '0 %'],
  ])('shows a share of %s as %j, and never all when one has failed', (share, text) => {
    expect(percent(share)).toBe(text);
  });

  it('shows both ends of an id', () => {
    expect(shortId('0198f3aa-1111-7222-8333-44445555c2d4')).toBe('0198f3aa…c2d4');
  });
});
