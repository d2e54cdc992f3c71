import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn } from '../helpers/client.js';
import { closeAfterEach } from '../helpers/closing.js';
import { quickest } from '../helpers/quickest.js';
import { type RawAnswer, requestText, sendRaw } from '../helpers/raw.js';
import { promptly } from '../helpers/wait.js';
import { paths } from './corpus.js';

let app: AdminApp;
let mounted: AdminApp;
beforeAll(async () => {
  app = await serveAdmin();
  mounted = await serveAdmin({}, { mounted: '/shop' });
});
afterAll(() => Promise.all([app.close(), mounted.close()]));
const keep = closeAfterEach();

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'];
const overrides: Record<string, string>[] = [
  {},
  { 'X-HTTP-Method-Override': 'GET' },
  { 'X-Original-URL': '/tasks/auth/login' },
  { 'X-Rewrite-URL': '/tasks/auth/login' },
  { 'X-Forwarded-Prefix': '//evil' },
  { 'X-Forwarded-Host': 'evil.example' },
];

/** Returns whether an answer to an anonymous request shows protected data or is a server error. */
function leaks({ status, headers, text, body }: RawAnswer): boolean {
  if (status >= 500 || headers.get('location')?.includes('evil')) return true;
  if (status < 200 || status >= 300 || body === 'elsewhere') return false;
  return !/<form method="post" action="[^"]*\/auth\/login">/.test(text) && body !== '';
}

