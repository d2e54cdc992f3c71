import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { oidc } from '../../../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../../../src/auth/strategies/registry.js';
import { turnableClock } from '../../../helpers/clock.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { type LoginApp, serveLogin } from '../../../helpers/login-app.js';
import { client, PlainBrowser, TestProvider } from '../../../helpers/oidc-provider.js';
import { everyStore } from '../../../helpers/stores.js';
import { waitFor } from '../../../helpers/wait.js';

const publicUrl = 'https://app.example';
const redirectUri = `${publicUrl}/tasks/auth/callback/okta`;
const keep = closeAfterEach();

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(() => void jest.useRealTimers());
afterAll(async () => provider.close());

describe.each(everyStore)('a session, with the store in %s', (_name, open) => {
  it('outlasts a provider that is down, which is logged once', async () => {
    const clock = turnableClock();
    const { one, two, close } = await open();
    const start = async (store = one): Promise<LoginApp> => {
      const okta = oidc({
        ...{ issuer: provider.issuer, clientId: client.id, clientSecret: client.secret },
        scopes: ['openid', 'profile', 'groups'],
        roles: { map: { sre: 'operator', staff: 'viewer' } },
      });
      const strategies = new StrategyRegistry().register('okta', okta);
      return keep(await serveLogin({ strategies, store, publicUrl }));
    };
    provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
    const apps = [await start(), await start(two)];
    const browser = new PlainBrowser();
    const name = async (app: LoginApp | undefined): Promise<unknown> => {
      const answer = await browser.fetch(`${app?.url}/reports`);
      return answer.ok ? ((await answer.json()) as { name: unknown }).name : answer.status;
    };
    const begun = await browser.fetch(`${apps[0]?.base}/auth/start/okta`);
    const url = String(begun.headers.get('location'));
    const { search } = await browser.signIn(url, { login: 'ann', stop: redirectUri });
    await browser.fetch(`${apps[0]?.base}/auth/callback/okta${search}`);
    await provider.close();
    for (const seconds of [400, 3000, 40_000, 40_000]) {
      clock.pass(seconds);
      apps.push(await start());
      for (const app of apps) expect(await name(app)).toBe('ann');
    }
    // The failure for one user is no outage yet. The page asks whether the provider answers.
    const states = () => apps.flatMap(({ log }) => log.events('authn_strategy_state'));
    for (const app of apps) await (await fetch(`${app.base}/auth/login`)).text();
    await waitFor(() => states().some(({ state }) => state === 'down'));
    await provider.resume();
    clock.pass(6);
    for (const app of apps) expect(await name(app)).toBe('ann');
    expect(states().filter(({ state }) => state === 'down')).toHaveLength(1);
    provider.accounts.set('ann', { preferred_username: 'ann', groups: ['staff'] });
    clock.pass(400);
    for (const app of apps) await waitFor(async () => (await name(app)) === null);
    await close();
  });
});
