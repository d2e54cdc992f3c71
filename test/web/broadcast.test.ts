import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Broadcast } from '../../src/web/broadcast.js';

afterEach(() => {
  jest.restoreAllMocks();
});

describe('a broadcast', () => {
  it('listens to the signal of a reader once, however many events there are', async () => {
    const broadcast = new Broadcast<number>(() => () => {});
    const { signal } = new AbortController();
    const listen = jest.spyOn(signal, 'addEventListener');
    const events = broadcast.subscribe(signal);
    for (let n = 0; n < 5; n++) {
      const next = events.next();
      broadcast.send(n);
      expect((await next).value).toBe(n);
    }
    expect(listen).toHaveBeenCalledTimes(1);
    await events.return(undefined);
  });
});
