import { describe, expect, it } from '@jest/globals';
import { LoggedNames } from '../src/logged-names.js';

describe('the names of logged tasks', () => {
  it('are reported as new once', () => {
    const names = new LoggedNames();
    expect([
      names.add('resize'),
      names.add('resize'),
      names.add('send'),
      names.add('resize'),
    ]).toEqual([true, false, true, false]);
  });

  it('are forgotten after 10,000 names', () => {
    const names = new LoggedNames();
    for (let n = 0; n <= 10_000; n++) names.add(`name ${n}`);
    expect([names.add('name 0'), names.add('name 10000')]).toEqual([true, false]);
  });
});
