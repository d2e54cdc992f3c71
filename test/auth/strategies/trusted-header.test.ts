import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type NetConnectOpts, Socket } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { requireAuth } from '../../../src/auth/require-auth.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { textOf } from '../../../src/auth/strategies/trusted-header/headers.js';
import { peersOption } from '../../../src/auth/strategies/trusted-header/peers.js';
import {
  type TrustedHeaderOptions,
  trustedHeader,
} from '../../../src/auth/strategies/trusted-header/trusted-header.js';
import { logIn } from '../../helpers/client.js';
import { steadyClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { recordingLogger } from '../../helpers/logs.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';

const keep = closeAfterEach();
const folder = temporaryFolder();
const proxySecret = 'Canary-proxy-secret-0123456789';

interface App {
  url: string;
  log: ReturnType<typeof recordingLogger>;
  /** Resolves to the name and the roles of the user of a request with these header lines. */
  user(lines?: readonly string[], target?: NetConnectOpts): Promise<unknown>;
  /** Resolves to the status of a request. */
  status(method: string, path: string, lines: readonly string[]): Promise<number>;
}

/** Sends a request with exactly these header lines. Each character is one byte. */
function send(target: NetConnectOpts, request: string, lines: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(target);
    let text = '';
    const head = [`${request} HTTP/1.1`, 'Host: app.example', 'Connection: close', ...lines];
    socket.write(`${head.join('\r\n')}\r\n\r\n`, 'latin1');
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

/** Serves an app behind a proxy. Users also sign in with a password, as `admin`. */
async function start(
  options: Partial<TrustedHeaderOptions>,
  listen: { host?: string; path?: string } = { host: '127.0.0.1' },
  before: Koa.Middleware = (_ctx, next) => next(),
): Promise<App> {
  const log = recordingLogger();
  const strategies = new StrategyRegistry()
    .register('proxy', trustedHeader({ proxies: ['127.0.0.1'], ...options }))
    .register('local', multiUser([['admin', cheapHash(password)]]));
  const auth = createAuth({ strategies, secretKey, logger: log.logger });
  const app = new Koa({ proxy: true });
  app.silent = true;
  app.use(before);
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx, next) => (ctx.path === '/guarded' ? requireAuth('401')(ctx, next) : next()));
  app.use((ctx) => {
    const { session } = ctx.state;
    ctx.body = { user: session ? [session.username, session.roles] : null };
  });
  const server = createServer(app.callback());
  server.listen(listen.path ? listen : { port: 0, ...listen });
  await once(server, 'listening');
  keep({
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve(undefined));
        server.closeAllConnections();
      }),
  });
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const own: NetConnectOpts = listen.path ? { path: listen.path } : { port, host: '127.0.0.1' };
  return {
    ...{ url: `http://127.0.0.1:${port}`, log },
    async user(lines = ['Remote-User: alice'], target = own) {
      const text = await send({ ...own, ...target }, 'GET /', lines);
      return (JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as { user: unknown }).user;
    },
    async status(method, path, lines) {
      const text = await send(own, `${method} ${path}`, lines);
      return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);
    },
  };
}

const reasons = ({ log }: App, event: string): unknown[] =>
  log.events(event).map(({ reason }) => reason);

afterEach(() => {
  jest.restoreAllMocks();
});

