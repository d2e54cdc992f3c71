import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { requireAuth } from '../../src/auth/require-auth.js';
import { sessionOf, sessionToken } from '../../src/auth/session-token.js';
import { ldap } from '../../src/auth/strategies/ldap/ldap.js';
import { oidc } from '../../src/auth/strategies/oidc/oidc.js';
import { providerFetch } from '../../src/auth/strategies/oidc/provider-fetch.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { startBrowser, submit } from '../helpers/browser.js';
import { type Certificate, makeCa } from '../helpers/certificates.js';
import { entries, searchAt } from '../helpers/directory.js';
import { temporaryFolder } from '../helpers/folder.js';
import { freePort } from '../helpers/free-port.js';
import { recordingLogger } from '../helpers/logs.js';
import { nginxLines, startNginx } from '../helpers/nginx.js';
import { client, PlainBrowser, TestProvider } from '../helpers/oidc-provider.js';
import { secretKey } from '../helpers/passwords.js';
import { describeNeeds } from '../helpers/program.js';
import { type Served, serve } from '../helpers/serve.js';
import { Slapd } from '../helpers/slapd.js';
import { pageTimeout, waitFor } from '../helpers/wait.js';

/*
 * Apps behind an nginx that ends TLS and removes a prefix, with the lines of
 * docs/behind-a-proxy.md: `https://localhost/ops/` is the root of the app `ops`. The provider is on
 * another host, `https://127.0.0.1`.
 */

interface App {
  /** The URL that users open. */
  url: string;
  log: ReturnType<typeof recordingLogger>;
}

/** The apps by their prefix. */
const setups: Record<string, { proxy: boolean; publicUrl?: 'own' | 'another host' }> = {
  ops: { proxy: true, publicUrl: 'own' },
  derived: { proxy: true },
  'no-proxy': { proxy: false, publicUrl: 'own' },
  unaware: { proxy: false },
  moved: { proxy: true, publicUrl: 'another host' },
};

