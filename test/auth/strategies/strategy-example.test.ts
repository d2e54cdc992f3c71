import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { freePort } from '../../helpers/free-port.js';
import { client, PlainBrowser, TestProvider } from '../../helpers/oidc-provider.js';
import { type Child, startProcess } from '../../helpers/process.js';
import { waitFor } from '../../helpers/wait.js';

/**
 * The answers of the example of docs/write-a-strategy.md, each with its processor time in
 * milliseconds.
 */
interface Seen {
  users: string;
  answers: Record<
    'right' | 'otherCase' | 'wrong' | 'unknown',
    [verdict: unknown, milliseconds: number]
  >;
  known: [version: string, roles: string[]];
  unknown: unknown;
}

const page = readFileSync(new URL('../../../docs/write-a-strategy.md', import.meta.url), 'utf8');
const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
const [, contract = ''] = /```ts\n([\s\S]*?)```/.exec(page) ?? [];
const env = {
  ADMIN_PASSWORD: 'a',
  TASKFLOW_SECRET_KEY: 'abcdefghijklmnopqrstuvwxyz0123456789',
};

describe('the example strategy', () => {
  let seen: Seen;

  beforeAll(async () => {
    const program = `${code}
      const context = { signal: new AbortController().signal, ip: '', requestId: '' };
      const timed = async (name, password) => {
        const times = [];
        let verdict;
        for (let n = 0; n < 3; n++) {
          const before = process.cpuUsage();
          verdict = await database.authenticate_user(name, password, context);
          const { user, system } = process.cpuUsage(before);
          times.push((user + system) / 1000);
        }
        return [verdict, Math.min(...times)];
      };
      const answers = {
        right: await timed('alice', 'secret'),
        otherCase: await timed('ALICE', 'secret'),
        wrong: await timed('alice', 'wrong'),
        unknown: await timed('nobody', 'secret'),
      };
      const { version, roles } = await database.find_user('Alice', context);
      const missing = await database.find_user('nobody', context) ?? null;
      const rows = [...users].map(([name, row]) => [name, Object.values(row).map(String)]);
      const text = JSON.stringify(rows);
      const seen = { users: text, answers, known: [version, roles], unknown: missing };
      console.log('SEEN' + JSON.stringify(seen));
      process.exit(0);`;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program], env);
    const line = await waitFor(() => child.lines.find((each) => each.startsWith('SEEN')));
    seen = JSON.parse(line.slice('SEEN'.length)) as Seen;
  });

  it('keeps no password, and returns one canonical name for each user', () => {
    const alice = { ok: true, username: 'alice', roles: ['operator'] };
    expect([
      seen.answers.right[0],
      seen.answers.otherCase[0],
      seen.answers.wrong[0],
      seen.answers.unknown[0],
    ]).toEqual([alice, alice, false, false]);
    expect(seen.users).not.toContain('secret');
    expect(seen.known).toEqual([expect.stringMatching(/^[\w-]{43}$/), ['operator']]);
    expect(seen.unknown).toBeNull();
  });

  it('does as much work for an unknown name as for a known one', () => {
    expect(seen.answers.unknown[1]).toBeGreaterThan(seen.answers.wrong[1] / 2);
    expect(seen.answers.wrong[1]).toBeGreaterThan(20);
  });

  it('passes the contract of strategies, as the page tests it', async () => {
    const cheap = code.replace('{ N: 2 ** 15, r: 8, p: 3,', '{ N: 2 ** 4, r: 1, p: 1,');
    expect(cheap).not.toBe(code);
    const program = cheap + contract;
    const args = ['--test-reporter=tap', '--input-type=module', '-e', program];
    const child = startProcess(process.execPath, args, env);
    expect(await child.ended).toBe(0);
    expect(child.lines).toContain('# fail 0');
    expect(child.lines.join()).toContain('never mixes up the results of 200 attempts at once');
  });
});

