import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { endSignIn, isWaiting, send, signInReason } from '../../../src/ui/state/sign-in.js';
import { waitFor } from '../../helpers/wait.js';

const ended = 'Bearer realm="koa-taskflow"';
const old = `${ended}, error="insufficient_user_authentication", max_age="900"`;

/** The challenges of the next answers; an answer without one is 200. */
let challenges: string[];
let sent: string[];

beforeEach(() => {
  [challenges, sent] = [[], []];
  jest.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    sent.push(`${init?.method ?? 'GET'} ${String(url)} ${String(init?.body ?? '')}`);
    const challenge = challenges.shift();
    if (challenge === undefined) return new Response('done');
    return new Response('', { status: 401, headers: { 'WWW-Authenticate': challenge } });
  });
});
afterEach(() => {
  endSignIn(false);
  jest.restoreAllMocks();
});

describe('a command that the server refuses with 401', () => {
  it('waits for the sign-in and is sent again as it was', async () => {
    challenges = [ended, ended];
    const answer = send('/tasks/1/cancel', { method: 'POST', body: '{"reason":"x"}' });
    for (const times of [1, 2]) {
      await waitFor(() => isWaiting());
      expect([sent.length, signInReason.value]).toEqual([times, { isOld: false }]);
      endSignIn(true);
    }
    expect((await answer).status).toBe(200);
    expect(new Set(sent)).toEqual(new Set(['POST /tasks/1/cancel {"reason":"x"}']));
    expect(signInReason.value).toBeUndefined();
  });

  it('is not sent again if the user does not sign in for it', async () => {
    challenges = [old];
    const answer = send('/tasks/auth/tokens', { method: 'POST', body: '{}' });
    await waitFor(() => isWaiting());
    expect(signInReason.value).toEqual({ isOld: true });
    endSignIn(false);
    await expect(answer).rejects.toThrow('Nothing was done, because you did not sign in.');
    expect(sent).toHaveLength(1);
  });

  it.each([
    ['POST', '/tasks/bulk'],
    ['POST', '/tasks/bulk-retry'],
    ['POST', '/tasks/retry-failed'],
    ['DELETE', '/tasks/history?before=-1d'],
    ['GET', '/tasks/metrics'],
  ])('is never sent again if it is %s %s', async (method, url) => {
    challenges = [ended];
    expect((await send(url, { method })).status).toBe(401);
    expect([sent.length, isWaiting()]).toEqual([1, false]);
  });
});