describe('trustedHeader', () => {
  it('identifies the user by the header, with read-only access by default', async () => {
    const app = await start({});
    expect(await app.user()).toEqual(['alice', []]);
    expect(await app.user(['remote-user:  alice  '])).toEqual(['alice', []]);
    expect(await app.user([])).toBeNull();
    expect(await app.user(['Remote-User: '])).toBeNull();
    const answer = await send({ port: Number(new URL(app.url).port) }, 'GET /', [
      'Remote-User: alice',
    ]);
    expect(answer).not.toMatch(/^set-cookie/im);
  });

  it('prefers the user of the header to the user of the cookie', async () => {
    const app = await start({});
    const { cookie } = await logIn(`${app.url}/tasks`);
    expect(await app.user([`Cookie: ${cookie}`])).toEqual(['admin', ['admin']]);
    expect(await app.user([`Cookie: ${cookie}`, 'Remote-User: alice'])).toEqual(['alice', []]);
  });

  it('refuses requests of another site, also with a foreign Bearer token', async () => {
    const app = await start({});
    const alice = ['Remote-User: alice'];
    const foreign = [...alice, 'Authorization: Bearer ey.of.proxy'];
    expect(await app.user(foreign)).toEqual(['alice', []]);
    for (const lines of [alice, foreign]) {
      const from = (site: string): string[] => [
        ...lines,
        `Sec-Fetch-Site: ${site}`,
        'Content-Length: 0',
      ];
      expect(await app.status('POST', '/guarded', from('cross-site'))).toBe(403);
      expect(await app.status('POST', '/guarded', from('same-origin'))).toBe(200);
    }
  });

  it.each<[string, string[]]>([
    ['is sent twice', ['Remote-User: alice', 'Remote-User: bob']],
    ['is sent twice with the same value', ['Remote-User: alice', 'remote-user: alice']],
    ['has a twin with an underscore', ['Remote-User: alice', 'Remote_User: bob']],
    ['is sent only with an underscore', ['Remote_User: bob']],
    ['has several values', ['Remote-User: alice, bob']],
    [
      'is a placeholder that Caddy has not filled',
      ['Remote-User: {http.reverse_proxy.header.Remote-User}'],
    ],
    ['has a control character', ['Remote-User: ali\tce']],
    ['is not valid UTF-8', ['Remote-User: ali\xe9']],
    ['is too long', [`Remote-User: ${'a'.repeat(257)}`]],
    [
      'comes with two headers of groups',
      ['Remote-User: a', 'Remote-Groups: x', 'Remote-Groups: y'],
    ],
    ['comes with a twin of the groups', ['Remote-User: a', 'Remote-Groups: x', 'Remote_Groups: y']],
    ['comes with groups that are not valid UTF-8', ['Remote-User: a', 'Remote-Groups: \xff']],
  ])('makes the request anonymous and logs it if the header %s', async (_, lines) => {
    const app = await start({ groups: { header: 'Remote-Groups' } });
    const { cookie } = await logIn(`${app.url}/tasks`);
    expect(await app.user([...lines, `Cookie: ${cookie}`])).toBeNull();
    expect(reasons(app, 'authn_request_rejected')).toEqual([
      expect.stringMatching(/^(ambiguous|invalid)_header$/),
    ]);
  });

  it('reads names and groups as UTF-8', async () => {
    const app = await start({
      groups: { header: 'Remote-Groups' },
      roles: { map: { Größe: 'operator' } },
    });
    const bytes = (text: string): string => Buffer.from(text).toString('latin1');
    const lines = [`Remote-User: ${bytes('Zoë')}`, `Remote-Groups: ${bytes('x, Größe ,')}`];
    expect(await app.user(lines)).toEqual(['Zoë', ['operator']]);
  });
});

