import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { makeCa } from '../../helpers/certificates.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { freePort } from '../../helpers/free-port.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { secretKey } from '../../helpers/passwords.js';
import { startProcess } from '../../helpers/process.js';
import { testProvider } from '../../helpers/provider.js';

const dist = (file: string): string =>
  JSON.stringify(new URL(`../../../dist/${file}`, import.meta.url).href);
const cli = new URL('../../../dist/cli.js', import.meta.url);
const folder = temporaryFolder();
const ca = makeCa(folder.path, 'ca');
const { file: cert, key } = ca.issue('jobs', 'IP:127.0.0.1');

let app: LoginApp;
let proxy: Server;
/** The headers that the proxy adds, and the prefix that it removes. */
let rules: { headers?: Record<string, string>; prefix?: string; hsts?: boolean };

beforeAll(async () => {
  const tls = { cert: readFileSync(cert), key: readFileSync(key) };
  proxy = createServer(tls, (incoming, outgoing) => {
    const { headers = {}, prefix = '', hsts } = rules;
    const own: IncomingHttpHeaders = { ...incoming.headers, ...headers };
    const path = (incoming.url ?? '/').replace(prefix, '');
    const sent = request(new URL(path, app.url), { headers: own }, (answer) => {
      if (hsts) outgoing.setHeader('Strict-Transport-Security', 'max-age=63072000');
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    sent.end();
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => app?.close());
afterAll(() => {
  proxy.close();
  folder.remove();
});

const publicUrl = (): string => `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

/** Runs doctor with a module whose login has the same options as the app. */
async function lines(url: string, options = ''): Promise<readonly string[]> {
  const file = folder.file('auth.mjs');
  writeFileSync(
    file,
    `import { createAuth, StrategyRegistry } from ${dist('auth/index.js')};
    const login = { strategies: ['ann', 'password-of-ann'], secretKey: process.env.KEY };
    export const auth = createAuth({ ...login, ${options} });`,
  );
  const env = { KEY: secretKey, NODE_EXTRA_CA_CERTS: ca.file };
  const child = startProcess(process.execPath, [cli.pathname, 'doctor', file, '--url', url], env);
  await child.ended;
  const start = child.lines.findIndex((line) => line.startsWith('http'));
  const end = child.lines.indexOf('', start);
  return child.lines.slice(start + 1, end).map((line) => line.trim().replaceAll(/ {2,}/g, '  '));
}

describe('the findings about the login page', () => {
  it('say that all is right behind a proxy that sets its headers', async () => {
    app = await serveLogin({}, { proxy: true, maxIpsCount: 1 });
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-prefix': '/jobs' };
    rules = { headers, prefix: '/jobs', hsts: true };
    // The path of the login may be part of the URL.
    expect(await lines(`${publicUrl()}/jobs/tasks/`)).toEqual([
      'ok  login page  answers',
      'ok  path prefix  /jobs/tasks',
      'ok  HSTS  max-age=63072000',
      'ok  session cookie  __Host-taskflow_token; Secure; HttpOnly; SameSite=Lax',
      'ok  forwarded headers  the app ignores those that clients send',
    ]);
  });

  it('find an app that does not see HTTPS and the prefix', async () => {
    app = await serveLogin();
    rules = { prefix: '/jobs' };
    const found = await lines(`${publicUrl()}/jobs`, `publicUrl: 'http://127.0.0.1/jobs'`);
    expect(found.filter((line) => !line.startsWith('→'))).toEqual([
      'ok  login page  answers',
      `fault  publicUrl  http://127.0.0.1/jobs, but browsers open ${publicUrl()}/jobs`,
      'fault  path prefix  the page links to /tasks instead of /jobs/tasks',
      'warning HSTS  browsers may open the page without encryption',
      'fault  session cookie  taskflow_token is not Secure, because the app does not know that ' +
        'browsers use HTTPS',
      'ok  forwarded headers  the app ignores those that clients send',
    ]);
    expect(found).toContain('→ let the proxy send X-Forwarded-Prefix: /jobs, and set app.proxy');
    expect(found).toContain(`→ set publicUrl to ${publicUrl()}/jobs, and register the new URLs`);
  });

  it('find a proxy that passes the headers of clients', async () => {
    app = await serveLogin({}, { proxy: true, maxIpsCount: 1 });
    rules = {};
    expect(await lines(app.url)).toContain(
      'warning forwarded headers  the app trusts X-Forwarded-Proto and X-Forwarded-Prefix from ' +
        'any client',
    );
  });

  it('find a proxy that removes attributes of the cookie, or another page', async () => {
    app = await serveLogin();
    app.server.prependListener('request', (_request, response) => {
      const { setHeader } = response;
      response.setHeader = (name: string, value: number | string | readonly string[]) =>
        setHeader.call(
          response,
          name,
          Array.isArray(value) ? value.map((line) => line.replace('; HttpOnly', '')) : value,
        );
    });
    expect(await lines(app.url)).toContain(
      'fault  session cookie  taskflow_token arrives without HttpOnly',
    );
    expect(await lines(`${app.url}/elsewhere`)).toEqual([
      'fault  login page  status 200, but not the login page',
      '→ let the proxy pass /tasks to the app without its own login',
    ]);
  });

  it('compare the redirect URI of a provider with the address', async () => {
    const begin = ({ redirectUri }: { redirectUri: string }) =>
      `https://id.example/?redirect_uri=${encodeURIComponent(redirectUri)}`;
    const okta = testProvider({ begin: (_ctx, attempt) => begin(attempt) });
    app = await serveLogin({ strategies: new StrategyRegistry().register('okta', okta) });
    rules = {};
    const strategies = `strategies: new StrategyRegistry().register('okta', {
      begin: () => '',
      complete: () => false,
    })`;
    const path = '/tasks/auth/callback/okta';
    const sent = publicUrl().replace('https', 'http') + path;
    expect(await lines(publicUrl(), strategies)).toContain(
      `fault  redirect URI of okta  ${sent} instead of ${publicUrl()}${path}`,
    );
    rules = { headers: { host: app.url.replace('http://', '') } };
    const found = await lines(app.url, strategies);
    expect(found.filter((line) => line.includes('redirect URI'))).toEqual([]);
  });

  it('find an address that cannot be opened', async () => {
    app = await serveLogin();
    const [line] = await lines(`https://127.0.0.1:${await freePort()}`);
    expect(line).toBe('fault  login page  cannot be opened (ECONNREFUSED)');
  });
});
