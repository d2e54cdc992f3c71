import { afterEach, describe, expect, it } from '@jest/globals';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type { Strategy, StrategyKind } from '../../../src/auth/strategies/strategy.js';
import { ask } from '../../helpers/client.js';
import { Jar } from '../../helpers/jar.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, password } from '../../helpers/passwords.js';
import { testProvider } from '../../helpers/provider.js';

let app: LoginApp;
afterEach(() => app.close());

const kinds: readonly StrategyKind[] = ['password', 'redirect', 'request'];
const pairs = kinds.flatMap((kind, n) => kinds.slice(n).map((other) => [kind, other] as const));

/** Makes a strategy of a kind whose user and header have the name of the strategy. */
function strategyOf(kind: StrategyKind, name: string): Strategy {
  if (kind === 'password') return staticUser(name, cheapHash(password), { roles: [name] });
  const verdict = { ok: true, username: name, roles: [name] } as const;
  if (kind === 'redirect') return testProvider({ label: name, verdict });
  return {
    ambient: false,
    authenticate_request: (ctx) => (ctx.get('X-User') === name ? verdict : undefined),
  };
}

/** Signs a new browser in with a strategy, and returns what its requests need. */
async function signIn(kind: StrategyKind, name: string): Promise<Record<string, string>> {
  if (kind === 'request') return { 'X-User': name };
  const jar = new Jar();
  if (kind === 'password') {
    const body = new URLSearchParams({ username: name, password, strategy: name });
    await jar.ask(app.login, { method: 'POST', body });
  } else {
    const { headers } = await jar.ask(`${app.base}/auth/start/${name}`);
    const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
    await jar.ask(`${app.base}/auth/callback/${name}?code=right&state=${state}`);
  }
  return { Cookie: jar.header() };
}

async function sessionOf(headers: Record<string, string>): Promise<unknown> {
  return (await ask(`${app.base}/auth/session`, { headers })).json;
}

describe.each(pairs)('a %s strategy and a %s strategy on one login page', (kind, other) => {
  const [name, otherName] = ['s1', 's2'];
  const strategies = [[kind, name] as const, [other, otherName] as const];
  const count = (wanted: StrategyKind): number =>
    [kind, other].filter((each) => each === wanted).length;
  const start = async (order = strategies): Promise<void> => {
    const registry = new StrategyRegistry();
    for (const [kind, name] of order) registry.register(name, strategyOf(kind, name));
    app = await serveLogin({ strategies: registry });
  };

  it.each(['in this order', 'in the other order'])('both sign users in, %s', async (order) => {
    await start(order === 'in this order' ? strategies : strategies.toReversed());
    for (const [each, username] of strategies)
      expect(await sessionOf(await signIn(each, username))).toMatchObject({
        ...{ username, strategy: username, roles: [username] },
      });
    expect((await ask(`${app.base}/auth/session`)).status).toBe(401);
  });

  it('appear on the page: the form, a choice of two, and a link to each provider', async () => {
    await start();
    const { status, text } = await ask(app.login);
    expect(status).toBe(200);
    expect(text.includes('name="password"')).toBe(count('password') > 0);
    expect(text.includes('<select')).toBe(count('password') > 1);
    expect(text.match(/class="provider"/g) ?? []).toHaveLength(count('redirect'));
    for (const [kind, name] of strategies) if (kind === 'request') expect(text).not.toContain(name);
  });

  it('do not accept what belongs to the other one', async () => {
    await start();
    for (const [from, to] of [
      [name, otherName],
      [otherName, name],
    ] as const) {
      const body = new URLSearchParams({ username: from, password, strategy: to });
      expect((await ask(app.login, { method: 'POST', body })).status).toBeGreaterThan(399);
    }
    if (kind !== 'redirect' || other !== 'redirect') return;
    const jar = new Jar();
    const { headers } = await jar.ask(`${app.base}/auth/start/${name}`);
    const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
    await jar.ask(`${app.base}/auth/callback/${otherName}?code=right&state=${state}`);
    expect((await jar.ask(`${app.base}/auth/session`)).status).toBe(401);
  });

  it('share one browser: the last sign-in or the header decides', async () => {
    await start();
    const both = { ...(await signIn(kind, name)), ...(await signIn(other, otherName)) };
    expect(await sessionOf(both)).toMatchObject({ strategy: otherName, username: otherName });
    await app.auth.signOutEverywhere(name, name);
    expect(await sessionOf(both)).toMatchObject({ strategy: otherName });
  });
});
