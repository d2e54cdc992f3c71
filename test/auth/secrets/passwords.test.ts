import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import { taskAdmin } from '../../../src/admin.js';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { type Secret, secretFile } from '../../../src/auth/secrets/secret.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import { TaskManager } from '../../../src/manager.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { ask, logIn, postForm } from '../../helpers/client.js';
import { quickTimers } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, secretKey } from '../../helpers/passwords.js';
import { type SecretFolder, secretFolder } from '../../helpers/secret-folder.js';
import { serve } from '../../helpers/serve.js';
import { openStream } from '../../helpers/stream.js';
import { promptly, sleep, waitFor } from '../../helpers/wait.js';

let folder: SecretFolder;
const keep = closeAfterEach();
beforeEach(() => {
  folder = secretFolder();
});
afterEach(() => {
  jest.restoreAllMocks();
  folder.remove();
});

const start = async (options: Partial<AuthOptions>): Promise<LoginApp> =>
  keep(await serveLogin({ throttle: false, ...options }));
const accepts = async ({ login }: LoginApp, password: string, username = 'admin') =>
  (await postForm(login, { username, password })).status === 303;
const nameAt = async ({ url }: LoginApp, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(url, { headers })).json as { name: unknown }).name;
const messages = ({ log }: LoginApp, message: string) =>
  log.lines.filter(({ msg }) => msg === message);

/** Each form of the option in which a password can be a file or a function. */
const forms: [string, (secret: Secret) => AuthOptions['strategies']][] = [
  ['one user', (secret) => ['admin', secret]],
  ['a list of users', (secret) => [['admin', secret]]],
  ['staticUser', (secret) => staticUser('admin', secret)],
  [
    'multiUser',
    (secret) =>
      multiUser([
        ['admin', secret],
        ['vera', cheapHash('three')],
      ]),
  ],
];

