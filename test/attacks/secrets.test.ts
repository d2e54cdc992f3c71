import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { pino } from 'pino';
import { taskAdmin } from '../../src/admin.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { secretFile } from '../../src/auth/secrets/secret.js';
import { ldap } from '../../src/auth/strategies/ldap/ldap.js';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { oidc } from '../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { trustedHeader } from '../../src/auth/strategies/trusted-header/trusted-header.js';
import { TaskManager } from '../../src/manager.js';
import { ask, postForm, postJson } from '../helpers/client.js';
import { closeAfterEach } from '../helpers/closing.js';
import { recordingLogger } from '../helpers/logs.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { secretFolder } from '../helpers/secret-folder.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

/** A different secret for each place where a client can put one. */
const canary = {
  password: 'Sentinel-Pa55word!',
  typedAsName: 'Sentinel-typed-as-n4me',
  header: 'Sentinel-he4der',
  query: 'Sentinel-qu3ry',
  cookie: 'Sentinel-c00kie',
  code: 'Sentinel-c0de',
  argument: 'Sentinel-4rgument',
};

const log = recordingLogger();
const tasks = new TaskManager({ database: ':memory:', logger: log.logger });
let served: Served;
let login: string;

/**
 * Makes an error like those of HTTP clients and directory drivers, which contain the whole request.
 */
function leakyError(secret: string): Error {
  const cause = new Error(`request with ${secret} failed`);
  return Object.assign(
    new Error(
      `bind as ${secret} failed: ${JSON.stringify(secret)} ${encodeURIComponent(secret)} ` +
        `${secretKey}`,
      { cause },
    ),
    {
      code: 'EBIND',
      config: { headers: { Authorization: `Basic ${secret}` }, data: { password: secret } },
      request: { body: secret },
      response: { text: secret },
    },
  );
}

/** Returns the error that a function throws, as Node prints it, without its stack. */
function shownError(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    return inspect(error, { depth: 5 }).split('\n    at ')[0] ?? '';
  }
  throw new Error('the function threw no error');
}

beforeAll(async () => {
  const strategies = new StrategyRegistry({ timeLimit: 0.1 })
    .register('throwing', {
      authenticate_user(_name, given) {
        throw leakyError(given);
      },
    })
    .register('rejecting', {
      authenticate_user: (_name, given) => Promise.reject(leakyError(given)),
    })
    .register('text', { authenticate_user: (_name, given) => Promise.reject(given) })
    .register('late', {
      authenticate_user: (_name, given) =>
        new Promise((_resolve, reject) => setTimeout(() => reject(leakyError(given)), 150)),
    })
    .register('answering', {
      authenticate_user: (_name, given) => ({ ok: 'true', password: given }) as unknown as boolean,
    })
    .register('named', {
      authenticate_user: (_name, given) => ({ ok: true, username: `${given}\n` }),
    })
    .register('admin', staticUser('admin', cheapHash(password)));
  const auth = createAuth({
    strategies,
    secretKey,
    logger: log.logger,
    throttle: { floor: 0, pair: 100, address: 1000, account: 1000 },
    store: tasks.store,
  });
  const failing = tasks.task('failing', (_secret: string) => {
    throw new Error('no');
  });
  await tasks.start();
  await failing.enqueue(canary.argument);
  const app = new Koa();
  app.silent = true;
  app.use(taskAdmin(tasks, { auth, logger: log.logger }));
  served = await serve(app);
  login = `${served.url}/tasks/auth/login`;
});
const keep = closeAfterEach();
afterAll(async () => {
  await served.close();
  await tasks.stop({ timeout: 0 });
});

