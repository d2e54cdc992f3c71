import { afterEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { forwardClock } from '../../src/auth/forward-clock.js';
import { followRevocations } from '../../src/auth/sessions/revocations.js';
import type { AuthStrategy, KnownUser } from '../../src/auth/strategies/strategy.js';
import { limitedStore } from '../../src/auth/time-limit.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { sseStream } from '../../src/web/sse-stream.js';
import { type Answer, ask, logIn, postForm, postJson } from '../helpers/client.js';
import { settableClock } from '../helpers/clock.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { password } from '../helpers/passwords.js';
import { seenAlive } from '../helpers/quickest.js';
import { serve } from '../helpers/serve.js';
import { type OpenStream, openStream } from '../helpers/stream.js';
import { promptly, waitFor } from '../helpers/wait.js';

const hour = 3600;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function start(
  options: Partial<AuthOptions> = {},
  koa: Parameters<typeof serveLogin>[1] = {},
): Promise<LoginApp> {
  const app = await serveLogin({ throttle: { floor: 0 }, ...options }, koa);
  closing.push(() => app.close());
  return app;
}
const nameAt = async (app: LoginApp, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(app.url, { headers })).json as { name: unknown }).name;
const guess = (app: LoginApp, headers: Record<string, string> = {}): Promise<Answer> =>
  postJson(app.login, { username: 'admin', password: 'wrong' }, headers);

describe('forwardClock', () => {
  it('follows the clock forward and continues if the clock is set back', () => {
    const clock = settableClock();
    const now = forwardClock();
    const begin = now();
    clock.pass(10);
    expect(Math.round((now() - begin) / 1000)).toBe(10);
    clock.set(hour);
    expect(Math.round((now() - begin) / 1000)).toBe(hour + 10);
    clock.set(-2 * hour);
    expect(Math.round((now() - begin) / 1000)).toBe(hour + 10);
    clock.pass(20);
    expect(Math.round((now() - begin) / 1000)).toBe(hour + 30);
  });
});

describe('if the clock is set back,', () => {
  it('the answer of find_user is used for at most 30 seconds', async () => {
    const clock = settableClock();
    let user: KnownUser | undefined = { version: '1' };
    const strategies: AuthStrategy = { authenticate_user: () => true, find_user: async () => user };
    const app = await start({ strategies });
    const session = await logIn(app.base);
    clock.pass(2 * hour);
    expect(await nameAt(app, session)).toBe('admin');
    clock.set(-hour);
    user = undefined;
    clock.pass(31);
    expect(await nameAt(app, session)).toBeNull();
  });

  it('a stream still ends when its session expires', async () => {
    const clock = settableClock();
    let stream: OpenStream | undefined;
    const life = await seenAlive(async (tokenExpiry) => {
      const app = await start({ tokenExpiry });
      const session = await logIn(app.base);
      const served = await serve(
        new Koa().use(sseStream(() => silence(), { access: app.auth, logger: false })),
      );
      closing.push(() => served.close());
      stream = await openStream(served.url, session);
      return stream.status === 200;
    });
    clock.set(-hour);
    await waitFor(() => stream?.of('session').length, life + promptly);
    expect(stream?.of('session')).toEqual([{ reason: 'expired' }]);
  });

  it('the last use of a session is still recorded once a minute', async () => {
    const clock = settableClock();
    const app = await start();
    const session = await logIn(app.base);
    const lastUse = async (): Promise<number> => {
      const { json } = await ask(`${app.base}/auth/sessions`, { headers: session });
      return Date.parse((json as { items: { lastUsedAt: string }[] }).items[0]?.lastUsedAt ?? '');
    };
    clock.pass(2 * hour);
    await nameAt(app, session);
    await waitFor(async () => Math.abs((await lastUse()) - Date.now()) < 10_000, promptly);
    clock.set(-hour);
    clock.pass(61);
    await nameAt(app, session);
    await waitFor(async () => Math.abs((await lastUse()) - Date.now()) < 10_000, promptly);
  });

  it('throttled logins are still logged once a minute', async () => {
    const clock = settableClock();
    const app = await start({ throttle: { floor: 0, address: 2, pair: 100 } });
    const refusals = (): number => app.log.events('authn_login_throttled').length;
    for (let n = 0; n < 3; n++) await guess(app);
    await waitFor(() => refusals() === 1);
    clock.set(-hour);
    clock.pass(61);
    // The block has ended with the jump. The next attempt starts another one.
    expect((await guess(app)).status).toBe(401);
    expect((await guess(app)).status).toBe(429);
    await waitFor(() => refusals() === 2, promptly);
  });

  it('the revocation of a session is dropped when its token has expired', async () => {
    const clock = settableClock();
    const revocations = followRevocations({
      store: limitedStore(memoryStore()),
      prefix: 'revoked:',
      tokenExpiry: hour,
      now: Date.now,
    });
    await revocations.ready();
    const end = (id: string, seconds: number): Promise<void> =>
      revocations.end(id, new Date(Date.now() + seconds * 1000));
    const isKnown = (id: string): boolean =>
      revocations.has(
        { id, username: 'admin', strategy: 'team', authenticatedAt: new Date(Date.now()) },
        0,
      );
    clock.pass(61);
    await end('one', hour);
    clock.set(-2 * hour);
    await end('two', 30);
    clock.pass(61);
    await end('three', hour);
    expect(['one', 'two', 'three'].map(isKnown)).toEqual([true, false, true]);
  });

  it('an earlier browser or network is unfamiliar until its next login', async () => {
    const clock = settableClock();
    const app = await start(
      { throttle: { floor: 0, account: 3, pair: 10 } },
      { proxy: true, maxIpsCount: 1 },
    );
    const from = (address: string, cookie = ''): Record<string, string> => ({
      'X-Forwarded-For': address,
      Cookie: cookie,
    });
    const answer = await postForm(app.login, { username: 'admin', password }, from('192.0.2.10'));
    const device = answer.headers.getSetCookie()[1]?.split(';')[0] ?? '';
    const exhaust = async (): Promise<void> => {
      for (let n = 0; n < 4; n++) await guess(app, from(`198.51.100.${n}`));
    };
    await exhaust();
    expect((await guess(app, from('192.0.2.10'))).status).toBe(401);
    expect((await guess(app, from('203.0.113.1', device))).status).toBe(401);
    clock.set(-24 * hour);
    const again = await postForm(app.login, { username: 'admin', password }, from('192.0.2.11'));
    expect(again.status).toBe(303);
    await exhaust();
    expect((await guess(app, from('192.0.2.10'))).status).toBe(429);
    expect((await guess(app, from('203.0.113.1', device))).status).toBe(429);
    expect((await guess(app, from('192.0.2.11'))).status).toBe(401);
  });
});

async function* silence(): AsyncGenerator<{ event: string; data: number }> {
  yield { event: 'first', data: 1 };
  await new Promise(() => {});
}