describe('a password in a file', () => {
  it.each(forms)('is followed in %s', async (_form, strategiesOf) => {
    const path = folder.replace('admin', `${cheapHash('one')}\n`);
    const app = await start({ strategies: strategiesOf(secretFile(path)) });
    expect(await accepts(app, 'one')).toBe(true);
    const session = await logIn(app.base, 'admin', 'one');
    folder.replace('admin', `${cheapHash('two')}\n`);
    await waitFor(async () => (await nameAt(app, session)) === null, promptly);
    expect([await accepts(app, 'one'), await accepts(app, 'two')]).toEqual([false, true]);
    expect(messages(app, 'a secret has changed')).toMatchObject([
      {
        level: 30,
        secret: expect.stringMatching(/^(strategies|staticUser|multiUser): password of 'admin'$/),
        strategy: 'default',
        mount: '/tasks',
      },
    ]);
  });

  it('is followed in the option auth of taskAdmin', async () => {
    const tasks = new TaskManager({ database: ':memory:', logger: false });
    await tasks.start({ run: false });
    const path = folder.replace('admin', cheapHash('one'));
    const app = new Koa();
    app.use(taskAdmin(tasks, { auth: ['admin', secretFile(path)], secretKey, logger: false }));
    const { url, close } = await serve(app);
    const session = await logIn(`${url}/tasks`, 'admin', 'one');
    const status = async () => (await ask(`${url}/tasks`, { headers: session })).status;
    expect(await status()).toBe(200);
    folder.replace('admin', cheapHash('two'));
    await waitFor(async () => (await status()) === 401, promptly);
    await close();
    await tasks.stop({ timeout: 0 });
  });

  const ways: [string, (content: string) => void][] = [
    ['replaces the file', (content) => folder.replace('admin', content)],
    ['rewrites the file', (content) => folder.rewrite('admin', content)],
    ['changes the link of a folder', (content) => folder.mount({ admin: content })],
  ];
  it.each(ways)('is in use within seconds after a tool %s', async (_case, write) => {
    write(cheapHash('one'));
    const path = folder.file('admin');
    const app = await start({ strategies: ['admin', secretFile(path)] });
    const session = await logIn(app.base, 'admin', 'one');
    write(`${cheapHash('two')}\n`);
    const changed = performance.now();
    await waitFor(async () => (await nameAt(app, session)) === null, promptly);
    expect(performance.now() - changed).toBeLessThan(promptly * 1000);
    expect([await accepts(app, 'one'), await accepts(app, 'two')]).toEqual([false, true]);
  });

  it('can be plain text, and changes twice within seconds', async () => {
    const path = folder.replace('admin', 'first-password\r\n');
    const app = await start({ strategies: ['admin', secretFile(path)] });
    // The first answer of find_user comes while the password is hashed. It must not stay cached.
    const first = await logIn(app.base, 'admin', 'first-password');
    folder.replace('admin', 'second-password');
    await waitFor(async () => (await nameAt(app, first)) === null, promptly);
    const second = await logIn(app.base, 'admin', 'second-password');
    folder.replace('admin', 'third-password');
    await waitFor(async () => (await nameAt(app, second)) === null, promptly);
  });

  it('ends the streams of its user, and no other session', async () => {
    const path = folder.replace('admin', cheapHash('one'));
    const auth = createAuth({
      strategies: [
        ['admin', secretFile(path)],
        ['vera', cheapHash('three')],
      ],
      secretKey,
      logger: false,
    });
    const koa = new Koa();
    koa.use(loginRoutes(auth));
    async function* silence(): AsyncGenerator<{ event: string; data: number }> {
      yield { event: 'first', data: 1 };
      await new Promise(() => {});
    }
    koa.use(sseStream(() => silence(), { access: auth, logger: false }));
    const served = keep(await serve(koa));
    const base = `${served.url}/tasks`;
    const streams = await Promise.all(
      [await logIn(base, 'admin', 'one'), await logIn(base, 'vera', 'three')].map((session) =>
        openStream(served.url, session),
      ),
    );
    await waitFor(() => streams.every(({ events }) => events.length > 0));
    folder.replace('admin', cheapHash('two'));
    const changed = performance.now();
    const [ended, open] = streams;
    await ended?.ended;
    expect(performance.now() - changed).toBeLessThan(promptly * 1000);
    expect(ended?.events.at(-1)).toMatchObject({ data: '{"reason":"revoked"}' });
    expect(open?.events).toHaveLength(1);
    open?.close();
  });

  it('stays the last good one while the file is bad, with one error per state', async () => {
    const path = folder.replace('admin', cheapHash('one'));
    const app = await start({ strategies: ['admin', secretFile(path)] });
    const session = await logIn(app.base, 'admin', 'one');
    const reasons = () => messages(app, 'a secret cannot be read').map(({ reason }) => reason);
    const states: [() => void, RegExp][] = [
      [() => rmSync(path), /does not exist$/],
      [() => folder.rewrite('admin', ''), /is empty$/],
      [() => folder.rewrite('admin', 'two\nlines'), /must be a single line of text$/],
      [() => folder.rewrite('admin', '{SSHA}Sentinel'), /not a hash of LDAP/],
    ];
    for (const [n, [make, reason]] of states.entries()) {
      make();
      await waitFor(() => reasons().length === n + 1, promptly);
      expect(reasons().at(-1)).toMatch(reason);
    }
    // Several more reads of the same state log nothing.
    await sleep(1);
    expect(messages(app, 'a secret cannot be read')).toHaveLength(states.length);
    expect(messages(app, 'a secret cannot be read')[0]).toMatchObject({
      level: 50,
      secret: "strategies: password of 'admin'",
      inUse: 'the last value',
      strategy: 'default',
      mount: '/tasks',
    });
    expect([await nameAt(app, session), await accepts(app, 'one')]).toEqual(['admin', true]);
    folder.rewrite('admin', cheapHash('one'));
    await waitFor(() => messages(app, 'a secret can be read again').length === 1, promptly);
    expect(messages(app, 'a secret has changed')).toHaveLength(0);
    expect(await nameAt(app, session)).toBe('admin');
    expect(app.log.text()).not.toContain('Sentinel');
  });

  it('is an error when the login is created if it is not valid', () => {
    const of = (content: string) => secretFile(folder.replace('admin', content));
    const make = (secret: Secret) => () =>
      createAuth({ strategies: ['admin', secret], secretKey, logger: false });
    expect(make(secretFile(folder.file('missing')))).toThrow(
      /^strategies: password of 'admin' cannot be read: the file ".*missing" does not exist$/,
    );
    expect(make(secretFile(folder.file('.')))).toThrow(/is a folder, not a file$/);
    expect(make(of('\n'))).toThrow(/ is empty$/);
    expect(make(of('two\nlines'))).toThrow("strategies: password of 'admin' must be a single line");
    expect(make(of('$2b$nonsense'))).toThrow("password of 'admin' must be plain text that");
    expect(make(of('x'.repeat(1025)))).toThrow("password of 'admin' must be at most 1024 bytes");
  });

  it('pads the checks of all users to the costliest hash after a change', async () => {
    const path = folder.replace('admin', cheapHash('one'));
    const app = await start({
      strategies: [
        ['admin', secretFile(path)],
        ['vera', cheapHash('three')],
      ],
    });
    folder.replace('admin', 'plain-text-is-costlier');
    await waitFor(() => messages(app, 'a secret has changed').length === 1, promptly);
    const shortest = async (username: string): Promise<number> => {
      let least = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const started = performance.now();
        await accepts(app, 'wrong', username);
        least = Math.min(least, performance.now() - started);
      }
      return least;
    };
    // A cheap hash takes less than a millisecond, and the costlier one over 100.
    expect(await shortest('vera')).toBeGreaterThan(50);
    expect(await shortest('unknown')).toBeGreaterThan(50);
  });

  it('is warned about if it is weak, at start and after a change', async () => {
    const path = folder.replace('admin', cheapHash('one'));
    const app = await start({ strategies: ['admin', secretFile(path)] });
    const warnings = () =>
      app.log.lines.filter(({ level, msg }) => level === 40 && /is weak/.test(String(msg)));
    expect(warnings()).toHaveLength(1);
    folder.replace('admin', cheapHash('two'));
    await waitFor(() => warnings().length === 2, promptly);
    expect(warnings()[1]).toMatchObject({ weakness: expect.stringMatching(/^user 'admin': /) });
  });
});

