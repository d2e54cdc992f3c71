import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ask, postForm, postJson } from '../helpers/client.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash } from '../helpers/passwords.js';
import { requestText, sendRaw } from '../helpers/raw.js';
import { credentials, textOf } from './corpus.js';

let app: LoginApp;
let plain: LoginApp;
beforeAll(async () => {
  app = await serveLogin({ strategies: [['alice', cheapHash('secret')]], throttle: false });
  plain = await serveLogin({ strategies: ['alice', 'caf\u00e9 \uff53ecret'], throttle: false });
});
afterAll(() => Promise.all([app.close(), plain.close()]));

/** Returns the parsed log lines that an attempt wrote. Each event must be a single line. */
const linesOf = async (attempt: () => Promise<unknown>): Promise<Record<string, unknown>[]> => {
  const before = app.log.lines.length;
  await attempt();
  return app.log.lines.slice(before);
};

describe('hostile credentials', () => {
  it.each(credentials.usernames.map((name) => [JSON.stringify(name), textOf(name)] as const))(
    'sign no user in and add exactly one log line for the username %s',
    async (_shown, username) => {
      for (const send of [postJson, postForm]) {
        let status = 0;
        const lines = await linesOf(async () => {
          ({ status } = await send(app.login, { username, password: 'wrong' }));
        });
        expect([400, 401]).toContain(status);
        expect(lines.map(({ event }) => event)).toEqual(['authn_login_fail']);
      }
      if (username !== '' && !username.includes('alice') && username.length > 8)
        expect(app.log.text()).not.toContain(JSON.stringify(username).slice(1, -1));
    },
  );

  it.each(credentials.passwords.map((text) => [JSON.stringify(text), textOf(text)] as const))(
    'sign in only with the exact password: %s',
    async (_shown, password) => {
      for (const send of [postJson, postForm]) {
        const { status } = await send(app.login, { username: 'alice', password });
        const right = password === 'secret' ? [200, 303] : [400, 401];
        expect(right).toContain(status);
      }
    },
  );

  it.each(credentials.bodies)('sign in alice or no user: the body %j', async (body) => {
    let answer: { status: number; json: unknown } | undefined;
    const lines = await linesOf(async () => {
      answer = await ask(app.login, {
        method: 'POST',
        body: Buffer.from(body),
        headers: { 'Content-Type': 'application/json' },
      });
    });
    const { status = 0, json } = answer ?? {};
    expect([200, 400, 401]).toContain(status);
    if (status === 200) {
      const [, payload = ''] = (json as { token: string }).token.split('.');
      expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
        sub: 'alice',
        roles: ['admin'],
        strategy: 'default',
      });
    }
    expect(lines).toHaveLength(1);
    expect((Object.prototype as { roles?: unknown; x?: unknown }).roles).toBeUndefined();
  });

  it.each([
    ['username=alice&username=bob&password=secret', 400],
    ['username[]=alice&password=secret', 400],
    ['username[$ne]=x&password[$ne]=x', 400],
    ['username[toString]=x&password=secret', 400],
    ['username=alice&password=%zz', 401],
    ['username=alice&password=+', 401],
    [`${'a=1&'.repeat(3000)}username=alice&password=secret`, 400],
    ['username=alice&password=%ff', 401],
    ['', 400],
    ['username=alice&password=secret', 303],
  ])('in a form are parsed once and as text: %.60s', async (body, status) => {
    const answer = await ask(app.login, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    });
    expect(answer.status).toBe(status);
  });

  it.each([
    'text/plain',
    'application/json;charset=utf-16',
    'application/jsonx',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded; charset=latin1',
    'application/xml',
  ])('are rejected in a body of type %s', async (type) => {
    const answer = await ask(app.login, {
      method: 'POST',
      body: '{"username":"alice","password":"secret"}',
      headers: { 'Content-Type': type },
    });
    expect(answer.status).toBe(415);
  });

  it('match a plain password in any composition of its accents and widths', async () => {
    for (const password of ['caf\u00e9 \uff53ecret', 'cafe\u0301 secret', 'caf\u00e9 secret'])
      expect((await postJson(plain.login, { username: 'alice', password })).status).toBe(200);
    for (const password of ['cafe secret', 'Caf\u00e9 secret', 'caf\u00e9 secret '])
      expect((await postJson(plain.login, { username: 'alice', password })).status).toBe(401);
  });

  it('add no second line or control character to the log, whatever the headers hold', async () => {
    const lines = await linesOf(() =>
      sendRaw(
        app.url,
        Buffer.from(
          `${requestText('POST', '/tasks/auth/login?x=%0d%0a', {
            'User-Agent': `${'A'.repeat(100)}\u2028\u202e${'A'.repeat(4000)}`,
            'X-Request-Id': '"}{"level":60}',
            'Content-Type': 'application/json',
            'Content-Length': '2',
          })}{}`,
        ),
      ),
    );
    expect(lines).toHaveLength(1);
    expect(String(lines[0]?.userAgent).length).toBeLessThanOrEqual(256);
    expect(lines[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/);
    // Node itself answers 400 to a header with a control character.
    const [status] = await Promise.all([
      sendRaw(app.url, requestText('GET', '/', { 'User-Agent': '\u001b[2K' })),
    ]);
    expect([status?.status, app.log.text().includes('\u001b')]).toEqual([400, false]);
  });
});