describeNeeds(
  'nginx',
  'openssl',
  'slapd',
)('an app behind nginx', () => {
  const folder = temporaryFolder();
  const apps = new Map<string, App>();
  const served: Served[] = [];
  let ca: Certificate;
  let origin: string;
  let nginx: Awaited<ReturnType<typeof startNginx>>;
  let provider: TestProvider;
  let directory: Slapd;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    const made = makeCa(folder.path, 'ca');
    ca = made;
    const [web, id] = [
      made.issue('web', 'DNS:localhost, IP:127.0.0.1'),
      made.issue('id', 'IP:127.0.0.1'),
    ];
    const port = await freePort();
    origin = `https://localhost:${port}`;
    const atProvider = (suffix: string): string[] =>
      Object.keys(setups).map((name) => `${origin}/${name}/tasks/auth/${suffix}`);
    const send = providerFetch([ca.pem]);
    provider = await TestProvider.start({
      redirectUri: `${origin}/ops/tasks/auth/callback/okta`,
      tls: { key: readFileSync(id.key, 'utf8'), cert: id.pem },
      clientMetadata: {
        redirect_uris: [...atProvider('callback/okta')].filter((uri) => !uri.includes('unaware')),
        post_logout_redirect_uris: atProvider('signed-out'),
        backchannel_logout_uri: `${origin}/ops/tasks/auth/ended/okta`,
        backchannel_logout_session_required: true,
      },
      configuration: { fetch: send },
    });
    provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
    directory = await Slapd.start({ entries });
    const [, lines = ''] = nginxLines('behind-a-proxy.md');
    const blocks: string[] = [];
    for (const [name, setup] of Object.entries(setups)) {
      const app = await start(name, setup);
      blocks.push(lines.replaceAll('/ops', `/${name}`).replace('http://127.0.0.1:3000', app));
    }
    nginx = await startNginx(`server {
      listen 127.0.0.1:${port} ssl;
      ssl_certificate ${web.file};
      ssl_certificate_key ${web.key};
      ${blocks.join('\n')}
    }`);
    browser = await startBrowser();
  });
  afterAll(async () => {
    await Promise.all([browser.close(), nginx.close(), provider.close(), directory.remove()]);
    for (const app of served) await app.close();
    folder.remove();
  });
  beforeEach(async () => {
    context = await browser.newContext({ ignoreHTTPSErrors: true });
    page = await context.newPage();
    page.setDefaultTimeout(pageTimeout);
  });
  afterEach(() => context.close());

  /** Starts an app, and returns its own URL, which nginx asks. */
  async function start(
    name: string,
    { proxy, publicUrl }: { proxy: boolean; publicUrl?: string },
  ): Promise<string> {
    const url = `${origin}/${name}`;
    const log = recordingLogger();
    const okta = oidc({
      issuer: provider.issuer,
      clientId: client.id,
      clientSecret: client.secret,
      scopes: ['openid', 'profile', 'groups'],
      roles: { map: { sre: 'operator' } },
      ca: ca.pem,
      label: 'Okta',
    });
    const strategies = new StrategyRegistry()
      .register('okta', okta)
      .register('ldap', ldap(searchAt(directory.url)));
    const urls: Partial<AuthOptions> =
      publicUrl === undefined
        ? {}
        : { publicUrl: publicUrl === 'own' ? url : url.replace('localhost', '127.0.0.1') };
    const auth = createAuth({
      ...{ strategies, secretKey, logger: log.logger, home: '/home', throttle: { floor: 0 } },
      store: memoryStore(),
      ...urls,
    });
    const app = new Koa({ proxy, maxIpsCount: 1 });
    app.silent = true;
    app.use(sessionToken(auth));
    app.use(loginRoutes(auth));
    app.use(requireAuth('redirect'));
    app.use((ctx) => {
      ctx.type = 'html';
      ctx.body =
        `<p>Hello ${sessionOf(ctx).username} at ${ctx.path}` +
        '<form method="post" action="tasks/auth/logout"><button>Sign out</button></form>';
    });
    const made = await serve(app);
    served.push(made);
    apps.set(name, { url, log });
    return made.url;
  }

  function appOf(name: string): App {
    const app = apps.get(name);
    if (!app) throw new Error(`there is no app ${name}`);
    return app;
  }

  /** Signs in at the provider in the browser. The page then shows the form of the provider. */
  async function signInAtProvider(): Promise<void> {
    await page.fill('input[name=login]', 'ann');
    await page.click('button[type=submit]');
  }

  /** Sends a request with headers and without cookies. */
  const send = (url: string, headers: Record<string, string> = {}): Promise<Response> =>
    providerFetch([ca.pem])(url, { method: 'GET', headers });

  const redirectUriOf = (response: Response): string | null =>
    new URL(response.headers.get('location') ?? '').searchParams.get('redirect_uri');

  it('signs users in at the provider and leads them back to the requested page', async () => {
    const { url, log } = appOf('ops');
    await page.goto(`${url}/reports?from=1`);
    expect(page.url()).toBe(`${url}/tasks/auth/login?next=%2Fops%2Freports%3Ffrom%3D1`);
    await page.click('text=Sign in with Okta');
    await signInAtProvider();
    await page.getByText('Hello ann at /reports').waitFor();
    expect(page.url()).toBe(`${url}/reports?from=1`);
    const cookies = (await context.cookies(origin)).filter(({ name }) => name.includes('taskflow'));
    expect(cookies.map(({ name }) => name).sort()).toEqual([
      '__Host-taskflow_token',
      '__Host-taskflow_token_device',
    ]);
    for (const cookie of cookies)
      expect(cookie).toMatchObject({
        ...{ domain: 'localhost', path: '/', secure: true, httpOnly: true, sameSite: 'Lax' },
      });
    expect(log.lines.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });

  it('signs users out, also at the provider', async () => {
    const { url } = appOf('ops');
    await page.goto(`${url}/tasks/auth/start/okta`);
    await signInAtProvider();
    await page.getByText('Hello ann at /home').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    // The page of the provider asks the user. This one has a form without a button.
    await page.waitForURL(`${provider.issuer}/session/end?**`);
    await page.evaluate(() => {
      const [form] = document.forms;
      form?.insertAdjacentHTML('beforeend', '<input name="logout" value="yes">');
      form?.submit();
    });
    await page.getByText('You are signed out').waitFor();
    expect(page.url()).toMatch(`${url}/tasks/auth/signed-out`);
    await page.goto(`${url}/tasks/auth/start/okta`);
    await page.waitForSelector('input[name=login]');
  });

  it('shows a wrong password, and then signs in a user of the directory', async () => {
    const { url, log } = appOf('ops');
    await page.goto(`${url}/reports`);
    await page.fill('#username', 'ann');
    await page.fill('#password', 'wrong');
    await submit(page);
    await page.getByText('Invalid username or password.').waitFor();
    expect(page.url()).toContain(`${url}/tasks/auth/login`);
    expect(log.events('authn_login_fail').at(-1)).toMatchObject({ ip: '127.0.0.1' });
    await page.fill('#password', 'ann-secret');
    await page.click('button[type=submit]');
    await page.getByText('Hello ann at /reports').waitFor();
    expect(page.url()).toBe(`${url}/reports`);
  });

  it('ends a session when the provider says through nginx that it has ended', async () => {
    const { url } = appOf('ops');
    const user = new PlainBrowser(providerFetch([ca.pem]));
    const callback = await user.signIn(`${url}/tasks/auth/start/okta`, {
      ...{ login: 'ann', stop: `${url}/home` },
    });
    const status = async (): Promise<number> => (await user.fetch(callback)).status;
    expect(await status()).toBe(200);
    const asked = await user.fetch(`${provider.issuer}/session/end`);
    const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(await asked.text()) ?? [];
    const body = new URLSearchParams({ xsrf, logout: 'yes' });
    await user.fetch(`${provider.issuer}/session/end/confirm`, { method: 'POST', body });
    await waitFor(async () => (await status()) === 401);
  });

  it.each(['ops', 'derived'])('ignores the proxy headers that a client sends: %s', async (name) => {
    const { url, log } = appOf(name);
    const forged = {
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-Proto': 'http',
      'X-Forwarded-Prefix': '/evil',
      'X-Forwarded-For': '203.0.113.7',
      Origin: 'https://evil.example',
    };
    const started = await send(`${url}/tasks/auth/start/okta`, forged);
    expect(redirectUriOf(started)).toBe(`${url}/tasks/auth/callback/okta`);
    expect(started.headers.getSetCookie()).toEqual([
      expect.stringMatching(/^__Host-taskflow_token_attempt_.*; Path=\/; .*; Secure$/),
    ]);
    const guarded = await send(`${url}/reports`, { ...forged, Accept: 'text/html' });
    expect(guarded.headers.get('location')).toBe(
      `/${name}/tasks/auth/login?next=%2F${name}%2Freports`,
    );
    await send(`${url}/tasks/auth/callback/okta?state=x&code=y`, forged);
    expect(log.events('authn_login_fail').at(-1)).toMatchObject({
      ...{ reason: 'no_attempt', ip: '127.0.0.1' },
    });
    expect(log.text()).not.toMatch(/evil|203\.0\.113/);
  });

  it('derives the callback from the headers of nginx without publicUrl', async () => {
    const { url, log } = appOf('derived');
    await page.goto(`${url}/reports`);
    await page.click('text=Sign in with Okta');
    await signInAtProvider();
    await page.getByText('Hello ann at /reports').waitFor();
    expect(log.events('sys_startup').filter(({ level }) => level === 40)).toEqual([]);
  });

  it('logs that links lack the prefix if app.proxy is not set', async () => {
    for (const name of ['no-proxy', 'unaware']) {
      const { url, log } = appOf(name);
      const guarded = await send(`${url}/reports`, { Accept: 'text/html' });
      expect(guarded.headers.get('location')).toBe('/tasks/auth/login?next=%2Freports');
      const advice = log.events('sys_startup').filter(({ level }) => level === 40);
      expect(advice.map(({ msg }) => msg)).toContainEqual(
        expect.stringMatching(/app\.proxy is not set.*links lack a prefix/),
      );
    }
    // The provider knows the URL below publicUrl, but not the one that the request seems to have.
    const known = await send(`${appOf('no-proxy').url}/tasks/auth/start/okta`);
    expect(redirectUriOf(known)).toBe(`${appOf('no-proxy').url}/tasks/auth/callback/okta`);
    const unknown = await send(`${appOf('unaware').url}/tasks/auth/start/okta`);
    expect(redirectUriOf(unknown)).toBe(
      `${origin.replace('https', 'http')}/tasks/auth/callback/okta`,
    );
    const refused = await send(unknown.headers.get('location') ?? '');
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringContaining('redirect_uri'),
    ]);
  });

  it('explains a sign-in that publicUrl leads to another host', async () => {
    const { url, log } = appOf('moved');
    provider.changeClient({
      redirect_uris: [`${url.replace('localhost', '127.0.0.1')}/tasks/auth/callback/okta`],
    });
    await page.goto(`${url}/tasks/auth/login`);
    await page.click('text=Sign in with Okta');
    await signInAtProvider();
    await page.getByText('started in another browser or at another address of this site').waitFor();
    expect(log.events('sys_startup')).toContainEqual(
      expect.objectContaining({
        ...{ level: 40, url, publicUrl: url.replace('localhost', '127.0.0.1') },
        msg: expect.stringContaining('a URL other than the option publicUrl'),
      }),
    );
    expect(log.events('authn_login_fail').at(-1)).toMatchObject({ reason: 'no_attempt' });
  });
});