describe('the peers of trustedHeader', () => {
  it.each<[string, string[], string, NetConnectOpts, boolean]>([
    ['an address', ['127.0.0.1'], '127.0.0.1', { host: '127.0.0.1' } as NetConnectOpts, true],
    [
      'a range',
      ['127.0.0.0/8'],
      '127.0.0.1',
      { localAddress: '127.9.9.9' } as NetConnectOpts,
      true,
    ],
    ['another range', ['127.1.0.0/16'], '127.0.0.1', {} as NetConnectOpts, false],
    [
      'the end of a range',
      ['127.0.0.0/25'],
      '127.0.0.1',
      { localAddress: '127.0.0.128' } as NetConnectOpts,
      false,
    ],
    ['an IPv4 address of an IPv6 server', ['127.0.0.1'], '::', {} as NetConnectOpts, true],
    ['a mapped address', ['::ffff:127.0.0.1'], '127.0.0.1', {} as NetConnectOpts, true],
    ['a mapped range', ['::ffff:127.0.0.0/104'], '::', {} as NetConnectOpts, true],
    ['an IPv6 address', ['::1'], '::1', { host: '::1' } as NetConnectOpts, true],
    ['an IPv6 range', ['::/64'], '::1', { host: '::1' } as NetConnectOpts, true],
    [
      'an IPv6 address that is not listed',
      ['::2'],
      '::1',
      { host: '::1' } as NetConnectOpts,
      false,
    ],
    ['any IPv6 address for IPv4', ['::/0'], '127.0.0.1', {} as NetConnectOpts, false],
    ['a Unix socket', ['unix'], '127.0.0.1', {} as NetConnectOpts, false],
  ])(
    'are compared by the address of the socket: %s',
    async (_, proxies, host, target, isTrusted) => {
      const app = await start({ proxies }, { host });
      // An app that trusts proxies takes this address for the client.
      const lines = [
        'Remote-User: alice',
        `X-Forwarded-For: ${isTrusted ? '203.0.113.7' : '127.0.0.1'}`,
      ];
      expect(await app.user(lines, target)).toEqual(isTrusted ? ['alice', []] : null);
    },
  );

  it('include a Unix socket only if it is named', async () => {
    const path = folder.file('proxy.sock');
    const named = await start({ proxies: ['unix'] }, { path });
    expect(await named.user()).toEqual(['alice', []]);
    const other = folder.file('other.sock');
    const unnamed = await start({ proxies: ['0.0.0.0/0', '::/0'] }, { path: other });
    expect(await unnamed.user()).toBeNull();
  });

  it.each<[string, (client: Socket, server: Socket) => unknown]>([
    ['has reset', (client) => client.resetAndDestroy()],
    [
      'has reset some time ago',
      (client, server) => {
        client.resetAndDestroy();
        return new Promise((resolve) => server.once('close', resolve));
      },
    ],
  ])('do not include a TCP connection that the client %s', async (_, close) => {
    const client = new Socket();
    const identified = new Promise((resolve) => {
      const before: Koa.Middleware = async (ctx, next) => {
        const { socket } = ctx.req;
        await close(client, socket);
        await next();
        resolve([socket.remoteAddress, ctx.state.session]);
      };
      void start({ proxies: ['unix'] }, { host: '127.0.0.1' }, before).then(({ url }) => {
        client.connect(Number(new URL(url).port), '127.0.0.1');
        client.write('GET / HTTP/1.1\r\nHost: a\r\nRemote-User: alice\r\n\r\n');
      });
    });
    expect(await identified).toEqual([undefined, undefined]);
  });

  it.each([
    ['fe80::1%eth0', 'fe80::1%eth0', true],
    ['fe80::1%eth0', 'fe80::1%eth1', false],
    ['fe80::/64', 'fe80::1%eth1', true],
  ])('may have a zone: %s for %s', (listed, remoteAddress, isTrusted) => {
    expect(peersOption('proxies', [listed]).has({ remoteAddress } as Socket)).toBe(isTrusted);
  });

  it('leave the cookie in force if the proxy sends an empty name', async () => {
    const app = await start({});
    const { cookie } = await logIn(`${app.url}/tasks`);
    for (const line of ['Remote-User:', 'Remote-User: \t '])
      expect(await app.user([`Cookie: ${cookie}`, line])).toEqual(['admin', ['admin']]);
    expect(await app.user(['Remote-User:'])).toBeNull();
  });

  it('leave the cookie in force and log once a minute that they are ignored', async () => {
    const { pass } = steadyClock();
    const app = await start({ proxies: ['10.0.0.7'] });
    const { cookie } = await logIn(`${app.url}/tasks`);
    for (const after of [0, 0, 61]) {
      pass(after);
      expect(await app.user([`Cookie: ${cookie}`, 'Remote-User: alice'])).toEqual([
        'admin',
        ['admin'],
      ]);
    }
    const line = expect.objectContaining({
      level: 40,
      strategy: 'proxy',
      reason: 'untrusted_peer',
      header: 'remote-user',
      peer: '127.0.0.1',
      msg: 'identity header from a peer that is not in proxies',
    });
    expect(app.log.events('authn_header_ignored')).toEqual([line, line]);
  });

  it.each([
    [
      ['10.0.0.0/15', '10.0.0.0/16', 'fd00::/47', 'fd00::/48'],
      undefined,
      [['10.0.0.0/15', 'fd00::/47']],
    ],
    [['10.0.0.0/8'], { header: 'X-Proxy-Secret', value: proxySecret }, []],
  ])(
    'are warned of if a range is wide and there is no secret: %j',
    async (proxies, secret, seen) => {
      const { log } = await start({ proxies, secret });
      const warned = log.events('sys_startup').filter((line) => 'proxies' in line);
      expect(warned.map((line) => line.proxies)).toEqual(seen);
    },
  );
});

describe('the secret of trustedHeader', () => {
  it.each<[string, string[], boolean]>([
    ['right', [`X-Proxy-Secret: ${proxySecret}`], true],
    ['wrong', ['X-Proxy-Secret: another-secret-0123456789'], false],
    ['a part of the right one', [`X-Proxy-Secret: ${proxySecret.slice(0, -1)}`], false],
    ['missing', [], false],
    ['sent twice', [`X-Proxy-Secret: ${proxySecret}`, `X-Proxy-Secret: ${proxySecret}`], false],
  ])('decides whether the header counts: %s', async (_, lines, counts) => {
    const app = await start({ secret: { header: 'X-Proxy-Secret', value: proxySecret } });
    expect(await app.user(['Remote-User: alice', ...lines])).toEqual(counts ? ['alice', []] : null);
    expect(reasons(app, 'authn_header_ignored')).toEqual(counts ? [] : ['wrong_secret']);
    expect(app.log.text()).not.toContain('Canary');
  });
});

