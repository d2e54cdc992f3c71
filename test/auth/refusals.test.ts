import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { requireAuth } from '../../src/auth/require-auth.js';
import { sessionToken } from '../../src/auth/session-token.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import type { RedirectVerdict } from '../../src/auth/strategies/strategy.js';
import { Jar } from '../helpers/jar.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { testProvider } from '../helpers/provider.js';
import { type Served, serve } from '../helpers/serve.js';

const html = { Accept: 'text/html' };
let served: Served;
afterEach(() => served.close());

/** Serves an app with a page for operators. The user of the provider and `vera` may only read. */
async function start(verdict: RedirectVerdict = false): Promise<Jar> {
  const strategies = new StrategyRegistry()
    .register('okta', testProvider({ verdict }))
    .register('static', staticUser('vera', cheapHash(password), { roles: ['viewer'] }))
    .register('proxy', {
      ambient: true,
      authenticate_request: (ctx) =>
        ctx.get('X-User') === '' ? undefined : { ok: true, username: 'paul' },
    });
  const auth = createAuth({ strategies, secretKey, logger: false });
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth)).use(loginRoutes(auth));
  app.use(requireAuth('redirect', { role: 'operator' }));
  served = await serve(app);
  return new Jar();
}

describe('a page that refuses a request', () => {
  it.each<[RedirectVerdict, string]>([
    [{ ok: false, reason: 'no_role', page: 'no_role', username: 'ann' }, 'option roles'],
    [{ ok: false, reason: 'no_name', page: 'no_name' }, 'option username'],
  ])('names the option that rejected the user of a provider: %j', async (verdict, option) => {
    const jar = await start(verdict);
    const base = `${served.url}/tasks/auth`;
    const { headers } = await jar.ask(`${base}/start/okta`);
    const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
    const answer = await jar.ask(`${base}/callback/okta?code=right&state=${state}`);
    expect([answer.status, answer.text]).toEqual([403, expect.stringContaining(option)]);
  });

  it('names the option that gives roles, if the user has too few', async () => {
    const jar = await start();
    const body = new URLSearchParams({ username: 'vera', password });
    await jar.ask(`${served.url}/tasks/auth/login`, { method: 'POST', body });
    const answer = await jar.ask(served.url, { headers: html });
    expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('option roles')]);
  });

  it('names the options that decide about other sites', async () => {
    const jar = await start();
    const answer = await jar.ask(`${served.url}/tasks/auth/login`, {
      method: 'POST',
      headers: { ...html, 'Sec-Fetch-Site': 'cross-site' },
      body: new URLSearchParams({ username: 'vera', password }),
    });
    expect(answer.status).toBe(403);
    for (const option of ['app.proxy', 'trustedOrigins']) expect(answer.text).toContain(option);
  });

  it('names the option that lets a user sign out of a proxy', async () => {
    const jar = await start();
    const headers = { ...html, 'X-User': 'paul' };
    const answer = await jar.ask(`${served.url}/tasks/auth/logout`, { headers });
    expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('logoutUrl')]);
  });
});
