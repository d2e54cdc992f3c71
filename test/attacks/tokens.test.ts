import { createHash, createHmac } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn, postJson } from '../helpers/client.js';
import { closeAfterEach } from '../helpers/closing.js';
import { password, secretKey } from '../helpers/passwords.js';
import { requestText, sendRaw } from '../helpers/raw.js';

let app: AdminApp;
let good: string;
beforeAll(async () => {
  app = await serveAdmin({ throttle: false });
  good = (await logIn(app.base)).cookie.slice('taskflow_token='.length);
});
afterAll(() => app.close());
const keep = closeAfterEach();

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const mac = (text: string, key: string | Buffer = secretKey): string =>
  createHmac('sha256', key).update(text).digest('base64url');
const kid = createHash('sha256').update('kid').update(secretKey).digest('base64url').slice(0, 8);
const trueHeader = { alg: 'HS256', typ: 'JWT', kid };

/** Returns all mutations of a valid token, each with a description. */
function mutations(): [string, string][] {
  const [h = '', p = '', s = ''] = good.split('.');
  const claims = JSON.parse(Buffer.from(p, 'base64url').toString()) as Record<string, unknown>;
  const text = JSON.stringify(claims);
  const now = Date.now() / 1000;
  const withHeader = (header: unknown): string =>
    `${encode(header)}.${p}.${mac(`${encode(header)}.${p}`)}`;
  const withPayload = (payload: unknown): string =>
    `${h}.${encode(payload)}.${mac(`${h}.${encode(payload)}`)}`;
  const withBytes = (payload: Buffer): string => {
    const signed = `${h}.${payload.toString('base64url')}`;
    return `${signed}.${mac(signed)}`;
  };
  const withClaims = (change: Record<string, unknown>): string =>
    withPayload({ ...claims, ...change });
  const list: [string, string][] = [
    ...[
      '.',
      '..',
      `${h}.${p}`,
      `${h}.${p}.`,
      `.${p}.${s}`,
      `${h}..${s}`,
      `${good}.`,
      `${good}.x`,
      `${good}=`,
      `"${good}"`,
      `${s}.${p}.${h}`,
    ].map((token): [string, string] => ['shape', token]),
    ['shape: two tokens', `${good},${good}`],
    ['shape: five parts', `${h}.${p}.${s}.${s}.${s}`],
    ['shape: dots percent-encoded', good.replaceAll('.', '%2E')],
    ['shape: the JSON form', JSON.stringify({ protected: h, payload: p, signature: s })],
    ['shape: 4097 bytes', `${h}.${p}${'A'.repeat(4097 - good.length)}.${s}`],
    ['shape: 12 KiB', `${h}.${'A'.repeat(12_000)}.${s}`],
  ];
  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    null,
    0,
    ['HS256'],
    'HS384',
    'HS512',
    'RS256',
    'ES256',
    'EdDSA',
    'hs256',
    'HS256 ',
    undefined,
  ])
    list.push(
      [`header: alg ${JSON.stringify(alg)}`, withHeader({ ...trueHeader, alg })],
      [
        `header: alg ${JSON.stringify(alg)}, no signature`,
        `${encode({ ...trueHeader, alg })}.${p}.`,
      ],
    );
  for (const other of [
    undefined,
    'unknown',
    '../../dev/null',
    "' OR 1=1--",
    'k'.repeat(2000),
    '__proto__',
    '',
    null,
    0,
  ])
    list.push([
      `header: kid ${String(other).slice(0, 20)}`,
      withHeader({ ...trueHeader, kid: other }),
    ]);
  for (const more of [
    { jwk: {} },
    { jku: 'https://evil.example' },
    { x5u: 'https://evil.example' },
    { x5c: ['x'] },
    { crit: ['exp'] },
    { b64: false },
    { zip: 'DEF' },
  ])
    list.push([`header: ${Object.keys(more)[0]}`, withHeader({ ...trueHeader, ...more })]);
  list.push(
    ['header: two alg', withHeader(`{"alg":"none","alg":"HS256","typ":"JWT","kid":"${kid}"}`)],
    [
      'header: two alg, the other way',
      withHeader(`{"alg":"HS256","alg":"none","typ":"JWT","kid":"${kid}"}`),
    ],
    ['header: no typ', withHeader({ alg: 'HS256', kid })],
    ['header: at+jwt', withHeader({ ...trueHeader, typ: 'at+jwt' })],
    ['header: a blank', withHeader(` ${JSON.stringify(trueHeader)}`)],
    ['header: another order', withHeader({ typ: 'JWT', alg: 'HS256', kid })],
    ['header: null', withHeader('null')],
  );
  for (const exp of [undefined, null, '1e10', -1, 0, now, [now + 60], now + 10 * 365 * 86_400])
    list.push([`payload: exp ${String(exp)}`, withClaims({ exp })]);
  list.push(['payload: exp 1e999', withPayload(text.replace(/"exp":[\d.]+/, '"exp":1e999'))]);
  for (const iat of [now + 3600, '1', null, -1])
    list.push([`payload: iat ${String(iat)}`, withClaims({ iat })]);
  for (const time of [now + 3600, undefined])
    list.push([`payload: auth_time ${String(time)}`, withClaims({ auth_time: time })]);
  list.push(['payload: nbf', withClaims({ nbf: now + 3600 })]);
  for (const aud of [undefined, '/admin', ['/tasks'], '/tasks/', '/Tasks', ''])
    list.push([`payload: aud ${JSON.stringify(aud)}`, withClaims({ aud })]);
  for (const sub of [undefined, '', 'a'.repeat(300), 7, ['admin'], 'admin\0', 'admin\r\n'])
    list.push([`payload: sub ${JSON.stringify(sub)?.slice(0, 20)}`, withClaims({ sub })]);
  // A token of a user who has changed ends its session, so such tokens have a session of their own.
  const jti = [...String(claims.jti)].reverse().join('');
  for (const sub of ['vera', 'root'])
    list.push([`payload: another user's name, ${sub}`, withClaims({ sub, jti })]);
  for (const id of [undefined, 7, '', 'short', 'x'.repeat(100)])
    list.push([`payload: jti ${String(id).slice(0, 10)}`, withClaims({ jti: id })]);
  for (const roles of ['admin', {}, [1], Array(33).fill('x'), undefined, null])
    list.push([`payload: roles ${JSON.stringify(roles)?.slice(0, 20)}`, withClaims({ roles })]);
  for (const strategy of [undefined, 7, 'other', '__proto__'])
    list.push([`payload: strategy ${String(strategy)}`, withClaims({ strategy, jti })]);
  for (const sv of [undefined, 7, '', 'AAAAAAAA'])
    list.push([`payload: sv ${String(sv)}`, withClaims({ sv, jti })]);
  list.push(
    ['payload: an unknown claim', withClaims({ admin: true })],
    ['payload: __proto__', withPayload(text.replace('{', '{"__proto__":{"admin":true},'))],
    [
      'payload: sub twice',
      withPayload(text.replace('"sub":"admin"', '"sub":"admin","sub":"admin"')),
    ],
    ['payload: a BOM', withPayload(`\ufeff${text}`)],
    ['payload: white space', withPayload(`${text}\n`)],
    [
      'payload: another order',
      withPayload(
        JSON.stringify(Object.fromEntries(Object.entries(claims).reverse())).replace('{', '{ '),
      ),
    ],
    ['payload: UTF-8 cut in the middle', withBytes(Buffer.from([0x7b, 0xc3]))],
    ['payload: not JSON', withPayload('{')],
    ['payload: a list', withPayload([])],
    ['payload: null', withPayload('null')],
    ['payload: nested', withPayload('['.repeat(1400) + ']'.repeat(1400))],
    ['payload: compressed', withBytes(deflateRawSync(text))],
  );
  const bytes = Buffer.from(s, 'base64url');
  for (let bit = 0; bit < 256; bit += 5) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    list.push([`signature: bit ${bit}`, `${h}.${p}.${flipped.toString('base64url')}`]);
  }
  for (const [name, other] of [
    ['zero', Buffer.alloc(32).toString('base64url')],
    ['of another key', mac(`${h}.${p}`, 'another-secret-key-of-the-tests-0123456789')],
    ['of the decoded key', mac(`${h}.${p}`, Buffer.from(secretKey, 'base64'))],
    ['of the other case', mac(`${h}.${p}`.toLowerCase())],
    ['of the decoded text', mac(text)],
    [
      'of SHA-512, cut',
      createHmac('sha512', secretKey)
        .update(`${h}.${p}`)
        .digest()
        .subarray(0, 32)
        .toString('base64url'),
    ],
    ['cut to 42', s.slice(0, 42)],
    ['cut to 22', s.slice(0, 22)],
    ['cut to 1', s.slice(0, 1)],
    ['of 44', `${s}A`],
    ['in the other alphabet', '+/'.repeat(21) + s.slice(-1)],
  ] as const)
    list.push([`signature: ${name}`, `${h}.${p}.${other}`]);
  return list;
}

