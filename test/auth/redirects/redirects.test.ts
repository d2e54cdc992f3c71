import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type {
  EndedSession,
  EndedUser,
  RedirectAttempt,
} from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { type Answer, ask, postForm } from '../../helpers/client.js';
import { quickTimers, turnableClock } from '../../helpers/clock.js';
import { Jar } from '../../helpers/jar.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, password } from '../../helpers/passwords.js';
import { type TestProvider, testProvider } from '../../helpers/provider.js';
import { gate, waitFor } from '../../helpers/wait.js';

const apps: LoginApp[] = [];
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

interface Started {
  app: LoginApp;
  provider: TestProvider;
}

async function start(
  provider: TestProvider = testProvider(),
  options: Partial<AuthOptions> = {},
  koa?: Parameters<typeof serveLogin>[1],
): Promise<Started> {
  const strategies = new StrategyRegistry()
    .register('okta', provider)
    .register('static', staticUser('admin', cheapHash(password)));
  const app = await serveLogin({ strategies, home: '/home', ...options }, koa);
  apps.push(app);
  return { app, provider };
}

/** Begins an attempt and returns its `state`. */
async function begin(jar: Jar, app: LoginApp, next?: string): Promise<string> {
  const query = next === undefined ? '' : `?next=${encodeURIComponent(next)}`;
  const answer = await jar.ask(`${app.base}/auth/start/okta${query}`);
  expect(answer.status).toBe(302);
  const url = new URL(answer.headers.get('Location') ?? '');
  expect(url.origin).toBe('https://id.example');
  return url.searchParams.get('state') ?? '';
}

const finish = (jar: Jar, app: LoginApp, state: string, code = 'right'): Promise<Answer> =>
  jar.ask(`${app.base}/auth/callback/okta?${new URLSearchParams({ state, code })}`);

const nameOf = async (jar: Jar, app: LoginApp): Promise<unknown> =>
  ((await jar.ask(app.url)).json as { name: unknown }).name;

const codeOf = ({ json }: Answer): unknown => (json as { code?: string } | undefined)?.code;

describe('a sign-in at a provider', () => {
  it('opens a session and continues to the requested page', async () => {
    const { app } = await start();
    const jar = new Jar();
    const state = await begin(jar, app, '/reports?page=2');
    expect(jar.named('taskflow_token_attempt_')).toEqual([
      expect.stringMatching(/^taskflow_token_attempt_[0-4]$/),
    ]);
    const answer = await finish(jar, app, state);
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/reports?page=2']);
    expect(jar.named('taskflow_token_attempt_')).toEqual([]);
    expect((await jar.ask(`${app.base}/auth/session`)).json).toMatchObject({
      username: 'ann',
      strategy: 'okta',
      roles: ['viewer'],
    });
    await waitFor(() =>
      app.log.lines.find(({ event, via }) => event === 'authn_login_success' && via === 'redirect'),
    );
  });

  it('keeps the attempt in an encrypted cookie of ten minutes', async () => {
    const { app } = await start();
    const { headers } = await ask(`${app.base}/auth/start/okta`);
    const [cookie = ''] = headers.getSetCookie();
    expect(cookie).toMatch(/; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/);
    expect(headers.get('Cache-Control')).toBe('no-store');
    expect(Buffer.from(cookie, 'base64url').toString('latin1')).not.toContain('verifier');
  });

  it('ends the session that the request carried', async () => {
    const { app } = await start();
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    const before = jar.copy();
    await finish(jar, app, await begin(jar, app));
    expect(await nameOf(jar, app)).toBe('ann');
    expect(await nameOf(before, app)).toBeNull();
  });

  it('finishes attempts of five tabs in any order', async () => {
    const { app } = await start();
    const jar = new Jar();
    const states: string[] = [];
    for (let n = 0; n < 5; n++) states.push(await begin(jar, app, `/${n}`));
    for (const n of [1, 4, 2, 0, 3])
      expect((await finish(jar, app, states[n] ?? '')).headers.get('Location')).toBe(`/${n}`);
  });

  it('replaces the oldest of five attempts, each within 1.2 KB', async () => {
    const clock = turnableClock();
    const { app } = await start();
    const jar = new Jar();
    const states: string[] = [];
    for (let n = 0; n < 20; n++) {
      states.push(await begin(jar, app, `/${'x'.repeat(511)}`));
      clock.pass(1);
    }
    const names = jar.named('taskflow_token_attempt_');
    expect(names).toHaveLength(5);
    for (const name of names) expect(jar.cookies.get(name)?.length).toBeLessThanOrEqual(1200);
    const last = states.slice(-6);
    const statuses = [];
    for (const state of last) statuses.push((await finish(jar.copy(), app, state)).status);
    expect(statuses).toEqual([400, 303, 303, 303, 303, 303]);
  });

  it('keeps at most five attempts of tabs that begin at the same time', async () => {
    const { app } = await start();
    const jar = new Jar();
    const next = `/${'x'.repeat(511)}`;
    await Promise.all(Array.from({ length: 40 }, () => begin(jar, app, next)));
    expect(jar.named('taskflow_token_attempt_').length).toBeLessThanOrEqual(5);
    expect((await finish(jar, app, await begin(jar, app))).status).toBe(303);
  });

  it.each([`/${'x'.repeat(512)}`, 'https://evil.example/', '//evil.example', '/tasks/auth/logout'])(
    'continues to the home page instead of %.40s',
    async (next) => {
      const { app } = await start();
      const jar = new Jar();
      const answer = await finish(jar, app, await begin(jar, app, next));
      expect(answer.headers.get('Location')).toBe('/home');
    },
  );

  it('continues by a page if the session cookie is Strict', async () => {
    const { app } = await start(testProvider(), { cookie: { sameSite: 'strict' } });
    const jar = new Jar();
    const state = await begin(jar, app, '/reports');
    const answer = await finish(jar, app, state);
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('<meta http-equiv="refresh" content="0; url=/reports">');
    expect(await nameOf(jar, app)).toBe('ann');
  });

  it('ends the session that the browser had at the start, if the callback lacks it', async () => {
    const { app } = await start(testProvider(), { cookie: { sameSite: 'strict' } });
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    const before = jar.copy();
    const state = await begin(jar, app);
    // A browser does not send a Strict cookie along a redirect that began at the provider.
    jar.cookies.delete('taskflow_token');
    await finish(jar, app, state);
    expect(await nameOf(jar, app)).toBe('ann');
    expect(await nameOf(before, app)).toBeNull();
  });
});

