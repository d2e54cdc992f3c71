import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt } from 'jose';
import { oidc } from '../../../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../../src/auth/strategies/static-user.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import type { SharedStore } from '../../../../src/store/shared-store.js';
import { type LoginApp, serveLogin } from '../../../helpers/login-app.js';
import { client, PlainBrowser, TestProvider } from '../../../helpers/oidc-provider.js';
import { cheapHash, password } from '../../../helpers/passwords.js';
import { promptly, waitFor } from '../../../helpers/wait.js';

/*
 * The whole way of a browser. Two servers with one store stand for two processes of an app: users
 * open the first one, and the provider sends its messages to the second one.
 */

const publicUrl = 'https://app.example';
const redirectUri = `${publicUrl}/tasks/auth/callback/okta`;

let provider: TestProvider;
let store: SharedStore;
let apps: LoginApp[];

beforeAll(async () => {
  store = memoryStore();
  provider = await TestProvider.start({ redirectUri });
  const groups = Array.from({ length: 300 }, (_, index) => `group-${index}-${'x'.repeat(40)}`);
  provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
  provider.accounts.set('max', { preferred_username: 'max', groups: ['sre', ...groups] });
  provider.accounts.set('eve', { preferred_username: 'eve', groups: [] });
  apps = [await start(), await start()];
  provider.changeClient({
    backchannel_logout_uri: `${second().base}/auth/ended/okta`,
    backchannel_logout_session_required: true,
    post_logout_redirect_uris: [`${publicUrl}/tasks/auth/signed-out`],
  });
});
afterEach(() => provider.reset());
afterAll(async () => {
  for (const app of apps) await app.close();
  await provider.close();
});

function start(): Promise<LoginApp> {
  const okta = oidc({
    issuer: provider.issuer,
    clientId: client.id,
    clientSecret: client.secret,
    scopes: ['openid', 'profile', 'groups'],
    roles: { map: { sre: 'operator' } },
    label: 'Okta',
  });
  const strategies = new StrategyRegistry()
    .register('okta', okta)
    .register('admin', staticUser('admin', cheapHash(password)));
  return serveLogin({ strategies, store, publicUrl });
}

/** A user with a browser, in front of one of the processes. */
class User {
  readonly browser = new PlainBrowser();
  readonly #app: LoginApp;

  constructor(app: LoginApp) {
    this.#app = app;
  }

  /** Opens a path of the app. */
  open(path: string): Promise<Response> {
    return this.browser.fetch(this.#app.url + path);
  }

  /** Signs in at the provider. Resolves to the answer of the callback. */
  async signIn(login: string): Promise<Response> {
    const begun = await this.open('/tasks/auth/start/okta?next=/reports');
    const url = String(begun.headers.get('location'));
    const callback = await this.browser.signIn(url, { login, stop: redirectUri });
    return this.open(callback.pathname + callback.search);
  }

  async name(): Promise<unknown> {
    const answer = await this.open('/reports');
    return ((await answer.json()) as { name: unknown }).name;
  }
}

const [first, second] = [() => apps[0], () => apps[1]].map((app) => () => {
  const found = app();
  if (!found) throw new Error('not started');
  return found;
}) as [() => LoginApp, () => LoginApp];

describe('a login at a provider', () => {
  it('is offered on the login page and opens a session', async () => {
    const user = new User(first());
    const page = await (await user.open('/tasks/auth/login')).text();
    expect(page).toContain('Sign in with Okta');
    const answer = await user.signIn('ann');
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/reports']);
    expect(await user.name()).toBe('ann');
  });

  it('gives a user with 300 groups a cookie under 1 KB', async () => {
    let idToken = '';
    provider.change('/token', (answer) => {
      idToken = String(answer.id_token);
      return answer;
    });
    const user = new User(first());
    const answer = await user.signIn('max');
    expect(idToken.length).toBeGreaterThan(16_000);
    for (const cookie of answer.headers.getSetCookie()) expect(cookie.length).toBeLessThan(1024);
    expect(await user.name()).toBe('max');
  });

  it('shows a user without a role that the account is not allowed', async () => {
    const user = new User(first());
    const answer = await user.signIn('eve');
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain('eve');
    expect(await user.name()).toBeNull();
  });

  it('is answered with 503 while the provider is down, and works afterwards', async () => {
    const down = await TestProvider.start({ redirectUri });
    await down.close();
    const strategies = new StrategyRegistry()
      .register(
        'okta',
        oidc({ issuer: down.issuer, clientId: client.id, roles: ['viewer'], label: 'Okta' }),
      )
      .register('admin', staticUser('admin', cheapHash(password)));
    const app = await serveLogin({ strategies, store: memoryStore(), publicUrl });
    const user = new User(app);
    expect((await user.open('/tasks/auth/start/okta')).status).toBe(503);
    expect((await user.open('/tasks/auth/login')).status).toBe(200);
    await down.resume();
    await waitFor(async () => (await user.open('/tasks/auth/start/okta')).status === 302);
    await app.close();
    await down.close();
  });
});

describe('a logout at the provider', () => {
  it('ends the session in every process at once', async () => {
    const user = new User(first());
    await user.signIn('ann');
    const other = new User(first());
    await other.signIn('ann');
    expect(await user.name()).toBe('ann');
    const page = await user.browser.fetch(`${provider.issuer}/session/end`);
    const [, secret = ''] = /name="xsrf" value="([^"]+)"/.exec(await page.text()) ?? [];
    const began = performance.now();
    await user.browser.fetch(`${provider.issuer}/session/end/confirm`, {
      method: 'POST',
      body: new URLSearchParams({ xsrf: secret, logout: 'yes' }),
    });
    await waitFor(async () => (await user.name()) === null);
    expect(performance.now() - began).toBeLessThan(promptly * 1000);
    expect(await other.name()).toBe('ann');
  });

  it('is accepted only as a POST with a valid token', async () => {
    const address = `${second().base}/auth/ended/okta`;
    expect((await fetch(address)).status).toBe(405);
    const send = (token: string): Promise<Response> =>
      fetch(address, { method: 'POST', body: new URLSearchParams({ logout_token: token }) });
    expect((await send('wrong')).status).toBe(400);
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      ...{ iss: provider.issuer, aud: client.id, iat: now, exp: now + 60, jti: 'one', sub: 'ann' },
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    };
    const token = await provider.sign(claims, { typ: 'logout+jwt' });
    const answers = [await send(token), await send(token)];
    expect(answers.map(({ status }) => status)).toEqual([200, 400]);
    expect(answers[0]?.headers.get('cache-control')).toContain('no-store');
  });
});

describe('a logout of the app', () => {
  it('leads to the provider with a hint, and then back', async () => {
    const user = new User(first());
    await user.signIn('ann');
    const logout = await user.open('/tasks/auth/logout');
    expect(logout.headers.get('location')).toBe('/tasks/auth/signed-out');
    const page = await (await user.open('/tasks/auth/signed-out')).text();
    const [, link = ''] = /href="(http:\/\/127[^"]+)"/.exec(page) ?? [];
    const url = new URL(link.replaceAll('&amp;', '&'));
    expect(url.searchParams.get('post_logout_redirect_uri')).toBe(
      `${publicUrl}/tasks/auth/signed-out`,
    );
    const hint = String(url.searchParams.get('id_token_hint'));
    expect(decodeJwt(hint)).toMatchObject({ sub: 'ann' });
    expect((await user.browser.fetch(url)).status).toBe(200);
    expect(await user.name()).toBeNull();
  });
});
