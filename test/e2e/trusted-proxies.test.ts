import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { trustedHeader } from '../../src/auth/strategies/trusted-header/trusted-header.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { startBrowser } from '../helpers/browser.js';
import { ask, postJson } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { freePort } from '../helpers/free-port.js';
import { nginxLines, startNginx } from '../helpers/nginx.js';
import { describeNeeds } from '../helpers/program.js';
import { requestText, sendRaw } from '../helpers/raw.js';
import { openStream } from '../helpers/stream.js';
import { pageTimeout, waitFor } from '../helpers/wait.js';

/*
 * nginx with the lines of docs/trust-a-proxy.md, of which only the addresses are changed. One
 * server stands for oauth2-proxy and for Authelia: it answers as their documentation says. The
 * cookie `user` is a session there.
 */

/** The groups of the users. The stand-in accepts any other user too, but does not name it. */
const groups: Record<string, string> = { ann: 'staff,sre', bob: '' };
const portal = 'https://auth.example';

const [oauth2Proxy = '', authelia = ''] = nginxLines('trust-a-proxy.md');

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { headers, url = '' } = request;
  const user = /(?:^|; )user=(\w+)/.exec(headers.cookie ?? '')?.[1];
  const list = groups[user ?? ''];
  const reply = (status: number, more: Record<string, string> = {}, body = ''): unknown =>
    response.writeHead(status, more).end(body);
  switch (url.split('?', 1)[0]) {
    case '/oauth2/auth': {
      if (user === undefined) return void reply(401);
      const named = { 'X-Auth-Request-Email': user, 'X-Auth-Request-Groups': list ?? '' };
      return void reply(202, list === undefined ? {} : named);
    }
    case '/oauth2/sign_in': {
      const page = `<title>Proxy</title><p>Sign in for ${headers['x-auth-request-redirect']}`;
      return void reply(200, { 'Content-Type': 'text/html' }, page);
    }
    case '/oauth2/sign_out':
      return void reply(200, { 'Set-Cookie': 'user=; Max-Age=0; Path=/' }, 'signed out');
    case '/api/authz/auth-request': {
      const target = `${headers['x-original-method']} ${headers['x-original-url']}`;
      const login = `${portal}/?rd=${encodeURIComponent(target)}`;
      if (user === undefined) return void reply(401, { Location: login });
      return void reply(
        200,
        list === undefined ? {} : { 'Remote-User': user, 'Remote-Groups': list },
      );
    }
  }
  reply(404);
}