describe('a token', () => {
  it('is valid before it is changed', async () => {
    expect((await ask(app.base, { headers: { Cookie: `taskflow_token=${good}` } })).status).toBe(
      200,
    );
    expect((await ask(app.base, { headers: { Authorization: `Bearer ${good}` } })).status).toBe(
      200,
    );
  });

  it('is rejected after any change, as a cookie and as a Bearer token', async () => {
    const list = mutations();
    expect(list.length).toBeGreaterThan(180);
    const wrong: unknown[] = [];
    for (const [what, token] of list) {
      for (const headers of [
        { Cookie: `taskflow_token=${token}` },
        { Authorization: `Bearer ${token}` },
      ] as Record<string, string>[]) {
        const { status, headers: answered } = await sendRaw(
          app.url,
          requestText('GET', '/tasks', headers),
        );
        if (status !== 401 || answered.has('set-cookie'))
          wrong.push([what, Object.keys(headers)[0], status]);
      }
    }
    expect(wrong).toEqual([]);
    // Otherwise, the tokens would have been rejected because their session had ended.
    const headers = { Authorization: `Bearer ${good}` };
    expect((await ask(app.base, { headers })).status).toBe(200);
  });

  it('is rejected with other text around it', async () => {
    for (const value of [
      `Bearer ${good} ${good}`,
      `Bearer${good}`,
      `Bearer, ${good}`,
      `Basic ${good}`,
      `${good}`,
      `Bearer ${good};`,
      `Bearer "${good}"`,
    ])
      expect([
        value.slice(0, 12),
        (await sendRaw(app.url, requestText('GET', '/tasks', { Authorization: value }))).status,
      ]).toEqual([value.slice(0, 12), 401]);
    for (const value of [`Bearer ${good}`, `"${good}"`, ` x${good}`])
      expect(
        (
          await sendRaw(
            app.url,
            requestText('GET', '/tasks', { Cookie: `taskflow_token=${value}` }),
          )
        ).status,
      ).toBe(401);
  });

  it('is accepted only in the cookie and in the Authorization header', async () => {
    for (const name of ['access_token', 'token', 'taskflow_token', 'jwt']) {
      expect((await ask(`${app.base}?${name}=${good}`)).status).toBe(401);
      expect(
        (await postJson(`${app.base}/auth/logout?${name}=${good}`, { [name]: good })).status,
      ).not.toBe(200);
    }
    for (const name of [
      'X-Auth-Token',
      'X-Access-Token',
      'Proxy-Authorization',
      'X-Forwarded-User',
      'Token',
    ])
      expect((await ask(app.base, { headers: { [name]: `Bearer ${good}` } })).status).toBe(401);
    expect(
      (await ask(app.base, { headers: { Cookie: `__Host-taskflow_token=${good}` } })).status,
    ).toBe(401);
    expect(
      (await ask(app.base, { headers: { Cookie: `taskflow_token_device=${good}` } })).status,
    ).toBe(401);
  });

  it('decides alone as a Bearer token beside a valid cookie', async () => {
    const cookie = { Cookie: `taskflow_token=${good}` };
    const [header = ''] = good.split('.');
    for (const bad of [
      `Bearer ${header}.e30.x`,
      `bearer  ${header}`,
      `Bearer ${good}x`,
      `Bearer ${good}, ${good}`,
      'Bearer',
      'BEARER ',
    ])
      expect([
        bad,
        (await ask(app.base, { headers: { ...cookie, Authorization: bad } })).status,
      ]).toEqual([bad, 401]);
    expect(
      (await ask(app.base, { headers: { ...cookie, Authorization: 'Basic eDp5' } })).status,
    ).toBe(200);
    const forged = { ...cookie, Authorization: 'Basic eDp5', 'Sec-Fetch-Site': 'cross-site' };
    expect(
      (await ask(`${app.base}/${app.taskId}/retry`, { method: 'POST', headers: forged })).status,
    ).toBe(403);
  });

  it.each([
    ['the id token of a proxy', 'Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln'],
    ['an opaque token of another API', 'bearer 0123456789abcdef'],
    [
      'a token of another key',
      'Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkFBQUFBQUFBIn0.e30.c2ln',
    ],
    ['text that is no token68', 'Bearer a b'],
  ])(
    'of another issuer neither hides the cookie nor bypasses the origin check: %s',
    async (_case, foreign) => {
      const headers = { Cookie: `taskflow_token=${good}`, Authorization: foreign };
      expect((await ask(app.base, { headers })).status).toBe(200);
      const crossSite = {
        ...headers,
        'Sec-Fetch-Site': 'cross-site',
        Origin: 'https://evil.example',
      };
      for (const [method, path] of [
        ['POST', `/${app.taskId}/retry`],
        ['POST', '/auth/logout'],
        ['GET', '/dashboard/stream'],
        ['GET', ''],
      ] as const)
        expect([
          path,
          (await ask(app.base + path, { method, headers: crossSite })).json,
        ]).toMatchObject([path, { code: 'CROSS_ORIGIN' }]);
      expect((await ask(app.base, { headers: { Authorization: foreign } })).status).toBe(401);
    },
  );

  it('makes the request anonymous beside another valid token', async () => {
    const planted = (await logIn(app.base, 'vera', 'three')).cookie;
    for (const cookie of [
      `taskflow_token=${good}; ${planted}`,
      `${planted}; taskflow_token=${good}`,
    ])
      expect((await ask(app.base, { headers: { Cookie: cookie } })).status).toBe(401);
    expect(app.log.events('authn_token_conflict').length).toBe(2);
    const ended = (await logIn(app.base, 'vera', 'three')).cookie;
    await ask(`${app.base}/auth/logout`, { method: 'POST', headers: { Cookie: ended } });
    for (const cookie of [
      `${ended}; taskflow_token=${good}`,
      `taskflow_token=stale; taskflow_token=${good}`,
      `taskflow_token=${good}; taskflow_token=${good}`,
    ])
      expect((await ask(app.base, { headers: { Cookie: cookie } })).status).toBe(200);
  });

  it('of one mount is rejected by another mount with the same key', async () => {
    const other = keep(await serveAdmin({ path: '/admin' }));
    const theirs = (await logIn(other.base)).cookie.split('=')[1] ?? '';
    const statuses = await Promise.all(
      [app.base, other.base].flatMap((base) =>
        [good, theirs].map(
          async (token) =>
            (await ask(base, { headers: { Authorization: `Bearer ${token}` } })).status,
        ),
      ),
    );
    expect(statuses).toEqual([200, 401, 401, 200]);
  });

  it('opens no stream if it is forged', async () => {
    const forged = `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : 'A'}`;
    for (const headers of [
      {},
      { Cookie: `taskflow_token=${forged}` },
      { Authorization: `Bearer ${forged}` },
    ] as Record<string, string>[])
      expect((await ask(`${app.base}/dashboard/stream`, { headers })).status).toBe(401);
  });

  it('has an id that never repeats in a thousand logins within one millisecond', async () => {
    const real = Date.now;
    const at = real();
    Date.now = () => at;
    try {
      const ids = new Set<unknown>();
      for (let n = 0; n < 1000; n++) {
        const { json } = await postJson(`${app.base}/auth/login`, { username: 'admin', password });
        const [, payload = ''] = (json as { token: string }).token.split('.');
        ids.add((JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti: unknown }).jti);
      }
      expect(ids.size).toBe(1000);
      for (const id of ids) expect(id).toMatch(/^[\w-]{22}$/);
    } finally {
      Date.now = real;
    }
  });
});
