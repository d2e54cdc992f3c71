import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type { AuthStrategy, StrategyParts } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { serveAdmin } from '../../helpers/admin-app.js';
import { ask, logIn, postJson } from '../../helpers/client.js';
import { settableClock, turnableClock } from '../../helpers/clock.js';
import { Jar } from '../../helpers/jar.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { testProvider } from '../../helpers/provider.js';
import { waitFor } from '../../helpers/wait.js';

const apps: LoginApp[] = [];
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

/** A directory that a test can stop. */
function directory() {
  const fake = {
    isUp: true,
    checks: 0,
    label: 'Directory',
    authenticate_user() {
      if (!fake.isUp) throw new Error(`connection refused with ${secretKey}`);
      return false;
    },
    async check() {
      fake.checks += 1;
      if (!fake.isUp) throw new Error('connection refused');
    },
  };
  return fake satisfies AuthStrategy;
}

async function start(
  ldap: AuthStrategy = directory(),
  store: SharedStore = memoryStore(),
): Promise<LoginApp> {
  const strategies = new StrategyRegistry({ timeLimit: 1 })
    .register('static', staticUser('admin', cheapHash(password)))
    .register('ldap', ldap)
    .register('okta', testProvider());
  const app = await serveLogin({ strategies, store, throttle: false });
  apps.push(app);
  return app;
}

const healthOf = async (app: LoginApp, name: string) =>
  (await app.auth.health()).find((each) => each.name === name);
const tryToLogIn = (app: LoginApp, strategy: string) =>
  postJson(app.login, { username: 'ann', password: 'wrong', strategy });
const states = (app: LoginApp) =>
  app.log.lines.filter(({ event }) => event === 'authn_strategy_state').map(({ state }) => state);