describe('a path', () => {
  it.each(paths.guarded)(
    'shows an anonymous request no protected data: %j, with any method and header',
    async (path) => {
      const found: unknown[] = [];
      for (const method of methods) {
        for (const headers of method === 'GET' ? overrides : [{}]) {
          // Other characters than ASCII are sent as raw bytes, as a hostile client would do.
          const answer = await sendRaw(app.url, Buffer.from(requestText(method, path, headers)));
          if (leaks(answer))
            found.push([method, headers, answer.status, answer.body.slice(0, 100)]);
        }
      }
      const under = await sendRaw(
        mounted.url,
        Buffer.from(requestText('GET', path.replace('/tasks', '/shop/tasks'))),
      );
      if (leaks(under)) found.push(['mounted', under.status, under.body.slice(0, 100)]);
      expect(found).toEqual([]);
    },
  );

  it.each(paths.afterAssetsSlash)('reads no file outside the build: assets/%s', async (name) => {
    for (const assets of ['/tasks/dashboard/assets/', '/tasks/auth/assets/']) {
      const answer = await sendRaw(app.url, Buffer.from(requestText('GET', assets + name)));
      expect([answer.status, answer.status >= 400 || answer.body === 'elsewhere']).toEqual([
        answer.status,
        true,
      ]);
      expect(answer.status).toBeLessThan(500);
      expect(answer.text).not.toMatch(/"dependencies"|root:|koa-taskflow",/);
    }
  });

  it('may be missing: an absolute URL without one is outside every mount', async () => {
    for (const target of ['http://', 'https://', 'http://evil.example', 'http://?x', 'http://#'])
      expect([
        target,
        [200, 400].includes((await sendRaw(app.url, requestText('GET', target))).status),
      ]).toEqual([target, true]);
  });

  it('answers 401 to an anonymous request with any method, except on public routes', async () => {
    for (const path of [
      '',
      '/metrics',
      '/audit',
      '/export',
      `/${app.taskId}`,
      `/${app.taskId}/retry`,
      '/no/such/thing',
      '/auth/sessions',
      '/auth/nothing',
    ]) {
      for (const method of methods) {
        const { status } = await sendRaw(app.url, requestText(method, `/tasks${path}`));
        const known = method === 'OPTIONS' && !path.includes('no');
        expect([method, path, status]).toEqual([method, path, known ? 405 : 401]);
      }
    }
  });

  it('answers 405 to TRACE and unknown methods, and HEAD without a body', async () => {
    const session = await logIn(app.base);
    for (const method of ['TRACE', 'PROPFIND', 'PUT'])
      expect(
        (await sendRaw(app.url, requestText(method, '/tasks/metrics', { Cookie: session.cookie })))
          .status,
      ).toBe(405);
    const head = await sendRaw(
      app.url,
      requestText('HEAD', '/tasks/metrics', { Cookie: session.cookie }),
    );
    expect([head.status, head.body, head.headers.get('content-type')]).toEqual([
      200,
      '',
      'application/json; charset=utf-8',
    ]);
    expect((await sendRaw(app.url, requestText('HEAD', '/tasks/dashboard'))).status).toBe(302);
    expect((await sendRaw(app.url, requestText('HEAD', '/tasks/auth/logout'))).status).toBe(405);
    const stream = await sendRaw(
      app.url,
      requestText('HEAD', '/tasks/dashboard/stream', { Cookie: session.cookie }),
    );
    expect([stream.status, stream.headers.get('content-type'), stream.body]).toEqual([
      200,
      'text/event-stream; charset=utf-8',
      '',
    ]);
  });

  it('follows no symbolic link out of the assets', async () => {
    const { symlinkSync, rmSync } = await import('node:fs');
    const { fileURLToPath } = await import('node:url');
    const link = fileURLToPath(new URL('../../public/assets/link.js', import.meta.url));
    symlinkSync(fileURLToPath(new URL('../../package.json', import.meta.url)), link);
    try {
      expect((await ask(`${app.base}/dashboard/assets/link.js`)).status).toBe(404);
    } finally {
      rmSync(link);
    }
  });
});

/** Returns the body of a login with a given number of bytes. */
function loginOf(bytes: number): string {
  const rest = JSON.stringify({ username: 'a', password: 'b', next: '' });
  return rest.replace('"next":""', `"next":"${'x'.repeat(bytes - rest.length)}"`);
}

describe('a request body', () => {
  const head = (length: number, path = '/tasks/bulk', type = 'application/json'): string =>
    `POST ${path} HTTP/1.1\r\nHost: app.example\r\nContent-Type: ${type}\r\nContent-Length: ` +
    `${length}\r\n\r\n`;

  it('is rejected before it is read: 10 MiB of invalid JSON answer 401', async () => {
    const started = Date.now();
    const answer = await sendRaw(app.url, [head(10 * 2 ** 20), Buffer.alloc(10 * 2 ** 20, '{')]);
    expect(Date.now() - started).toBeLessThan(promptly * 1000);
    if (answer.status !== 0) expect(answer.status).toBe(401);
  });

  it('of up to 64 KiB is read to its end, so that the client gets the 401', async () => {
    const answer = await sendRaw(app.url, [
      head(60_000),
      Buffer.alloc(60_000, '{'),
      requestText('GET', '/tasks/health'),
    ]);
    expect(answer.text).toMatch(/^HTTP\/1\.1 401 [\s\S]*HTTP\/1\.1 200 /);
  });

  it('of more than 16 KiB answers 413 on the login route', async () => {
    const big = `{"username":"${'a'.repeat(40_000)}"}`;
    const answer = await sendRaw(app.url, [head(big.length, '/tasks/auth/login'), big]);
    expect([answer.status, answer.body.includes('PAYLOAD_TOO_LARGE')]).toEqual([413, true]);
  });

  it.each<[string, string | Buffer, number]>([
    ['16,385 bytes', loginOf(16_385), 413],
    ['16,384 bytes', loginOf(16_384), 401],
    ['deep nesting', '['.repeat(8000) + ']'.repeat(8000), 400],
    ['deep objects', `${'{"a":'.repeat(2500)}1${'}'.repeat(2500)}`, 400],
    [
      'a raw 0xff',
      Buffer.concat([
        Buffer.from('{"username":"a","password":"'),
        Buffer.from([0xff]),
        Buffer.from('"}'),
      ]),
      400,
    ],
  ])('of %s gets the right status', async (_case, body, status) => {
    const fresh = keep(await serveAdmin());
    const bytes = Buffer.from(body);
    const answer = await sendRaw(fresh.url, [
      head(bytes.length, '/tasks/auth/login').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
      bytes,
    ]);
    expect([answer.status, bytes.length > 0]).toEqual([status, true]);
  });

  it.each<[string, string, number]>([
    ['a length of 20 with 10 sent and the line closed', 'Content-Length: 20\r\n\r\n{"a":1234}', 0],
    [
      'both chunked and a length',
      'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a compressed body', 'Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}', 415],
    ['a brotli body', 'Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}', 415],
  ])('with %s signs no user in and causes no error', async (_case, rest, status) => {
    const text =
      'POST /tasks/auth/login HTTP/1.1\r\nHost: app.example\r\nConnection: ' +
      `close\r\nContent-Type: application/json\r\n${rest}`;
    const { connect } = await import('node:net');
    const answer = await new Promise<string>((resolve) => {
      let received = '';
      const socket = connect(Number(new URL(app.url).port), '127.0.0.1', () => socket.end(text));
      socket.on('data', (chunk) => {
        received += String(chunk);
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(received));
    });
    const answered = Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);
    expect([0, status, 400]).toContain(answered);
    expect(answer).not.toMatch(/set-cookie/i);
  });

  it('that arrives slowly does not block other routes', async () => {
    const { connect } = await import('node:net');
    const sockets = Array.from({ length: 200 }, () => {
      const socket = connect(Number(new URL(app.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write(
        'POST /tasks/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: ' +
          'application/json\r\nContent-Length: 1000\r\n\r\n{',
      );
      return socket;
    });
    keep({ close: async () => sockets.forEach((socket) => void socket.destroy()) });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const took = await quickest(500, async () =>
      expect((await ask(`${app.base}/health`)).status).toBe(200),
    );
    expect(took).toBeLessThan(500);
  });
});