describe('a secret that a client sends', () => {
  it('appears in no answer and no log line, whatever a strategy does with it', async () => {
    const headers = {
      'User-Agent': 'agent',
      'X-Api-Key': canary.header,
      'X-Request-Id': `${canary.header} x`,
      'Proxy-Authorization': canary.header,
      Cookie:
        `taskflow_token=${canary.cookie}; taskflow_token_device=${canary.cookie}; ` +
        `other=${canary.cookie}`,
    };
    const texts: string[] = [];
    for (const strategy of [
      '',
      'throwing',
      'rejecting',
      'text',
      'late',
      'answering',
      'named',
      'admin',
      canary.code,
    ]) {
      for (const send of [postJson, postForm]) {
        const body = {
          username: 'admin',
          password: canary.password,
          // JSON with an unknown member is refused before a strategy is called.
          ...(send === postForm && { totp: canary.code }),
          ...(strategy && { strategy }),
        };
        const answer = await send(`${login}?token=${canary.query}`, body, headers);
        expect(answer.status).toBe(401);
        texts.push(answer.text, JSON.stringify([...answer.headers]));
      }
    }
    for (const username of [canary.typedAsName, `${canary.typedAsName}\0`])
      texts.push(
        (await postJson(login, { username, password: canary.password }, headers)).status.toString(),
      );
    // On a slow machine, the short time limit of the strategies also ends a check of the right
    // password.
    const token = await waitFor(async () => {
      const { json } = await postJson(login, { username: 'admin', password });
      return (json as { token?: string }).token;
    });
    const bearer = { Authorization: `Bearer ${token}` };
    for (const path of [
      '',
      '/metrics',
      '/audit',
      '/auth/session',
      '/auth/sessions',
      '/dashboard',
      '/nothing',
      '/export?format=ndjson',
      `?q=${canary.query}`,
      `/${canary.query}`,
    ]) {
      const answer = await ask(`${served.url}/tasks${path}`, {
        headers: { ...headers, ...bearer },
      });
      if (!path.includes(canary.query)) texts.push(answer.text);
    }
    await ask(`${served.url}/tasks/auth/logout`, {
      method: 'POST',
      headers: { ...headers, ...bearer },
    });
    await ask(`${served.url}/tasks`, { headers: { Authorization: `Bearer ${token}` } });
    await ask(`${served.url}/tasks`, { headers: { Authorization: `Bearer ${canary.header}` } });
    await new Promise((resolve) => setTimeout(resolve, 200));

    const [, , signature = ''] = token.split('.');
    const read = `${texts.join('\n')}\n${log.text()}`;
    for (const secret of [
      ...Object.values(canary).filter((each) => each !== canary.query),
      token,
      signature,
      secretKey,
      password,
    ])
      expect([secret, read.includes(secret)]).toEqual([secret, false]);
    // A path is logged even if a client puts a secret into it. A query is never logged.
    expect(log.lines.filter((line) => String(line.path).includes('?'))).toEqual([]);
    expect(log.lines.length).toBeGreaterThan(30);
  });

  it('is removed from the message of a logged error, whose stack is logged at debug only', () => {
    const errors = log
      .events('authn_strategy_error')
      .filter(({ level, strategy }) => level === 50 && strategy === 'throwing');
    expect(errors[0]?.err).toMatchObject({
      type: 'Error',
      code: 'EBIND',
      message: expect.stringMatching(/^bind as \[redacted\] failed/),
    });
    // The log line of a task has the stack of the error that the handler of the app threw.
    for (const line of log.lines.filter(
      ({ level, taskId }) => Number(level) > 20 && taskId === undefined,
    ))
      expect(String((line.err as { stack?: string })?.stack ?? '')).toBe('');
  });

  it('is shortened in log lines that identify a session', () => {
    for (const { sessionId } of log.lines)
      if (sessionId !== undefined) expect(String(sessionId)).toHaveLength(8);
  });
});

const provider = { issuer: 'https://id.example', clientId: 'app', roles: ['viewer'] };
const url = 'ldap://127.0.0.1:1';
const search = { base: 'dc=a', filter: '(uid={username})', bindDN: 'cn=b', password: 'Sentinel-0' };

