import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { SignedInUser } from '../../src/auth/app-sign-in.js';
import type { Auth } from '../../src/auth/auth.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { sessionToken } from '../../src/auth/session-token.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import type { KnownUser } from '../../src/auth/strategies/strategy.js';
import { Jar } from '../helpers/jar.js';
import { recordingLogger } from '../helpers/logs.js';
import { secretKey } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';

const users = new Map<string, KnownUser>();
const strategies = new StrategyRegistry()
  .register('links', { authenticate_user: () => false })
  .register('known', { authenticate_user: () => false, find_user: (name) => users.get(name) })
  .register('proxy', { authenticate_request: () => undefined, ambient: true });

let served: Served;
afterEach(() => served.close());

/** Serves an app that signs in the user of each request to `/in`. */
async function start(user: unknown) {
  const { logger, lines } = recordingLogger();
  const auth: Auth = createAuth({ strategies, secretKey, logger });
  const app = new Koa();
  app.silent = true;
  let thrown: unknown;
  app.use(sessionToken(auth)).use(loginRoutes(auth));
  app.use(async (ctx) => {
    if (ctx.path === '/in')
      await auth.signIn(ctx, user as SignedInUser).catch((error: unknown) => {
        thrown = error;
      });
    ctx.body = { name: ctx.state.session?.username ?? null };
  });
  served = await serve(app);
  const jar = new Jar();
  await jar.ask(`${served.url}/in`);
  const name = async (of = jar) => ((await of.ask(served.url)).json as { name: unknown }).name;
  return { auth, jar, name, lines, thrown: () => thrown };
}

describe('signIn', () => {
  it('opens a session that ends like any other', async () => {
    const { auth, jar, name, lines, thrown } = await start({
      strategy: 'links',
      username: 'ann',
      roles: ['viewer'],
    });
    expect(thrown()).toBeUndefined();
    expect((await jar.ask(`${served.url}/tasks/auth/session`)).json).toMatchObject({
      ...{ username: 'ann', strategy: 'links', roles: ['viewer'] },
    });
    expect(lines.find(({ event }) => event === 'authn_login_success')).toMatchObject({
      via: 'app',
    });
    await auth.signOutEverywhere('links', 'ann');
    expect(await name()).toBeNull();
  });

  it('ends the session that the request carried', async () => {
    const { jar, name } = await start({ strategy: 'links', username: 'ann', roles: [] });
    const before = jar.copy();
    await jar.ask(`${served.url}/in`);
    expect([await name(), await name(before)]).toEqual(['ann', null]);
  });

  it('gives the roles of find_user, and signs out when the user changes', async () => {
    users.set('bob', { version: '1', roles: ['operator'] });
    const { jar, name } = await start({ strategy: 'known', username: 'bob', roles: ['admin'] });
    expect((await jar.ask(`${served.url}/tasks/auth/session`)).json).toMatchObject({
      roles: ['operator'],
    });
    users.delete('bob');
    expect(await name()).toBeNull();
  });

  it.each([
    [{ strategy: 'other', username: 'ann', roles: [] }, /strategy of signIn.*links, known/],
    [{ strategy: 'proxy', username: 'ann', roles: [] }, /identifies each request/],
    [{ strategy: 'links', username: '', roles: [] }, /username of signIn/],
    [{ strategy: 'links', username: 'ann' }, /roles of signIn/],
    [{ strategy: 'links', username: 'ann', roles: 'admin' }, /roles of signIn/],
    [{ strategy: 'links', username: 'ann', roles: [], admin: true }, /admin/],
    [{ strategy: 'known', username: 'eve', roles: [] }, /find_user does not know/],
    [undefined, /signIn/],
  ])('rejects %j and opens no session', async (user, message) => {
    const { thrown, jar, name } = await start(user);
    expect(String(thrown())).toMatch(message);
    expect(jar.cookies.size).toBe(0);
    expect(await name()).toBeNull();
  });
});