describe('a password from a function', () => {
  it.each(forms)('is asked for in %s', async (_form, strategiesOf) => {
    quickTimers('setTimeout', 25_000);
    let hash = cheapHash('one');
    const app = await start({ strategies: strategiesOf(async () => hash) });
    const session = await logIn(app.base, 'admin', 'one');
    expect(await nameAt(app, session)).toBe('admin');
    hash = cheapHash('two');
    await waitFor(async () => (await nameAt(app, session)) === null, promptly);
    expect([await accepts(app, 'one'), await accepts(app, 'two')]).toEqual([false, true]);
  });

  it('lets a login wait for its first answer', async () => {
    let answer = (_hash: string): void => {};
    const first = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const app = await start({ strategies: ['admin', () => first] });
    const loggingIn = accepts(app, 'one');
    const other = accepts(app, 'two');
    answer(cheapHash('one'));
    expect([await loggingIn, await other]).toEqual([true, false]);
  });

  it('fails the login and answers 503 to sessions until it has answered', async () => {
    let isFailing = false;
    const hash = async (): Promise<string> => {
      if (isFailing) throw new Error('Sentinel');
      return cheapHash('one');
    };
    const before = await start({ strategies: ['admin', hash] });
    const session = await logIn(before.base, 'admin', 'one');
    isFailing = true;
    const app = await start({ strategies: ['admin', hash] });
    expect(await accepts(app, 'one')).toBe(false);
    expect((await ask(app.url, { headers: session })).status).toBe(503);
    expect(app.log.events('authn_strategy_error')[0]).toMatchObject({
      err: {
        message: expect.stringMatching(
          /cannot be read: the function that returns it failed: Error$/,
        ),
      },
    });
    expect(messages(app, 'a secret cannot be read')).toMatchObject([
      { level: 50, secret: "strategies: password of 'admin'", inUse: 'none' },
    ]);
    isFailing = false;
    await waitFor(() => accepts(app, 'one'), promptly);
    expect(await nameAt(app, session)).toBe('admin');
    expect(messages(app, 'a secret can be read again')).toHaveLength(1);
    expect(app.log.text()).not.toContain('Sentinel');
  });

  it('affects no other user while it fails', async () => {
    const app = await start({
      strategies: [
        ['admin', () => Promise.reject(new Error('sealed'))],
        ['vera', cheapHash('three')],
      ],
    });
    expect(await accepts(app, 'three', 'vera')).toBe(true);
    expect(await accepts(app, 'three', 'unknown')).toBe(false);
    expect(await accepts(app, 'one')).toBe(false);
  });

  it.each<[string, unknown, string]>([
    ['a class', class Password {}, 'the class Password'],
    ['a generator', function* password() {}, 'a generator function'],
  ])('is refused if it is %s', (_case, value, kind) => {
    expect(() => staticUser('admin', value as () => string)).toThrow(
      `password of 'admin' is ${kind}; it must be a function that returns a string`,
    );
  });
});