describe('a callback', () => {
  it('is accepted once, by one of two processes', async () => {
    const store = memoryStore();
    const [{ app }, { app: other }] = [
      await start(testProvider(), { store }),
      await start(testProvider(), { store }),
    ];
    const jar = new Jar();
    const state = await begin(jar, app);
    const [one, two] = [jar.copy(), jar.copy()];
    const answers = await Promise.all([finish(one, app, state), finish(two, other, state)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([303, 400]);
  });

  it('without its attempt shows the login page with the reason', async () => {
    const { app } = await start();
    const answer = await finish(new Jar(), app, await begin(new Jar(), app));
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('started in another browser');
    expect(answer.text).toContain('Sign in with Okta');
    expect(answer.headers.getSetCookie()).toEqual([]);
  });

  it('without its attempt redirects home if there is a session', async () => {
    const { app } = await start();
    const jar = new Jar();
    const state = await begin(jar, app);
    const late = jar.copy();
    await finish(jar, app, state);
    for (const [name, value] of jar.cookies) late.cookies.set(name, value);
    for (const name of late.named('taskflow_token_attempt_')) late.cookies.delete(name);
    const answer = await finish(late, app, state);
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/home']);
  });

  it.each([
    ['another state', (state: string) => `${state.slice(0, 8)}${'x'.repeat(35)}`],
    ['a longer state', (state: string) => `${state}x`],
    ['no state', () => ''],
  ])('with %s is refused', async (_case, change) => {
    const { app } = await start();
    const jar = new Jar();
    const answer = await finish(jar, app, change(await begin(jar, app)));
    expect(answer.status).toBe(400);
    expect(await nameOf(jar, app)).toBeNull();
  });

  it('of another strategy is refused', async () => {
    const strategies = new StrategyRegistry()
      .register('okta', testProvider())
      .register('entra', testProvider());
    const { app } = await start(testProvider(), { strategies });
    const jar = new Jar();
    const state = await begin(jar, app);
    const query = new URLSearchParams({ state, code: 'right' });
    expect((await jar.ask(`${app.base}/auth/callback/entra?${query}`)).status).toBe(400);
  });

  it('with an attempt of more than ten minutes is refused', async () => {
    const clock = turnableClock();
    const { app } = await start();
    const jar = new Jar();
    const [early, late] = [await begin(jar, app), await begin(jar, app)];
    clock.pass(590);
    expect((await finish(jar, app, early)).status).toBe(303);
    clock.pass(20);
    expect((await finish(new Jar(), app, late)).status).toBe(400);
    expect((await finish(jar, app, late)).headers.get('Location')).toBe('/home');
  });

  it('with an attempt of the future is refused beyond a minute', async () => {
    const clock = turnableClock();
    const { app } = await start();
    const jar = new Jar();
    const early = await begin(jar, app);
    const other = new Jar();
    const late = await begin(other, app);
    clock.pass(-50);
    expect((await finish(jar, app, early)).status).toBe(303);
    clock.pass(-20);
    expect((await finish(other, app, late)).status).toBe(400);
  });

  it('finds its attempt beside a planted cookie of the same name', async () => {
    const { app } = await start();
    const [user, attacker] = [new Jar(), new Jar()];
    const state = await begin(user, app);
    await begin(attacker, app);
    const [own = ''] = user.header().split('; ');
    const [planted] = [...attacker.cookies.values()];
    const headers = { Cookie: `${own.split('=')[0]}=${planted}; ${own}` };
    const query = new URLSearchParams({ state, code: 'right' });
    const answer = await ask(`${app.base}/auth/callback/okta?${query}`, { headers });
    expect(answer.status).toBe(303);
  });

  it('with a changed cookie is refused', async () => {
    const { app } = await start();
    const jar = new Jar();
    const state = await begin(jar, app);
    const [name = ''] = jar.named('taskflow_token_attempt_');
    const value = jar.cookies.get(name) ?? '';
    jar.cookies.set(
      name,
      `${value.slice(0, 20)}${value[20] === 'A' ? 'B' : 'A'}${value.slice(21)}`,
    );
    expect((await finish(jar, app, state)).status).toBe(400);
  });

  it('of a stranger writes nothing to the store', async () => {
    const store = memoryStore();
    const replace = jest.spyOn(store, 'replace');
    const { app } = await start(testProvider(), { store, throttle: false });
    for (let n = 0; n < 20; n++) {
      const jar = new Jar();
      jar.cookies.set('taskflow_token_attempt_0', 'x'.repeat(600));
      expect((await finish(jar, app, 'x'.repeat(43))).status).toBe(400);
    }
    expect(replace.mock.calls.filter(([key]) => key.includes(':attempt:'))).toEqual([]);
  });

  it('without an attempt has a limit of its own, and is not logged beyond it', async () => {
    const { app } = await start();
    const jar = new Jar();
    const state = await begin(jar, app);
    const statuses = [];
    for (let n = 0; n < 40; n++)
      statuses.push((await finish(new Jar(), app, 'x'.repeat(43))).status);
    expect(statuses).toEqual([...Array(30).fill(400), ...Array(10).fill(429)]);
    await waitFor(() => app.log.lines.filter(({ reason }) => reason === 'no_attempt').length > 29);
    expect(app.log.lines.filter(({ reason }) => reason === 'no_attempt')).toHaveLength(30);
    // Neither a login with a password nor one at the provider is blocked.
    const login = await postForm(app.login, { username: 'admin', password });
    expect(login.status).toBe(303);
    expect((await finish(jar, app, state)).status).toBe(303);
  });

  it('that the provider rejects counts before the provider is asked again', async () => {
    const complete = jest.fn(() => false);
    const { app } = await start(testProvider({ complete }));
    const statuses = [];
    for (let n = 0; n < 33; n++) {
      const jar = new Jar();
      statuses.push((await finish(jar, app, await begin(jar, app))).status);
    }
    expect(statuses).toEqual([...Array(30).fill(401), 429, 429, 429]);
    expect(complete).toHaveBeenCalledTimes(30);
    const login = await postForm(app.login, { username: 'admin', password });
    expect(login.status).toBe(303);
  });

  it('of a browser that has signed in before has a limit of its own', async () => {
    const { app } = await start();
    const known = new Jar();
    await finish(known, app, await begin(known, app));
    for (let n = 0; n < 30; n++) {
      const jar = new Jar();
      expect((await finish(jar, app, await begin(jar, app), 'wrong')).status).toBe(401);
    }
    const stranger = new Jar();
    expect((await finish(stranger, app, await begin(stranger, app))).status).toBe(429);
    expect((await finish(known, app, await begin(known, app))).status).toBe(303);
    const statuses = [];
    for (let n = 0; n < 31; n++)
      statuses.push((await finish(known, app, await begin(known, app), 'wrong')).status);
    expect(statuses).toEqual([...Array(30).fill(401), 429]);
  });

  it('during an outage has a limit of its own, which ends with the outage', async () => {
    let time = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => time);
    const store = memoryStore();
    const replace = jest.spyOn(store, 'replace');
    const down = (): Promise<never> => Promise.reject(new Error('down'));
    const fake = { complete: testProvider().complete };
    const complete = jest.fn<TestProvider['complete']>((...args) => fake.complete(...args));
    const { app } = await start(testProvider({ complete }), { store });
    const known = new Jar();
    await finish(known, app, await begin(known, app));
    const used = (): unknown[] => replace.mock.calls.filter(([key]) => key.includes(':attempt:'));
    const [before, lines] = [used().length, app.log.lines.length];
    const newBrowser = async (): Promise<number> => {
      const jar = new Jar();
      return (await finish(jar, app, await begin(jar, app))).status;
    };

    fake.complete = down;
    complete.mockClear();
    for (let n = 0; n < 60; n++) expect(await newBrowser()).toBe(503);
    expect(complete).toHaveBeenCalledTimes(30);
    expect(used().length - before).toBe(30);
    await waitFor(() => app.log.lines.some(({ reason }) => reason === 'strategy_error'));
    const events = app.log.lines.slice(lines).filter(({ level }) => Number(level) >= 40);
    expect(events.map(({ event }) => event).sort()).toEqual([
      'authn_login_fail',
      'authn_strategy_error',
      'authn_strategy_state',
    ]);
    // The browser of a user is not limited by strangers, and one callback may try every 5 seconds.
    await finish(known, app, await begin(known, app));
    expect(complete).toHaveBeenCalledTimes(31);
    time += 5000;
    const asking = gate();
    fake.complete = () => asking.passed.then(down);
    const first = newBrowser();
    await waitFor(() => complete.mock.calls.length === 32);
    expect(await newBrowser()).toBe(503);
    asking.open();
    expect([await first, await newBrowser()]).toEqual([503, 503]);
    expect(complete).toHaveBeenCalledTimes(32);

    fake.complete = testProvider().complete;
    expect(await newBrowser()).toBe(503);
    time += 5000;
    for (let n = 0; n < 40; n++) expect(await newBrowser()).toBe(303);
  });

  it('with the cookie of a logout as its attempt is refused', async () => {
    const { app } = await start(testProvider({ logoutUrl: () => 'https://id.example/out' }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    await jar.ask(`${app.base}/auth/logout`, { method: 'POST', headers: { Accept: 'text/html' } });
    const value = jar.cookies.get('taskflow_token_logout') ?? '';
    expect(value).not.toBe('');
    const planted = new Jar();
    planted.cookies.set('taskflow_token_attempt_0', value);
    expect((await finish(planted, app, 'x'.repeat(43))).status).toBe(400);
    expect((await planted.ask(app.login)).status).toBe(200);
    expect((await planted.ask(`${app.base}/auth/start/okta`)).status).toBe(302);
  });
});

describe('a provider that rejects the user', () => {
  it('leaves the user on the login page with 401', async () => {
    const { app } = await start();
    const jar = new Jar();
    const answer = await finish(jar, app, await begin(jar, app), 'wrong');
    expect(answer.status).toBe(401);
    expect(answer.text).toContain('Sign-in with Okta failed');
    expect(answer.text).not.toContain('aria-invalid');
    expect(await nameOf(jar, app)).toBeNull();
    await waitFor(() => app.log.lines.find(({ reason }) => reason === 'bad_credentials'));
  });

  it.each([
    ['no_role', 'signed in to Okta as bob, but this account does not have access here'],
    ['no_name', 'Your Okta account has no usable name'],
    ['too_many_groups', 'more groups than Okta can send'],
    ['name_taken', 'The name bob belongs to another Okta account'],
  ] as const)('may show the text for %s with 403', async (page, text) => {
    const verdict = { ok: false, reason: page, page, username: 'bob' } as const;
    const { app } = await start(
      testProvider({ verdict, logoutUrl: () => 'https://id.example/logout?a=1&b=2' }),
    );
    const jar = new Jar();
    const answer = await finish(jar, app, await begin(jar, app));
    expect(answer.status).toBe(403);
    expect(answer.text).toContain(text);
    expect(answer.text).toContain('href="https://id.example/logout?a=1&amp;b=2"');
    expect(jar.named('taskflow_token')).toEqual([]);
    await waitFor(() => app.log.lines.find(({ reason }) => reason === page));
  });

  it('keeps the requested page for the next attempt', async () => {
    const { app } = await start();
    const jar = new Jar();
    const state = await begin(jar, app, '/tasks/auth/done');
    const { text } = await finish(jar, app, state, 'wrong');
    expect(text).toContain('/tasks/auth/start/okta?next=%2Ftasks%2Fauth%2Fdone"');
    expect(text).toContain('name="next" value="/tasks/auth/done"');
  });

  it('shows no text of the provider', async () => {
    const verdict = { ok: false, page: '<b>owned</b>', username: '<i>bob</i>' } as never;
    const { app } = await start(testProvider({ verdict }));
    const jar = new Jar();
    const answer = await finish(jar, app, await begin(jar, app));
    expect(answer.status).toBe(401);
    expect(answer.text).not.toMatch(/owned|<i>/);
  });
});

describe('a provider that fails', () => {
  it('has one line in the log a minute for each user whom find_user does not know', async () => {
    const verdict = { ok: true, username: 'ann' } as const;
    const provider = testProvider({ find_user: () => Promise.reject(new Error('down')), verdict });
    const { app } = await start(provider);
    for (const username of ['ann', 'bob', 'ann', 'bob']) {
      provider.verdict = { ok: true, username };
      const jar = new Jar();
      expect((await finish(jar, app, await begin(jar, app))).status).toBe(503);
    }
    const linesOf = (wanted: string): unknown[] =>
      app.log.lines.filter(({ event, level }) => event === wanted && Number(level) >= 40);
    await waitFor(() => linesOf('authn_login_fail').length >= 2);
    expect(linesOf('authn_login_fail')).toHaveLength(2);
    expect(linesOf('authn_strategy_error')).toHaveLength(1);
  });

  it.each([
    ['begin throws', () => testProvider({ begin: () => Promise.reject(new Error('down')) })],
    ['begin returns no URL', () => testProvider({ begin: () => 'javascript:alert(1)' })],
    [
      'begin stores too much',
      () =>
        testProvider({
          begin: (_ctx, { data }) => {
            data.more = 'x'.repeat(2000);
            return 'https://id.example/';
          },
        }),
    ],
  ])('answers 503 with the login page: %s', async (_case, make) => {
    const { app } = await start(make());
    await ask(`${app.base}/auth/start/okta`);
    const answer = await ask(`${app.base}/auth/start/okta`);
    expect(answer.status).toBe(503);
    expect(answer.text).toContain('Okta is not available right now');
    expect(answer.text).toContain('id="password"');
    expect(answer.headers.getSetCookie()).toEqual([]);
    const failures = app.log.lines.filter(({ msg }) => msg === 'login strategy failed');
    expect(failures).toHaveLength(1);
  });

  it.each([
    ['throws', () => Promise.reject(new Error('down'))],
    ['returns an invalid verdict', () => 'yes' as never],
    ['returns true, but no name', () => true],
  ])('answers 503 if complete %s', async (_case, complete) => {
    const { app } = await start(testProvider({ complete }));
    const jar = new Jar();
    const answer = await finish(jar, app, await begin(jar, app));
    expect(answer.status).toBe(503);
    expect(await nameOf(jar, app)).toBeNull();
    await waitFor(() => app.log.lines.find(({ reason }) => reason === 'strategy_error'));
  });

  it('answers 503 if find_user does not know the user or throws', async () => {
    for (const find_user of [() => undefined, () => Promise.reject(new Error('down'))]) {
      const { app } = await start(testProvider({ find_user }));
      const jar = new Jar();
      expect((await finish(jar, app, await begin(jar, app))).status).toBe(503);
      expect(jar.named('taskflow_token')).toEqual([]);
    }
  });

  it('has no route for an unknown strategy or one that checks passwords', async () => {
    const { app } = await start();
    for (const name of ['other', 'static', '__proto__', 'constructor'])
      for (const route of ['start', 'callback'])
        expect((await ask(`${app.base}/auth/${route}/${name}`)).status).toBe(404);
  });
});

describe('a callback that is wrong by itself', () => {
  it('does not count as an answer of the provider', async () => {
    const verdict = { ok: false, reason: 'provider' } as const;
    const { app } = await start(testProvider({ verdict }));
    const jar = new Jar();
    expect((await finish(jar, app, await begin(jar, app))).status).toBe(401);
    expect(await app.auth.health()).toMatchObject([{ state: 'unknown', rejected: 0 }, {}]);
  });
});

describe('an error of a provider', () => {
  it('is logged and shown without the code and the data of the attempt', async () => {
    const complete: TestProvider['complete'] = (ctx, { data, state }) => {
      throw new Error(`no answer for ${ctx.query.code}, ${data.verifier} and ${state}`);
    };
    const { app } = await start(testProvider({ complete }));
    const jar = new Jar();
    const state = await begin(jar, app);
    await finish(jar, app, state, 'Sentinel-code');
    await waitFor(() => app.log.lines.find(({ event }) => event === 'authn_strategy_state'));
    const seen = JSON.stringify([app.log.lines, await app.auth.health()]);
    for (const secret of ['Sentinel-code', 'verifier of', state])
      expect(seen).not.toContain(secret);
  });
});

describe('the start of a sign-in', () => {
  const startFrom = (jar: Jar, app: LoginApp, site: string): Promise<Answer> =>
    jar.ask(`${app.base}/auth/start/okta`, { headers: { 'Sec-Fetch-Site': site } });

  it('from another site does not replace the session of a user', async () => {
    const { app } = await start();
    const jar = new Jar();
    expect((await startFrom(jar, app, 'cross-site')).status).toBe(302);
    await finish(jar, app, await begin(jar, app));
    for (const site of ['cross-site', 'same-site'])
      expect((await startFrom(jar, app, site)).headers.get('Location')).toBe('/home');
    for (const site of ['same-origin', 'none'])
      expect((await startFrom(jar, app, site)).headers.get('Location')).toMatch(/^https:/);
  });

  it.each([
    ['/auth/start/okta?next=/reports', {}],
    ['/auth/login?next=/reports', { autoStart: 'okta' }],
  ])(
    'from another site does not replace a session with a Strict cookie: %s',
    async (path, more) => {
      const { app } = await start(testProvider(), { cookie: { sameSite: 'strict' }, ...more });
      const headers = { 'Sec-Fetch-Site': 'cross-site' };
      const own = new Jar();
      let answer = await own.ask(app.base + path, { headers });
      const location = answer.headers.get('Location');
      if (location !== null) answer = await own.ask(app.url + location, { headers });
      expect(answer.status).toBe(200);
      expect(own.cookies.size).toBe(0);
      const [, url = ''] = /http-equiv="refresh" content="0; url=([^"]+)"/.exec(answer.text) ?? [];
      const target = app.url + url.replaceAll('&amp;', '&');
      const repeat = (jar: Jar): Promise<Answer> =>
        jar.ask(target, { headers: { 'Sec-Fetch-Site': 'same-origin' } });
      const state = new URL((await repeat(own)).headers.get('Location') ?? '').searchParams;
      const opened = await finish(own, app, state.get('state') ?? '');
      expect(opened.text).toContain('url=/reports"');
      expect((await repeat(own)).headers.get('Location')).toBe('/reports');
    },
  );

  it('works while the strategy of the present session does not answer', async () => {
    const fake = { find_user: (): { version: string } => ({ version: '1' }) };
    const { app } = await start(testProvider({ staleFor: 0, find_user: () => fake.find_user() }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    fake.find_user = () => {
      throw new Error('down');
    };
    expect((await jar.ask(app.url)).status).toBe(503);
    for (const site of ['same-origin', 'cross-site'])
      expect((await startFrom(jar, app, site)).status).toBe(302);
    expect((await jar.ask(`${app.base}/auth/signed-out`)).status).toBe(200);
  });
});

describe('the user of a provider', () => {
  it('may only read if the strategy gives no roles', async () => {
    const { app } = await start(testProvider({ verdict: { ok: true, username: 'ann' } }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    expect((await jar.ask(`${app.base}/auth/session`)).json).toMatchObject({ roles: [] });
  });

  it('has the roles that find_user returns', async () => {
    const find_user = () => ({ version: '1', roles: ['operator'] });
    const { app } = await start(testProvider({ find_user }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    expect((await jar.ask(`${app.base}/auth/session`)).json).toMatchObject({
      roles: ['operator'],
    });
  });

  it('is signed out when find_user reports another version', async () => {
    const user = { version: '1' };
    const { app } = await start(testProvider({ find_user: () => ({ ...user }) }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    expect(await nameOf(jar, app)).toBe('ann');
    user.version = '2';
    expect(await nameOf(jar, app)).toBeNull();
  });

  it('is signed out everywhere, attempts in progress included', async () => {
    const { app } = await start();
    const [jar, tab] = [new Jar(), new Jar()];
    await finish(jar, app, await begin(jar, app));
    const state = await begin(tab, app);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await app.auth.signOutEverywhere('okta', 'ann');
    expect(await nameOf(jar, app)).toBeNull();
    expect((await finish(tab, app, state)).status).toBe(401);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await finish(tab, app, await begin(tab, app))).status).toBe(303);
    expect(await nameOf(tab, app)).toBe('ann');
  });
});

describe('the callback URL', () => {
  const uriOf = async (
    options: Partial<AuthOptions>,
    koa: { proxy?: boolean },
    headers: Record<string, string>,
  ): Promise<[string | undefined, LoginApp]> => {
    const { app, provider } = await start(testProvider(), options, koa);
    await ask(`${app.base}/auth/start/okta`, { headers });
    await ask(`${app.base}/auth/start/okta`, { headers });
    expect(new Set(provider.redirectUris).size).toBe(1);
    return [provider.redirectUris[0], app];
  };
  const proxied = {
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Host': 'jobs.example',
    'X-Forwarded-Prefix': '/ops',
  };

  it('is below the option publicUrl', async () => {
    const [uri] = await uriOf({ publicUrl: 'https://app.example/ops', path: '/t' }, {}, proxied);
    expect(uri).toBe('https://app.example/ops/t/auth/callback/okta');
  });

  it('comes from the headers of a trusted proxy', async () => {
    const [uri, app] = await uriOf({}, { proxy: true }, proxied);
    expect(uri).toBe('https://jobs.example/ops/tasks/auth/callback/okta');
    expect(app.log.lines.filter(({ msg }) => String(msg).includes('publicUrl'))).toEqual([]);
  });

  it('never comes from the header Origin or from an untrusted proxy', async () => {
    const headers = { ...proxied, Origin: 'https://evil.example' };
    const [uri, app] = await uriOf({}, {}, headers);
    expect(uri).toBe(`${app.url}/tasks/auth/callback/okta`);
  });

  it('with plain HTTP of another host is logged once as a warning', async () => {
    const headers = { 'X-Forwarded-Host': 'jobs.example' };
    const [uri, app] = await uriOf({}, { proxy: true }, headers);
    expect(uri).toBe('http://jobs.example/tasks/auth/callback/okta');
    const warnings = app.log.lines.filter(({ msg }) => String(msg).includes('publicUrl'));
    expect(warnings).toMatchObject([{ level: 40, url: uri }]);
  });

  it.each(['app.example', 'https://app.example/', 'ftp://app.example', 'https://a@b.example'])(
    'cannot be below %s',
    async (publicUrl) => {
      await expect(start(testProvider(), { publicUrl })).rejects.toThrow(/publicUrl/);
    },
  );
});

describe('a logout', () => {
  const signedIn = async (provider: TestProvider): Promise<{ app: LoginApp; jar: Jar }> => {
    const { app } = await start(provider);
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    return { app, jar };
  };
  const logOut = (jar: Jar, app: LoginApp): Promise<Answer> =>
    jar.ask(`${app.base}/auth/logout`, {
      method: 'POST',
      body: new URLSearchParams(),
      headers: { Accept: 'text/html' },
    });

  it('continues to the provider, with an address that is in no URL here', async () => {
    const logoutUrl = jest.fn(
      (_session: EndedSession) => 'https://id.example/logout?id_token_hint=secret',
    );
    const { app, jar } = await signedIn(testProvider({ logoutUrl }));
    const answer = await logOut(jar, app);
    expect([answer.status, answer.headers.get('Location')]).toEqual([
      303,
      '/tasks/auth/signed-out',
    ]);
    expect(await nameOf(jar, app)).toBeNull();
    expect(logoutUrl).toHaveBeenCalledWith({
      id: expect.any(String),
      username: 'ann',
      returnTo: `${app.base}/auth/signed-out`,
    });
    const page = await jar.ask(`${app.base}/auth/signed-out`);
    expect(page.text).toContain(
      '<meta http-equiv="refresh" content="0; url=https://id.example/logout?id_token_hint=secret">',
    );
    expect(jar.named('taskflow_token_logout')).toEqual([]);
    const back = await jar.ask(`${app.base}/auth/signed-out`);
    expect(back.text).toContain('You are signed out');
    expect(back.text).not.toContain('http-equiv');
    expect(back.text).toContain('href="/tasks/auth/login?form"');
  });

  it.each([
    ['has no page for it', () => undefined],
    ['fails', () => Promise.reject(new Error('down'))],
    ['returns a wrong address', () => 'javascript:alert(1)'],
    ['returns a long address', () => `https://id.example/${'x'.repeat(2800)}`],
  ])('says that the user may still be signed in if the provider %s', async (_case, logoutUrl) => {
    const { app, jar } = await signedIn(testProvider({ logoutUrl }));
    expect((await logOut(jar, app)).status).toBe(303);
    const page = await jar.ask(`${app.base}/auth/signed-out`);
    expect(page.text).toContain('You may still be signed in to Okta.');
    expect(page.text).not.toContain('http-equiv');
    expect(await nameOf(jar, app)).toBeNull();
  });

  it('of a script answers 204', async () => {
    const { app, jar } = await signedIn(testProvider());
    const answer = await jar.ask(`${app.base}/auth/logout`, {
      method: 'POST',
      headers: { Accept: 'application/json' },
    });
    expect(answer.status).toBe(204);
  });

  it('of a user with a password leads to the login page', async () => {
    const { app } = await start();
    const jar = new Jar();
    await jar.ask(app.login, {
      method: 'POST',
      body: new URLSearchParams({ username: 'admin', password }),
    });
    expect((await logOut(jar, app)).headers.get('Location')).toBe('/tasks/auth/login');
  });
});

describe('a message of a provider that sessions have ended', () => {
  const ending: TestProvider['sessionsEnded'] = ({ logout_token: token, ...others }) => {
    if (token === 'down') throw new Error('no keys');
    if (token === 'all') return [{ username: 'ann' }];
    if (token?.startsWith('id:')) return [{ username: 'ann', sessionId: token.slice(3) }];
    return Object.keys(others).length > 0 ? [] : undefined;
  };
  const send = (app: LoginApp, token: string): Promise<Answer> =>
    postForm(`${app.base}/auth/ended/okta`, { logout_token: token });

  it('ends all sessions of the user in all processes', async () => {
    const store: SharedStore = memoryStore();
    const provider = (): TestProvider => testProvider({ sessionsEnded: ending });
    const { app } = await start(provider(), { store });
    const { app: other } = await start(provider(), { store });
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    expect(await nameOf(jar, other)).toBe('ann');
    const answer = await send(app, 'all');
    expect([answer.status, answer.text]).toEqual([200, '']);
    expect(answer.headers.get('Cache-Control')).toBe('no-store');
    expect(await nameOf(jar, app)).toBeNull();
    await waitFor(async () => (await nameOf(jar, other)) === null);
    expect(app.log.lines.find(({ reason }) => reason === 'provider')).toMatchObject({
      event: 'session_expired',
      username: 'ann',
      strategy: 'okta',
    });
  });

  it('ends one session by the id that the attempt had', async () => {
    const ids: string[] = [];
    const { app } = await start(
      testProvider({
        sessionsEnded: ending,
        complete: (_ctx: unknown, { sessionId }: RedirectAttempt) => {
          ids.push(sessionId);
          return { ok: true, username: 'ann' };
        },
      }),
    );
    const [jar, other] = [new Jar(), new Jar()];
    await finish(jar, app, await begin(jar, app));
    await finish(other, app, await begin(other, app));
    expect((await send(app, `id:${ids[0]}`)).status).toBe(200);
    expect([await nameOf(jar, app), await nameOf(other, app)]).toEqual([null, 'ann']);
  });

  it.each([
    ['invalid', 'wrong', 400, 'INVALID_INPUT'],
    ['one that cannot be checked', 'down', 503, 'STORE_UNAVAILABLE'],
  ])('that is %s gets an error', async (_case, token, status, code) => {
    const { app } = await start(testProvider({ sessionsEnded: ending }));
    const answer = await send(app, token);
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
  });

  it('gets 400 if the strategy reads no such messages', async () => {
    const { app } = await start();
    expect((await send(app, 'all')).status).toBe(400);
  });

  it.each<[unknown]>([
    [true],
    [{ username: 'ann' }],
    [['ann']],
    [[{ username: '' }]],
    [[{ username: 'ann', sessionId: 7 }]],
    [[{ username: 'ann' }, null]],
  ])('ends no session if the strategy returns %j', async (returned) => {
    const sessionsEnded = () => returned as readonly EndedUser[];
    const { app } = await start(testProvider({ sessionsEnded }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    expect((await send(app, 'any')).status).toBe(503);
    expect(await nameOf(jar, app)).toBe('ann');
  });

  it('is refused as GET, as JSON, and above 16 KiB', async () => {
    const { app } = await start(testProvider({ sessionsEnded: ending }));
    const url = `${app.base}/auth/ended/okta`;
    expect((await ask(url)).status).toBe(405);
    expect((await send(app, 'x'.repeat(17_000))).status).toBe(413);
    const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' };
    expect((await ask(url, json)).status).toBe(415);
    expect((await postForm(`${app.base}/auth/ended/static`, {})).status).toBe(404);
  });

  it('that cannot be checked has one line in the log a minute', async () => {
    const { app } = await start(testProvider({ sessionsEnded: ending }));
    for (let n = 0; n < 40; n++) expect((await send(app, 'down')).status).toBe(503);
    const errors = app.log.lines.filter(({ level }) => Number(level) >= 50);
    expect(errors.map(({ msg }) => msg)).toEqual([
      'login strategy failed',
      'login strategy is down',
    ]);
  });

  it('is limited by address if it is invalid', async () => {
    const { app } = await start(testProvider({ sessionsEnded: ending }));
    const statuses: number[] = [];
    for (let n = 0; n < 40; n++) statuses.push((await send(app, 'wrong')).status);
    expect(statuses).toEqual([...Array(30).fill(400), ...Array(10).fill(429)]);
    await waitFor(() => app.log.lines.find(({ bucket }) => bucket === 'message'));
    expect(app.log.lines.filter(({ bucket }) => bucket === 'message')).toHaveLength(1);
  });

  it.each<[string, (app: LoginApp) => Promise<Answer>]>([
    ['invalid messages', (app) => send(app, 'wrong')],
    ['callbacks without an attempt', (app) => finish(new Jar(), app, 'x'.repeat(43))],
  ])('is read after many %s from its address', async (_what, disturb) => {
    const { app } = await start(testProvider({ sessionsEnded: ending }));
    const jar = new Jar();
    await finish(jar, app, await begin(jar, app));
    let last = 0;
    for (let n = 0; n < 31; n++) last = (await disturb(app)).status;
    expect(last).toBe(429);
    expect((await send(app, 'all')).status).toBe(200);
    expect(await nameOf(jar, app)).toBeNull();
  });

  it('is read if hundreds arrive at once', async () => {
    const checking = gate();
    let asked = 0;
    const sessionsEnded: TestProvider['sessionsEnded'] = async (...args) => {
      asked += 1;
      await checking.passed;
      return ending(...args);
    };
    const { app } = await start(testProvider({ sessionsEnded }));
    const sent = Array.from({ length: 200 }, () => send(app, 'all'));
    await waitFor(() => asked === 16);
    checking.open();
    for (const { status } of await Promise.all(sent)) expect(status).toBe(200);
  });

  it('gets 503 with Retry-After if it is not its turn within 5 seconds', async () => {
    quickTimers('setTimeout', 5000);
    const hanging = gate();
    let asked = 0;
    const sessionsEnded: TestProvider['sessionsEnded'] = async (...args) => {
      asked += 1;
      await hanging.passed;
      return ending(...args);
    };
    const strategies = new StrategyRegistry()
      .register('okta', testProvider({ sessionsEnded }))
      .register('entra', testProvider({ sessionsEnded: ending }));
    const { app } = await start(testProvider(), { strategies });
    const first = Array.from({ length: 16 }, () => send(app, 'all'));
    await waitFor(() => asked === 16);
    const answers = await Promise.all([send(app, 'all'), send(app, 'all')]);
    for (const { status, headers } of answers)
      expect([status, headers.get('Retry-After')]).toEqual([503, '5']);
    await waitFor(() => app.log.lines.find(({ bucket }) => bucket === 'queue'));
    expect(app.log.lines.filter(({ bucket }) => bucket === 'queue')).toHaveLength(1);
    // Messages of another provider do not wait for this one.
    const other = await postForm(`${app.base}/auth/ended/entra`, { logout_token: 'all' });
    expect(other.status).toBe(200);
    hanging.open();
    for (const { status } of await Promise.all(first)) expect(status).toBe(200);
    expect((await send(app, 'all')).status).toBe(200);
  });
});