describe('a secret of the configuration', () => {
  it('does not appear if a login, a registry or a strategy is printed', () => {
    const strategy = staticUser('admin', canary.password);
    const registry = new StrategyRegistry().register('admin', strategy);
    const auth = createAuth({
      strategies: registry,
      secretKey: [secretKey, `${secretKey}-old`],
      logger: false,
    });
    for (const value of [strategy, registry, auth, Object.getOwnPropertyDescriptors(auth)]) {
      const shown =
        inspect(value, { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true }) +
        JSON.stringify(value);
      for (const secret of [canary.password, secretKey, 'Canary'])
        expect(shown).not.toContain(secret);
    }
  });

  it('does not appear if it comes from a file or a function, in print or in the log', async () => {
    const folder = secretFolder();
    const secrets = {
      password: 'Sentinel-of-a-f1le',
      key: 'Sentinel-key-of-a-f1le-0123456789-abcdef',
      fromFunction: 'Sentinel-of-a-functi0n',
    };
    const file = secretFile(folder.replace('password', secrets.password));
    const { logger, text } = recordingLogger();
    let leaking = false;
    const ask = async (): Promise<string> => {
      // The message of this error contains the beginning of the text.
      if (leaking) return JSON.parse(secrets.fromFunction);
      return secrets.fromFunction;
    };
    const strategy = multiUser([
      ['admin', file],
      ['vera', ask],
    ]);
    const auth = createAuth({
      strategies: strategy,
      secretKey: secretFile(folder.replace('key', secrets.key)),
      logger,
    });
    for (const value of [file, strategy, auth, Object.getOwnPropertyDescriptors(auth)])
      expect(
        inspect(value, { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true }) +
          JSON.stringify(value),
      ).not.toContain('Sentinel');
    leaking = true;
    const failing = createAuth({ strategies: ['vera', ask], logger });
    // Neither content is valid.
    folder.replace('password', `Sentinel\n${secrets.password}`);
    folder.replace('key', 'Sentinel-short-key');
    await waitFor(() => text().match(/a secret cannot be read/g)?.length === 3);
    expect(text()).not.toContain('Sentinel');
    for (const make of [
      () => staticUser('admin', file),
      () => createAuth({ strategies: ['a', 'b'], secretKey: secretFile(folder.file('key')) }),
    ])
      expect(shownError(make)).not.toContain('Sentinel');
    expect([failing.path, auth.path]).toEqual(['/tasks', '/tasks']);
    folder.remove();
  });

  it.each<[string, () => unknown]>([
    [
      'a key that is too short',
      () => createAuth({ strategies: ['a', 'b'], secretKey: 'Sentinel-short', logger: false }),
    ],
    [
      'a key that repeats itself',
      () =>
        createAuth({
          strategies: ['a', 'b'],
          secretKey: 'SentinelSentinelSentinelSentinel'.replace(/[^S]/g, 'e'),
          logger: false,
        }),
    ],
    [
      'one key twice',
      () =>
        createAuth({
          strategies: ['a', 'b'],
          secretKey: [`Sentinel-${secretKey}`, `Sentinel-${secretKey}`],
          logger: false,
        }),
    ],
    ['an invalid hash', () => staticUser('admin', '$Sentinel$hash')],
    ['a password that is too long', () => staticUser('admin', 'Sentinel-'.repeat(200))],
    [
      'a user list of another shape',
      () =>
        createAuth({
          strategies: ['admin', 'Sentinel-password', 'x'] as never,
          secretKey,
          logger: false,
        }),
    ],
    [
      'a client secret of another type',
      () => oidc({ ...provider, clientSecret: ['Sentinel'] as never }),
    ],
    ['a client secret that is unset', () => oidc({ ...provider, clientSecret: '' })],
    [
      'a password in the issuer',
      () => oidc({ ...provider, issuer: 'https://a:Sentinel@b.example' }),
    ],
    [
      'a service password of another type',
      () => ldap({ url, search: { ...search, password: { Sentinel: 1 } as never } }),
    ],
    ['a password in the URL of a directory', () => ldap({ url: 'ldap://a:Sentinel@b', search })],
    [
      'a secret of a proxy that is too short',
      () => trustedHeader({ proxies: ['::1'], secret: { header: 'x', value: 'Sentinel' } }),
    ],
    [
      'a secret of a proxy with spaces',
      () =>
        trustedHeader({ proxies: ['::1'], secret: { header: 'x', value: 'Sentinel of a pr0xy' } }),
    ],
    [
      'a password in place of a name',
      () =>
        createAuth({ strategies: [['admin\n', 'Sentinel-password']], secretKey, logger: false }),
    ],
  ])('is not in the error about %s', (_case, make) => {
    expect(make).toThrow();
    expect(shownError(make)).not.toContain('Sentinel');
  });
});

describe('a logger that throws', () => {
  it('changes no answer', async () => {
    const throwing = pino({ level: 'trace' }, { write: () => {} });
    for (const level of ['debug', 'info', 'warn', 'error'] as const)
      throwing[level] = () => {
        throw new Error('disk full');
      };
    const app = new Koa();
    app.use(
      taskAdmin(tasks, {
        path: '/other',
        auth: ['admin', cheapHash(password)],
        secretKey,
        logger: throwing,
        throttle: { floor: 0 },
      }),
    );
    const other = keep(await serve(app));
    expect(
      (await postJson(`${other.url}/other/auth/login`, { username: 'admin', password: 'x' }))
        .status,
    ).toBe(401);
    expect(
      (await postJson(`${other.url}/other/auth/login`, { username: 'admin', password })).status,
    ).toBe(200);
  });
});