describeNeeds('nginx')('trustedHeader behind nginx', () => {
  const folder = temporaryFolder();
  const secret = { header: 'X-Proxy-Secret', value: 'a-secret-of-the-proxy' };
  let browser: Browser;
  let login: Server;
  let app: AdminApp;
  let socket: Server;
  let nginx: Awaited<ReturnType<typeof startNginx>>;
  const urls = new Map<string, string>();

  beforeAll(async () => {
    browser = await startBrowser();
    login = createServer(answer).listen(0, '127.0.0.1');
    await once(login, 'listening');
    app = await serveAdmin(
      {
        auth: new StrategyRegistry().register(
          'proxy',
          trustedHeader({
            proxies: ['127.0.0.1', 'unix'],
            groups: { header: 'Remote-Groups' },
            roles: { map: { sre: 'operator' }, otherwise: [] },
            logoutUrl: '/oauth2/sign_out',
            secret,
          }),
        ),
      },
      { proxy: true },
    );
    socket = createServer((...both) => app.server.emit('request', ...both));
    await once(socket.listen(folder.file('app.sock')), 'listening');

    const blocks: string[] = [];
    const serve = async (name: string, lines: string, target = app.url): Promise<void> => {
      const port = await freePort();
      urls.set(name, `http://127.0.0.1:${port}/tasks`);
      const placed = lines
        .replace(/http:\/\/127\.0\.0\.1:(4180|9091)/g, `http://127.0.0.1:${portOf(login)}`)
        .replace('proxy_pass http://127.0.0.1:3000;', `proxy_pass ${target};`)
        .replace('auth_request ', `proxy_set_header ${secret.header} ${secret.value}; $&`);
      blocks.push(`server { listen 127.0.0.1:${port}; ${placed} }`);
    };
    await serve('oauth2-proxy', oauth2Proxy);
    await serve('Authelia', authelia);
    await serve('a Unix socket', oauth2Proxy, `http://unix:${folder.file('app.sock')}`);
    await serve('underscores_in_headers', `underscores_in_headers on; ${oauth2Proxy}`);
    nginx = await startNginx(blocks.join('\n'));
  });
  afterAll(async () => {
    await Promise.all([browser.close(), nginx.close(), app.close()]);
    for (const server of [login, socket]) server.close();
    folder.remove();
  });

  const urlOf = (name: string): string => urls.get(name) ?? '';
  /** Resolves to the user of a request with header lines. */
  const session = async (
    name: string,
    user: string,
    lines: Record<string, string> = {},
  ): Promise<unknown> => {
    const headers = { Cookie: `user=${user}`, ...lines };
    const { json } = await ask(`${urlOf(name)}/auth/session`, { headers });
    return json;
  };
  const ann = { username: 'ann', roles: ['operator'], strategy: 'proxy' };

  const all = ['oauth2-proxy', 'Authelia', 'a Unix socket'];

  it.each(all)('gives users their names and roles: %s', async (name) => {
    expect(await session(name, 'ann')).toMatchObject(ann);
    expect(await session(name, 'bob')).toMatchObject({ username: 'bob', roles: [] });
  });

  it.each(all)('ignores the headers that a client sends: %s', async (name) => {
    const forged = {
      'Remote-User': 'boss',
      'Remote-Groups': 'sre',
      Remote_User: 'boss',
      Remote_Groups: 'sre',
      [secret.header]: 'another-secret-of-a-client',
    };
    expect(await session(name, 'ann', forged)).toMatchObject(ann);
    expect(await session(name, 'bob', forged)).toMatchObject({ username: 'bob', roles: [] });
    expect(await session(name, 'unnamed', forged)).toMatchObject({ code: 'UNAUTHENTICATED' });
    const twice = 'Remote-User: boss\r\nremote-user: boss\r\nCookie: user=ann\r\n\r\n';
    const request = requestText('GET', '/tasks/auth/session').replace(/\r\n$/, twice);
    expect((await sendRaw(urlOf(name), request)).body).toContain('"username":"ann"');
  });

  it('refuses a second header with underscores if nginx lets it pass', async () => {
    const forged = { Remote_User: 'boss' };
    for (const user of ['ann', 'unnamed'])
      expect(await session('underscores_in_headers', user, forged)).toMatchObject({
        code: 'UNAUTHENTICATED',
      });
    expect(await session('underscores_in_headers', 'ann')).toMatchObject(ann);
  });

  it('ignores the header of a client that reaches the app directly', async () => {
    const headers = { 'Remote-User': 'boss' };
    const { status } = await ask(`${app.base}/auth/session`, { headers });
    expect(status).toBe(401);
  });

  it('lets the proxy ask for a login, and keeps the requested page', async () => {
    const path = '/dashboard?view=tasks&status=failed';
    const headers = { Accept: 'text/html' };
    const page = await ask(urlOf('oauth2-proxy') + path, { headers });
    expect(page.text).toContain(`Sign in for /tasks${path}`);
    const redirect = await ask(urlOf('Authelia') + path, { headers });
    expect([redirect.status, redirect.headers.get('location')]).toEqual([
      302,
      `${portal}/?rd=${encodeURIComponent(`GET ${urlOf('Authelia')}${path}`)}`,
    ]);
    // A script gets a status that it understands.
    for (const name of all) expect((await ask(urlOf(name))).status).toBe(401);
  });

  it.each(all)('accepts changes of its own pages only, and opens streams: %s', async (name) => {
    const headers = { Cookie: 'user=ann', Origin: new URL(urlOf(name)).origin };
    const retry = `${urlOf(name)}/${app.taskId}/rerun`;
    expect((await postJson(retry, {}, headers)).status).toBe(201);
    const foreign = { 'Sec-Fetch-Site': 'cross-site', 'X-Forwarded-For': '203.0.113.7' };
    expect((await postJson(retry, {}, { ...headers, ...foreign })).status).toBe(403);
    expect(app.log.events('cross_origin_refused').at(-1)).toMatchObject({ ip: '127.0.0.1' });
    const stream = await openStream(`${urlOf(name)}/dashboard/stream`, headers);
    await waitFor(() => stream.of('hello').length === 1);
    stream.close();
  });

  it('shows in the dashboard that the session of the proxy has ended', async () => {
    const context = await browser.newContext();
    const { origin } = new URL(urlOf('oauth2-proxy'));
    const page = await context.newPage();
    page.setDefaultTimeout(pageTimeout);
    const signIn = (): Promise<void> =>
      context.addCookies([{ name: 'user', value: 'ann', url: origin }]);
    await signIn();
    await page.goto(`${urlOf('oauth2-proxy')}/dashboard?view=tasks`);
    await page.waitForSelector('.connection.live');
    await context.clearCookies();
    await page.locator('tr[data-task] th a').first().click();
    await page.getByText('Your session has ended').waitFor();
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Sign in for /tasks/dashboard?').waitFor();

    await signIn();
    await page.reload();
    await page.getByRole('link', { name: 'Sign out' }).click();
    await page.getByText('signed out').waitFor();
    expect(page.url()).toBe(`${origin}/oauth2/sign_out`);
  });
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