describe('the health of the strategies', () => {
  it('is unknown before the first answer, except for those with a check', async () => {
    const app = await start();
    expect(await app.auth.health()).toMatchObject([
      { name: 'static', state: 'unknown', since: null, isChecked: false, kind: 'password' },
      { name: 'ldap', state: 'up', label: 'Directory', isChecked: true, lastError: null },
      { name: 'okta', state: 'unknown', kind: 'redirect', label: 'Okta' },
    ]);
  });

  it('counts accepted, rejected and failed logins', async () => {
    const ldap = directory();
    const app = await start(ldap);
    await logIn(app.base);
    await tryToLogIn(app, 'static');
    await tryToLogIn(app, 'ldap');
    ldap.isUp = false;
    await tryToLogIn(app, 'ldap');
    const jar = new Jar();
    const { headers } = await jar.ask(`${app.base}/auth/start/okta`);
    const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
    await jar.ask(`${app.base}/auth/callback/okta?code=right&state=${state}`);
    expect(await app.auth.health()).toMatchObject([
      { name: 'static', logins: 1, rejected: 1, errors: 0, state: 'up' },
      { name: 'ldap', logins: 0, rejected: 1, errors: 1 },
      { name: 'okta', logins: 1, rejected: 0, errors: 0, state: 'up' },
    ]);
  });

  it('of a strategy that identifies requests follows its answers', async () => {
    let fails = false;
    const strategies = new StrategyRegistry().register('proxy', {
      ambient: true,
      authenticate_request(ctx) {
        if (fails) throw new Error('no answer');
        return ctx.get('X-User') === '' ? undefined : { ok: true, username: ctx.get('X-User') };
      },
    });
    const app = await serveLogin({ strategies });
    apps.push(app);
    const status = async (user: string): Promise<number> =>
      (await ask(app.url, { headers: { 'X-User': user } })).status;
    expect(await status('')).toBe(200);
    expect(await healthOf(app, 'proxy')).toMatchObject({ state: 'unknown' });
    expect(await status('ann')).toBe(200);
    await waitFor(async () => (await healthOf(app, 'proxy'))?.state === 'up');
    fails = true;
    for (let n = 0; n < 5; n++) expect(await status('ann')).toBe(503);
    await waitFor(async () => (await healthOf(app, 'proxy'))?.state === 'down');
    expect(await healthOf(app, 'proxy')).toMatchObject({ errors: 5, lastError: 'no answer' });
    fails = false;
    expect(await status('ann')).toBe(200);
    await waitFor(async () => (await healthOf(app, 'proxy'))?.state === 'up');
    expect(states(app)).toEqual(['down', 'up']);
  });

  it('of a strategy that fails for some requests changes at most once a minute', async () => {
    const clock = settableClock();
    const strategies = new StrategyRegistry().register('proxy', {
      ambient: true,
      authenticate_request(ctx) {
        if (ctx.get('X-User') === 'bob') throw new Error('no answer');
        return { ok: true, username: ctx.get('X-User') };
      },
    });
    const app = await serveLogin({ strategies });
    apps.push(app);
    const status = async (user: string): Promise<number> =>
      (await ask(app.url, { headers: { 'X-User': user } })).status;
    const isUp = () => waitFor(async () => (await healthOf(app, 'proxy'))?.state === 'up');
    for (let n = 0; n < 4; n++) {
      expect([await status('bob'), await status('ann')]).toEqual([503, 200]);
      await isUp();
    }
    expect(await healthOf(app, 'proxy')).toMatchObject({ errors: 4 });
    expect(states(app)).toEqual(['down', 'up']);
    clock.pass(61);
    expect([await status('bob'), await status('ann')]).toEqual([503, 200]);
    await isUp();
    expect(states(app)).toEqual(['down', 'up', 'down', 'up']);
  });

  it('of a strategy does not count requests that the limit of wrong tokens refused', async () => {
    let parts: StrategyParts | undefined;
    const strategies = new StrategyRegistry().register('tokens', {
      ambient: false,
      attach: (given) => {
        parts = given;
      },
      async authenticate_request(ctx) {
        if (ctx.get('X-Token') === 'right') return { ok: true, username: 'ann' };
        await parts?.countWrongToken(ctx);
        return false;
      },
    });
    const app = await serveLogin({ strategies });
    apps.push(app);
    const status = async (token: string): Promise<number> =>
      (await ask(app.url, { headers: { 'X-Token': token } })).status;
    expect(await status('right')).toBe(200);
    await waitFor(async () => (await healthOf(app, 'tokens'))?.state === 'up');
    await waitFor(async () => (await status('wrong')) === 429);
    expect(await status('wrong')).toBe(429);
    expect(await healthOf(app, 'tokens')).toMatchObject({ state: 'up', errors: 0 });
    expect(states(app)).toEqual([]);
  });

  it('is down in all processes after a failed login, and logged once', async () => {
    const [ldap, store] = [directory(), memoryStore()];
    const [app, other] = [await start(ldap, store), await start(ldap, store)];
    await tryToLogIn(app, 'ldap');
    await waitFor(async () => (await healthOf(app, 'ldap'))?.state === 'up');
    ldap.isUp = false;
    for (const each of [app, other, app]) await tryToLogIn(each, 'ldap');
    await waitFor(async () => (await healthOf(other, 'ldap'))?.state === 'down');
    const { lastError } = (await healthOf(other, 'ldap')) ?? {};
    expect(lastError).toBe('connection refused with [redacted]');
    expect([...states(app), ...states(other)]).toEqual(['down']);
    ldap.isUp = true;
    await tryToLogIn(other, 'ldap');
    await waitFor(async () => (await healthOf(app, 'ldap'))?.state === 'up');
    expect([...states(app), ...states(other)].sort()).toEqual(['down', 'up']);
  });

  it('is checked at most once a minute, by one process', async () => {
    const clock = turnableClock();
    const [ldap, store] = [directory(), memoryStore()];
    const [app, other] = [await start(ldap, store), await start(ldap, store)];
    for (let n = 0; n < 5; n++) await Promise.all([app.auth.health(), other.auth.health()]);
    expect(ldap.checks).toBe(1);
    ldap.isUp = false;
    clock.pass(61);
    expect(await healthOf(app, 'ldap')).toMatchObject({
      state: 'down',
      lastError: 'connection refused',
    });
    expect(ldap.checks).toBe(2);
    ldap.isUp = true;
    clock.pass(61);
    expect(await healthOf(other, 'ldap')).toMatchObject({ state: 'up', lastError: null });
  });

  it('shows on the login page which method does not answer, and since when', async () => {
    const ldap = directory();
    ldap.isUp = false;
    const app = await start(ldap);
    await app.auth.health();
    const { text } = await ask(app.login);
    expect(text).toMatch(/Directory has not answered since \d\d:\d\d UTC\./);
    expect(text).toContain('<option value="ldap">');
  });

  it('does not delay the login page', async () => {
    const check = (): Promise<void> => new Promise(() => {});
    const app = await start({ ...directory(), check });
    expect((await ask(app.login)).status).toBe(200);
  });

  it('is for administrators at auth/strategies', async () => {
    const ldap = directory();
    const app = await start(ldap);
    expect((await ask(`${app.base}/auth/strategies`)).status).toBe(401);
    const session = await logIn(app.base);
    const list = await ask(`${app.base}/auth/strategies`, { headers: session });
    expect(list.json).toMatchObject({ items: [{ name: 'static' }, { name: 'ldap' }, {}] });
    ldap.isUp = false;
    const check = (name: string) =>
      ask(`${app.base}/auth/strategies/${name}/check`, { method: 'POST', headers: session });
    expect((await check('ldap')).json).toMatchObject({ name: 'ldap', state: 'down' });
    expect((await check('none')).status).toBe(404);
  });

  it('is part of the metrics for Prometheus', async () => {
    const app = await serveAdmin();
    const session = await logIn(`${app.url}/tasks`);
    const metrics = `${app.url}/tasks/metrics/prometheus`;
    await waitFor(async () => {
      const { text } = await ask(metrics, { headers: session });
      return (
        text.includes('koa_taskflow_login_strategy_up{strategy="default"} 1\n') &&
        text.includes(
          'koa_taskflow_login_attempts_total{strategy="default",outcome="accepted"} 1\n',
        )
      );
    });
    await app.close();
  });
});
