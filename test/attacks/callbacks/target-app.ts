import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
} from 'node:crypto';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { requireAuth } from '../../../src/auth/require-auth.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import { apiTokens } from '../../../src/auth/strategies/api-tokens/api-tokens.js';
import { oidc } from '../../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import { trustedHeader } from '../../../src/auth/strategies/trusted-header/trusted-header.js';
import type { Logger } from '../../../src/options.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import { client, PlainBrowser, TestProvider } from '../../helpers/oidc-provider.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { serve } from '../../helpers/serve.js';
import type { Signer } from './logout-tokens.js';
import type { Begun, SignedIn, Target } from './requests.js';

/*
 * An app with all strategies whose proofs a client could forge, in front of a real provider. It has
 * two logins: `/tasks` without limits, so that requests get further, and `/limited` with them.
 * `/inside` answers only to users of the first login.
 */

const publicUrl = 'http://127.0.0.1:1';
const redirectUri = `${publicUrl}/tasks/auth/callback/okta`;
const proxySecret = 'secret-of-the-proxy-0123456789';

/** A running app, and what its attackers have. */
export interface TargetApp {
  port: number;
  target: Target;
  /** Resolves to the statuses of a sign-in, of pages for a user and a script, and of a logout. */
  use(): Promise<Record<string, number>>;
  close(): Promise<void>;
}

/** Starts the app. It begins attempts, and users sign in at the provider. */
export async function startTarget(
  logger: Logger,
  { attempts, users }: { attempts: number; users: number },
): Promise<TargetApp> {
  const provider = await TestProvider.start({ redirectUri });
  provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
  const tokens = apiTokens();
  const proxy = trustedHeader({
    proxies: ['127.0.0.1'],
    groups: { header: 'Remote-Groups' },
    roles: { from: 'groups', map: { sre: 'operator' }, otherwise: [] },
    secret: { header: 'X-Proxy-Secret', value: proxySecret },
  });
  const strategies = strategiesAt(provider).register('tokens', tokens).register('proxy', proxy);
  const shared = { secretKey, publicUrl, logger };
  const auth = createAuth({ ...shared, strategies, store: memoryStore(), throttle: false });
  const limited = createAuth({ ...shared, strategies: strategiesAt(provider), path: '/limited' });
  const app = new Koa();
  app.silent = true;
  app.use(sessionToken(auth)).use(loginRoutes(auth)).use(loginRoutes(limited));
  app.use(requireAuth('401', { auth })).use((ctx) => {
    ctx.body = `inside as ${ctx.state.session?.username}`;
  });
  const served = await serve(app);
  const routes = `${served.url}/tasks/auth`;

  const begin = async (): Promise<Begun & { url: string }> => {
    const answer = await fetch(`${routes}/start/okta`, { redirect: 'manual' });
    const url = answer.headers.get('location') ?? '';
    const [cookie = ''] = answer.headers.getSetCookie().join().split(';');
    return { cookie, state: new URL(url).searchParams.get('state') ?? '', url };
  };
  const signIn = async (): Promise<SignedIn> => {
    const { url, ...begun } = await begin();
    const callback = await new PlainBrowser().signIn(url, { login: 'ann', stop: redirectUri });
    return { ...begun, code: callback.searchParams.get('code') ?? '' };
  };
  const { token: apiToken } = await tokens.create({ name: 'script', owner: 'service:script' });
  const many = <T>(count: number, make: () => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, make));

  return {
    port: (served.server.address() as AddressInfo).port,
    target: {
      begun: await many(attempts, begin),
      signedIn: await many(users, signIn),
      signer: signerOf(provider),
      ...{ apiToken, proxySecret },
    },
    async use() {
      const { cookie, state, code } = await signIn();
      const query = new URLSearchParams({ state, code, iss: provider.issuer });
      const callback = await fetch(`${routes}/callback/okta?${query}`, {
        headers: { cookie },
        redirect: 'manual',
      });
      const cookies = callback.headers.getSetCookie().map((line) => line.split(';')[0]);
      const inside = async (headers: Record<string, string>): Promise<number> =>
        (await fetch(`${served.url}/inside`, { headers })).status;
      const user = await inside({ cookie: cookies.join('; ') });
      const script = await inside({ authorization: `Bearer ${apiToken}` });
      const now = Math.floor(Date.now() / 1000);
      const token = await provider.sign({
        ...{
          iss: provider.issuer,
          aud: client.id,
          sub: 'ann',
          iat: now,
          exp: now + 60,
          jti: state,
        },
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      });
      const body = new URLSearchParams({ logout_token: token });
      const ended = await fetch(`${routes}/ended/okta`, { method: 'POST', body });
      const afterwards = await inside({ cookie: cookies.join('; ') });
      return { signIn: callback.status, user, script, ended: ended.status, afterwards };
    },
    async close() {
      await served.close();
      await provider.close();
    },
  };
}

function strategiesAt(provider: TestProvider): StrategyRegistry {
  const make = () =>
    oidc({
      issuer: provider.issuer,
      clientId: client.id,
      clientSecret: client.secret,
      scopes: ['openid', 'profile', 'groups'],
      roles: { map: { sre: 'operator' } },
    });
  return new StrategyRegistry()
    .register('okta', make())
    .register('other', make())
    .register('staff', staticUser('admin', cheapHash(password)));
}

function signerOf({ key, issuer }: TestProvider): Signer {
  const jwk = key as JsonWebKey & { kid: string };
  const own = createPrivateKey({ key: jwk, format: 'jwk' });
  const open = createPublicKey(own);
  return {
    ...{ issuer, clientId: client.id, key: own, kid: jwk.kid },
    otherKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    publicForms: [
      open.export({ type: 'spki', format: 'pem' }).toString(),
      open.export({ type: 'spki', format: 'der' }).toString('latin1'),
      JSON.stringify(open.export({ format: 'jwk' })),
      client.id,
      '',
    ],
  };
}