describe('the example with a provider', () => {
  let provider: TestProvider;
  let child: Child;
  let base: string;

  beforeAll(async () => {
    const port = await freePort();
    base = `http://127.0.0.1:${port}/tasks/auth`;
    // As GitHub, this provider takes the secret in the body and names users by a number.
    provider = await TestProvider.start({
      redirectUri: `${base}/callback/github`,
      clientMetadata: { token_endpoint_auth_method: 'client_secret_post' },
      configuration: { claims: { openid: ['sub', 'id', 'login'] } },
    });
    provider.accounts.set('octocat', { id: 583_231, login: 'octocat' });
    provider.accounts.set('impostor', { id: 583_232, login: 'octocat' });
    const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, block = '']) => block);
    const example = blocks.find((block) => block.includes('function github(')) ?? '';
    const program = `${example
      .replace('https://github.com/login/oauth/authorize', `${provider.issuer}/auth`)
      .replace('https://github.com/login/oauth/access_token', `${provider.issuer}/token`)
      .replace('https://api.github.com/user', `${provider.issuer}/me`)
      .replace("'read:user'", "'openid'")
      .replace("clientId: 'tasks'", `clientId: '${client.id}'`)}
      const { default: Koa } = await import('koa');
      const { loginRoutes, sessionToken } = await import('koa-taskflow/auth');
      const app = new Koa();
      app.use(sessionToken(githubAuth)).use(loginRoutes(githubAuth));
      app.listen(${port}, '127.0.0.1', () => console.log('LISTENING'));`;
    child = startProcess(process.execPath, ['--input-type=module', '-e', program], {
      ...env,
      GITHUB_CLIENT_SECRET: client.secret,
    });
    await waitFor(() => child.lines.includes('LISTENING'));
  });
  afterAll(async () => {
    child.process.kill('SIGKILL');
    await child.ended;
    await provider.close();
  });

  /** Signs in at the provider. Resolves to the browser and the URL of the callback. */
  async function comeBack(login: string): Promise<{ browser: PlainBrowser; callback: URL }> {
    const browser = new PlainBrowser();
    const begun = await browser.fetch(`${base}/start/github`);
    const url = String(begun.headers.get('location'));
    return { browser, callback: await browser.signIn(url, { login, stop: `${base}/callback` }) };
  }

  it('signs a user in with the name and the roles of the table', async () => {
    const { browser, callback } = await comeBack('octocat');
    expect((await browser.fetch(callback)).status).toBe(303);
    const session = await browser.fetch(`${base}/session`);
    expect(await session.json()).toMatchObject({
      username: 'octocat',
      strategy: 'github',
      roles: ['operator'],
    });
  });

  it('refuses another account that has taken the login of a user', async () => {
    const { browser, callback } = await comeBack('impostor');
    const answer = await browser.fetch(callback);
    expect([answer.status, await answer.text()]).toEqual([
      403,
      expect.stringContaining('this account does not have access here'),
    ]);
    expect((await browser.fetch(`${base}/session`)).status).toBe(401);
    await waitFor(() => child.lines.some((line) => line.includes('"reason":"no_role"')));
  });

  it('refuses a code of another browser, and a callback without a code', async () => {
    const [stolen, own] = [await comeBack('octocat'), await comeBack('octocat')];
    own.callback.searchParams.set('code', stolen.callback.searchParams.get('code') ?? '');
    expect((await own.browser.fetch(own.callback)).status).toBe(401);
    const denied = await comeBack('nobody');
    expect(denied.callback.searchParams.get('error')).toBe('access_denied');
    expect((await denied.browser.fetch(denied.callback)).status).toBe(401);
  });

  it('says that the provider does not answer, and shows no secret in the log', async () => {
    const { browser, callback } = await comeBack('octocat');
    await provider.close();
    expect((await browser.fetch(callback)).status).toBe(503);
    await waitFor(() => child.lines.some((line) => line.includes('authn_strategy_error')));
    const { code = '', state = '' } = Object.fromEntries(callback.searchParams);
    for (const secret of [client.secret, code, state])
      expect(child.lines.join('\n')).not.toContain(secret);
    await provider.resume();
  });
});
