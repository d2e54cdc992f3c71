import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Context } from 'koa';
import type { TaskAdminOptions } from '../../src/admin.js';
import { createAuth } from '../../src/auth/create-auth.js';
import type { Actor } from '../../src/http/access.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn, postJson } from '../helpers/client.js';
import { closeAfterEach } from '../helpers/closing.js';
import { password } from '../helpers/passwords.js';
import { requestText, sendRaw } from '../helpers/raw.js';
import { origins } from './corpus.js';

let app: AdminApp;
let open: AdminApp;
let session: { cookie: string };
beforeAll(async () => {
  app = await serveAdmin({ trustedOrigins: ['https://trusted.example'] });
  open = await serveAdmin({
    auth: null,
    allowedHosts: ['app.example', 'intranet', 'tasks.internal'],
  });
  session = await logIn(app.base);
});
afterAll(() => Promise.all([app.close(), open.close()]));
const keep = closeAfterEach();

const code = (text: string): string | undefined => /"code":"([A-Z_]+)"/.exec(text)?.[1];
const headersOf = (site: string | null, origin: string | null): Record<string, string> => ({
  ...(site !== null && { 'Sec-Fetch-Site': site }),
  ...(origin !== null && { Origin: origin }),
});

describe('a cross-site request of a browser', () => {
  const unsafe = origins.filter(([method]) => method === 'POST');

  it.each(origins)(
    'as %s with Sec-Fetch-Site %j and Origin %j at %j gets the verdict %s (%s)',
    async (method, site, origin, host, verdict) => {
      const targets =
        method === 'DELETE'
          ? ['/tasks/auth/sessions/none']
          : [`/tasks/${app.taskId}/retry`, '/tasks/auth/logout'];
      for (const target of targets) {
        const answer = await sendRaw(
          app.url,
          requestText(
            method,
            target,
            { ...headersOf(site, origin), Cookie: 'taskflow_token=x', Authorization: 'Basic x' },
            host,
          ),
        );
        // The request is anonymous, so only the public route shows the result of the check. The
        // other routes answer 401 first.
        if (target.endsWith('logout') && method === 'POST')
          expect([target, code(answer.text) === 'CROSS_ORIGIN']).toEqual([
            target,
            verdict === 'refuse',
          ]);
        expect(answer.headers.has('access-control-allow-origin')).toBe(false);
        expect(answer.status).toBeLessThan(500);
      }
    },
  );

  it('is rejected on every route that changes something, with and without a session', async () => {
    for (const [, site, origin, host, verdict, why] of unsafe) {
      if (host === '') continue;
      const sent = headersOf(site, origin);
      for (const [base, target, cookie] of [
        [app, `/tasks/${app.taskId}/cancel`, session.cookie],
        [app, '/tasks/auth/login', ''],
        [open, `/tasks/${open.taskId}/cancel`, ''],
      ] as const) {
        const answer = await sendRaw(
          base.url,
          requestText('POST', target, { ...sent, ...(cookie && { Cookie: cookie }) }, host),
        );
        const known = /^(app\.example|intranet(:\d+)?|10\.0\.0\.7:3000)$/.test(host);
        if (base === open && !known) continue;
        expect([why, target, code(answer.text) === 'CROSS_ORIGIN']).toEqual([
          why,
          target,
          verdict === 'refuse',
        ]);
      }
    }
  });

  it('is accepted with a Bearer token, which no other site can send', async () => {
    const { json } = await postJson(`${app.base}/auth/login`, { username: 'admin', password });
    const headers = {
      Authorization: `Bearer ${(json as { token: string }).token}`,
      'Sec-Fetch-Site': 'cross-site',
      Origin: 'https://evil.example',
    };
    expect((await ask(`${app.base}/${app.taskId}/retry`, { method: 'POST', headers })).status).toBe(
      202,
    );
    const cookie = { ...session, 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' };
    expect(
      (await ask(`${app.base}/${app.taskId}/retry`, { method: 'POST', headers: cookie })).json,
    ).toMatchObject({
      code: 'CROSS_ORIGIN',
    });
  });

  it('is accepted from a trusted origin only if the origin matches exactly', async () => {
    const from = (origin: string) =>
      ask(`${app.base}/auth/sessions/none`, {
        method: 'DELETE',
        headers: { ...session, 'Sec-Fetch-Site': 'same-site', Origin: origin },
      });
    expect((await from('https://trusted.example')).status).toBe(404);
    const headers = {
      ...(await logIn(app.base)),
      'Sec-Fetch-Site': 'cross-site',
      Origin: 'https://trusted.example',
    };
    expect((await ask(`${app.base}/auth/logout`, { headers })).status).toBe(403);
    expect((await ask(`${app.base}/auth/logout`, { method: 'POST', headers })).status).toBe(303);
    for (const origin of [
      'http://trusted.example',
      'https://trusted.example:443',
      'https://TRUSTED.example',
      'https://trusted.example/',
    ])
      expect((await from(origin)).status).toBe(403);
  });

  it.each([
    [['https://Trusted.example'], /https:\/\/trusted\.example/],
    [['https://trusted.example:443'], /https:\/\/trusted\.example/],
    [['http://trusted.example:80'], /http:\/\/trusted\.example/],
    [['https://trusted.example/'], /https:\/\/trusted\.example/],
    [['https://trusted.example', 'https://bücher.example'], /https:\/\/xn--bcher-kva\.example/],
    [['https://user@trusted.example'], /trustedOrigins/],
    [['https://*.trusted.example?x'], /trustedOrigins/],
    [['trusted.example'], /trustedOrigins/],
    [['null'], /trustedOrigins/],
  ])(
    'cannot be trusted by an invalid origin, which createAuth rejects: %j',
    (trustedOrigins, message) => {
      expect(() =>
        createAuth({ strategies: ['admin', 'x'], trustedOrigins, logger: false }),
      ).toThrow(message);
    },
  );

  it.each([
    [
      'a script of a sibling host',
      { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' },
      403,
    ],
    [
      'a picture of another site',
      { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' },
      403,
    ],
    [
      'a frame of another site',
      { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe' },
      403,
    ],
    [
      'a link that a user follows',
      {
        'Sec-Fetch-Site': 'cross-site',
        'Sec-Fetch-Mode': 'navigate',
        'Sec-Fetch-Dest': 'document',
      },
      200,
    ],
    [
      'a script of this site',
      { 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' },
      200,
    ],
    [
      'an address typed in',
      { 'Sec-Fetch-Site': 'none', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' },
      200,
    ],
    ['an unknown word', { 'Sec-Fetch-Site': 'bogus' }, 403],
  ])('reads no protected data: %s', async (_case, headers, status) => {
    for (const path of [
      '',
      '/metrics',
      `/${app.taskId}`,
      '/audit',
      '/export?format=csv',
      '/auth/sessions',
    ]) {
      // Without fetch, which sets its own Sec-Fetch-Mode.
      const answer = await sendRaw(
        app.url,
        requestText('GET', `/tasks${path}`, { Cookie: session.cookie, ...headers }),
      );
      expect([path, answer.status]).toEqual([path, status]);
      if (status === 403) expect(code(answer.text)).toBe('CROSS_ORIGIN');
    }
    if (status === 403) {
      const stream = await sendRaw(
        app.url,
        requestText('GET', '/tasks/dashboard/stream', { Cookie: session.cookie, ...headers }),
      );
      expect(stream.status).toBe(403);
      expect((await sendRaw(app.url, requestText('GET', '/tasks', headers))).status).toBe(401);
    }
  });

  it('gets no CORS header, and a preflight answers 405', async () => {
    const preflight = {
      Origin: 'https://evil.example',
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization',
    };
    for (const path of ['', '/metrics', `/${app.taskId}/retry`, '/auth/login', '/health']) {
      const answer = await ask(app.base + path, { method: 'OPTIONS', headers: preflight });
      expect([path, answer.status]).toEqual([path, 405]);
      expect(
        [...answer.headers.keys()].filter((name) => name.startsWith('access-control')),
      ).toEqual([]);
    }
  });

  it('is logged with its origin, and a rejected change is added to the audit', async () => {
    const headers = {
      ...session,
      'Sec-Fetch-Site': 'cross-site',
      Origin: `https://${'e'.repeat(300)}.example`,
    };
    await ask(`${app.base}/${app.taskId}/cancel`, { method: 'POST', headers });
    const line = app.log.events('cross_origin_refused').at(-1);
    expect(line).toMatchObject({
      level: 40,
      owasp: 'malicious_cors',
      secFetchSite: 'cross-site',
      path: `/tasks/${app.taskId}/cancel`,
    });
    expect(String(line?.origin)).toHaveLength(128);
    const { json } = await ask(`${app.base}/audit?action=cancel&outcome=refused`, {
      headers: session,
    });
    expect((json as { items: unknown[] }).items[0]).toMatchObject({
      actor: 'admin',
      detail: { code: 'CROSS_ORIGIN' },
    });
  });
});

describe('a login of the app behind a proxy that adds a Bearer header', () => {
  const bearer = {
    Authorization: 'Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln',
    'X-Forwarded-User': 'ann',
  };
  const foreign = { ...bearer, 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' };
  const who =
    (ambient?: boolean) =>
    (ctx: Context): Actor | undefined =>
      ctx.get('X-Forwarded-User')
        ? { name: 'ann', roles: ['admin'], ...(ambient !== undefined && { ambient }) }
        : undefined;
  const statusesOf = async (options: TaskAdminOptions): Promise<number[]> => {
    const own = keep(await serveAdmin(options));
    const post = `${own.base}/${own.taskId}/retry`;
    const statuses = [
      (await ask(post, { method: 'POST', headers: foreign })).status,
      (await ask(post, { method: 'POST', headers: { ...foreign, 'Content-Type': 'text/plain' } }))
        .status,
      (await ask(`${own.base}/dashboard/stream`, { headers: foreign })).status,
      (await ask(own.base, { headers: foreign })).status,
      (await ask(post, { method: 'POST', headers: bearer })).status,
    ];
    return statuses;
  };

  it.each<[string, TaskAdminOptions]>([
    ['who()', { auth: { who: who() } }],
    ['who() with ambient: true', { auth: { who: who(true) } }],
    ['no login', { auth: null }],
  ])('rejects cross-site requests: %s', async (_case, options) => {
    expect(await statusesOf(options)).toEqual([403, 403, 403, 403, 202]);
  });

  it('accepts cross-site requests if who() returns ambient: false', async () => {
    const own = keep(await serveAdmin({ auth: { who: who(false) } }));
    const post = await ask(`${own.base}/${own.taskId}/retry`, { method: 'POST', headers: foreign });
    const read = await ask(own.base, { headers: foreign });
    expect([post.status, read.status]).toEqual([202, 200]);
  });
});

describe('a Host header of a dashboard without a login', () => {
  const at = async (...hosts: string[]): Promise<number> => {
    const lines = hosts.map((host) => `Host: ${host}\r\n`).join('');
    return (await sendRaw(open.url, `GET /tasks HTTP/1.1\r\n${lines}Connection: close\r\n\r\n`))
      .status;
  };

  it.each([
    'localhost',
    'localhost:3000',
    'LOCALHOST',
    'a.localhost',
    '127.0.0.1:3000',
    '[::1]:3000',
    '10.0.0.7',
    'tasks.internal',
    'tasks.internal:8080',
    'Tasks.Internal',
  ])('is accepted: %s', async (host) => {
    expect(await at(host)).toBe(200);
  });

  it.each([
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evillocalhost',
    'tasks.internal.evil.example',
    'tasks.internal.',
    'tasks..internal',
    'localhost.',
    'xtasks.internal',
    '2130706433',
    '0x7f.1',
    'evil.example:x@tasks.internal',
    'tasks.internal, evil.example',
    'tasks.internal:99999999',
  ])('answers 421 on every path under P: %s', async (host) => {
    for (const path of [
      '/tasks',
      '/tasks/dashboard',
      '/tasks/health',
      '/tasks/nothing',
      '/tasks/dashboard/assets/x.js',
    ])
      expect([path, (await sendRaw(open.url, requestText('GET', path, {}, host))).status]).toEqual([
        path,
        421,
      ]);
  });

  it('answers 400 if it is empty or sent twice', async () => {
    expect([
      await at(''),
      await at('localhost', 'evil.example'),
      await at('localhost', 'localhost'),
    ]).toEqual([400, 400, 400]);
  });

  it('is :authority over HTTP/2, and a different Host header answers 400', async () => {
    const { connect, createServer } = await import('node:http2');
    const { default: Koa } = await import('koa');
    const { taskAdmin } = await import('../../src/admin.js');
    const outer = new Koa();
    outer.use(taskAdmin(open.tasks, { logger: false }));
    const server = createServer(outer.callback());
    keep({ close: () => new Promise((resolve) => server.close(resolve)) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const client = connect(
      `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    );
    keep({ close: async () => client.destroy() });
    const statusOf = (headers: Record<string, string>): Promise<unknown> =>
      new Promise((resolve) => {
        const stream = client.request({ ':path': '/tasks', ...headers });
        stream.on('response', ({ ':status': status }) => resolve(status));
        stream.resume();
      });
    const answers = [
      await statusOf({ ':authority': 'localhost' }),
      await statusOf({ ':authority': 'evil.example' }),
      await statusOf({ ':authority': 'localhost', host: 'evil.example' }),
      await statusOf({ ':authority': 'localhost', host: 'localhost' }),
    ];
    expect(answers).toEqual([200, 421, 400, 200]);
  });

  it('is not replaced by X-Forwarded-Host without app.proxy, and is logged', async () => {
    const answer = await sendRaw(
      open.url,
      requestText('GET', '/tasks', { 'X-Forwarded-Host': 'tasks.internal' }, 'evil.example'),
    );
    expect([answer.status, code(answer.text)]).toEqual([421, 'HOST_NOT_ALLOWED']);
    expect(answer.body).toContain('allowedHosts');
    expect(open.log.events('host_refused').at(-1)).toMatchObject({
      level: 40,
      host: 'evil.example',
    });
  });
});