describe('the roles of trustedHeader', () => {
  const dns = 'cn=sre,dc=example;cn=staff,dc=example';

  it.each<[string, Partial<TrustedHeaderOptions>, string, unknown]>([
    ['a list', { roles: ['operator'] }, 'sre', ['operator']],
    [
      'a table',
      { roles: { map: { sre: 'operator', staff: 'viewer' } } },
      'sre, staff',
      ['operator', 'viewer'],
    ],
    ['a table without a matching row', { roles: { map: { sre: 'operator' } } }, 'staff', null],
    ['a table with a default', { roles: { map: {}, otherwise: [] } }, 'staff', []],
    ['a function', { roles: ({ username, groups }) => [username, ...groups] }, 'x', ['alice', 'x']],
    [
      'an async function',
      { roles: async ({ groups }) => groups.includes('x') && ['viewer'] },
      'x',
      ['viewer'],
    ],
    ['a function that rejects the user', { roles: () => false }, 'x', null],
    [
      'groups that contain commas',
      {
        groups: { header: 'Remote-Groups', separator: ';' },
        roles: { map: { 'cn=sre,dc=example': 'admin' } },
      },
      dns,
      ['admin'],
    ],
  ])('come from %s', async (_, options, groups, roles) => {
    const app = await start({ groups: { header: 'Remote-Groups' }, ...options });
    const lines = ['Remote-User: alice', `Remote-Groups: ${groups}`];
    expect(await app.user(lines)).toEqual(roles && ['alice', roles]);
    expect(reasons(app, 'authn_request_rejected')).toEqual(roles ? [] : ['no_role']);
  });
});

describe('the sign-out of trustedHeader', () => {
  it.each([
    ['/oauth2/sign_out?rd=%2F', 302],
    [undefined, 403],
  ])('with logoutUrl %j answers %i', async (logoutUrl, status) => {
    const app = await start({ logoutUrl });
    const path = '/tasks/auth/logout';
    expect(await app.status('GET', path, ['Remote-User: alice', 'Accept: text/html'])).toBe(status);
  });
});

describe('an option of trustedHeader', () => {
  const proxies = ['127.0.0.1'];

  it.each<[unknown, string]>([
    [undefined, 'proxies is undefined; it must be a list of the addresses of the proxies'],
    [{ proxies: [] }, 'proxies is an empty array; it must be a list of the addresses'],
    [{ proxies: '127.0.0.1' }, 'proxies is "127.0.0.1"; it must be a list'],
    [{ proxies: ['localhost'] }, 'proxies[0] is "localhost"; the option must be a list'],
    [{ proxies: ['10.0.0.0/33'] }, 'proxies[0] is "10.0.0.0/33"'],
    [{ proxies: ['10.0.0.0/'] }, 'proxies[0] is "10.0.0.0/"'],
    [{ proxies: ['fe80::1%'] }, 'proxies[0] is "fe80::1%"'],
    [
      { proxies, header: 'Remote_User' },
      'header is "Remote_User"; it must be the name of a header',
    ],
    [{ proxies, groups: {} }, 'groups.header is undefined; it must be the name of a header'],
    [{ proxies, groups: { header: 'Remote-User' } }, 'must be different headers'],
    [
      { proxies, roles: { from: 'teams', map: {} } },
      'roles.from is "teams"; it must be one of: groups',
    ],
    [{ proxies, secret: { header: 'X-Secret' } }, 'secret.value is not set; if it comes'],
    [{ proxies, secret: { header: 'X-Secret', value: 'Canary-short' } }, 'secret.value must be at'],
    [
      { proxies, logoutUrl: 'javascript:alert(1)' },
      'logoutUrl is "javascript:alert(1)"; it must be',
    ],
    [{ proxies, logoutUrl: '//evil.example' }, 'logoutUrl is "//evil.example"; it must be'],
    [{ proxies, proxy: [] }, 'trustedHeader has no option "proxy"'],
  ])('is rejected when the strategy is made: %j', (options, message) => {
    let error: Error | undefined;
    try {
      trustedHeader(options as TrustedHeaderOptions);
    } catch (thrown) {
      error = thrown as Error;
    }
    expect(error?.message).toContain(message);
    expect(error?.message).not.toContain('Canary');
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('the text of a header', () => {
  it('loses blanks at its ends, but no other kind of space', () => {
    const sent = (text: string): string => Buffer.from(text).toString('latin1');
    expect(textOf(sent(' \tann '))).toBe('ann');
    for (const name of ['\u00a0admin', 'admin\u3000', '\ufeffadmin'])
      expect(textOf(sent(name))).toBe(name);
  });
});
