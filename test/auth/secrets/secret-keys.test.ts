import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { createKeyRing } from '../../../src/auth/secrets/key-ring.js';
import { type Secret, secretFile } from '../../../src/auth/secrets/secret.js';
import type { StrategyParts } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import { ask, logIn, postForm } from '../../helpers/client.js';
import { quickTimers, settableClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { type SecretFolder, secretFolder } from '../../helpers/secret-folder.js';
import { promptly, waitFor } from '../../helpers/wait.js';

const [oldKey, newKey, newestKey] = [secretKey, `${secretKey}-new`, `${secretKey}-newest`] as const;

let folder: SecretFolder;
const keep = closeAfterEach();
beforeEach(() => {
  folder = secretFolder();
});
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
  folder.remove();
});

const start = async (options: Partial<AuthOptions>): Promise<LoginApp> =>
  keep(await serveLogin({ throttle: false, maxSessions: 10_000, ...options }));
const nameAt = async ({ url }: LoginApp, headers: Record<string, string>): Promise<unknown> =>
  ((await ask(url, { headers })).json as { name: unknown }).name;
/** The header of the token of a new session. Each key has another one. */
const headerOf = ({ cookie }: { cookie: string }): string => cookie.split(/[=.]/)[1] ?? '';
/** The lists of key ids that the log has, as numbers of `keys`: the key that signs comes first. */
const loggedKeys = ({ log }: LoginApp): readonly (readonly unknown[])[] => {
  const ids: unknown[] = [];
  const numberOf = (id: unknown): number => {
    if (!ids.includes(id)) ids.push(id);
    return ids.indexOf(id);
  };
  return log.lines.flatMap(({ keyIds }) =>
    Array.isArray(keyIds) ? [keyIds.map((id) => numberOf(id))] : [],
  );
};

describe('secret keys in a file', () => {
  const ways: [string, (content: string) => void][] = [
    ['replaced', (content) => folder.replace('key', content)],
    ['rewritten', (content) => folder.rewrite('key', content)],
    ['mounted again', (content) => folder.mount({ key: content })],
  ];
  it.each(ways)(
    'sign with the new key and verify the old one after the file is %s',
    async (_way, write) => {
      write(`${oldKey}\n`);
      const app = await start({ secretKey: secretFile(folder.file('key')) });
      const session = await logIn(app.base);
      write(`${newKey}\n`);
      const changed = performance.now();
      const isNew = async () => headerOf(await logIn(app.base)) !== headerOf(session);
      await waitFor(isNew, promptly);
      expect(performance.now() - changed).toBeLessThan(promptly * 1000);
      expect(await nameAt(app, session)).toBe('admin');
      expect(await nameAt(app, await logIn(app.base))).toBe('admin');
      // The new key verifies before it signs, so that no other process meets an unknown key.
      expect(loggedKeys(app)).toEqual([[0], [0, 1], [1, 0]]);
      expect(app.log.lines).toContainEqual(
        expect.objectContaining({ level: 30, msg: 'a secret has changed', secret: 'secretKey' }),
      );
    },
  );

  it('are one per line, newest first', async () => {
    const path = folder.replace('key', `${newKey}\r\n\r\n${oldKey}\r\n`);
    const app = await start({ secretKey: secretFile(path) });
    const older = await start({ secretKey: oldKey });
    const newer = await start({ secretKey: newKey });
    expect(await nameAt(app, await logIn(older.base))).toBe('admin');
    expect(await nameAt(newer, await logIn(app.base))).toBe('admin');
    expect(await nameAt(older, await logIn(app.base))).toBeNull();
  });

  it('can be listed with others', async () => {
    const path = folder.replace('key', newKey);
    const app = await start({ secretKey: [secretFile(path), oldKey] });
    const older = await start({ secretKey: oldKey });
    expect(await nameAt(app, await logIn(older.base))).toBe('admin');
    folder.replace('key', newestKey);
    await waitFor(() => loggedKeys(app).length === 3, promptly);
    expect(loggedKeys(app)).toEqual([
      [0, 1],
      [0, 1, 2],
      [2, 1, 0],
    ]);
  });

  it('keep device cookies and the data of strategies', async () => {
    const path = folder.replace('key', oldKey);
    let parts: StrategyParts | undefined;
    const app = await start({
      strategies: {
        authenticate_user: (_name, given) => given === password,
        find_user: () => ({ version: '1' }),
        attach: (given) => {
          parts = given;
        },
      },
      secretKey: secretFile(path),
      throttle: { floor: 0, pair: 1, account: 1000 },
    });
    const encrypted = parts?.encrypt('token') ?? '';
    const login = await postForm(app.login, { username: 'admin', password });
    const [device = ''] = login.headers.getSetCookie().filter((each) => each.includes('_device='));
    folder.replace('key', newKey);
    await waitFor(() => loggedKeys(app).length === 3, promptly);
    expect(parts?.decrypt(encrypted)).toBe('token');
    expect(parts?.decrypt(parts.encrypt('again'))).toBe('again');
    const fail = (headers = {}) =>
      postForm(app.login, { username: 'admin', password: 'x' }, headers);
    // The limit for strangers is used up, and the browser still has its own.
    await fail();
    await fail();
    expect((await fail()).status).toBe(429);
    expect((await fail({ Cookie: device.split(';')[0] ?? '' })).status).toBe(401);
  });

  it('stay the last good ones while the file is bad', async () => {
    const path = folder.replace('key', oldKey);
    const app = await start({ secretKey: secretFile(path) });
    const session = await logIn(app.base);
    const errors = () => app.log.lines.filter(({ msg }) => msg === 'a secret cannot be read');
    rmSync(path);
    await waitFor(() => errors().length === 1, promptly);
    folder.replace('key', 'Sentinel-short');
    await waitFor(() => errors().length === 2, promptly);
    folder.replace('key', `${newKey}\n${newKey}`);
    await waitFor(() => errors().length === 3, promptly);
    expect(errors()).toMatchObject([
      { level: 50, secret: 'secretKey', mount: '/tasks', inUse: 'the last value' },
      { reason: expect.stringContaining('secretKey must be at least 32 characters long') },
      { reason: expect.stringContaining('secretKey must be a list without the same key twice') },
    ]);
    expect(await nameAt(app, session)).toBe('admin');
    expect(headerOf(await logIn(app.base))).toBe(headerOf(session));
    expect(app.log.text()).not.toContain('Sentinel');
  });

  it('are checked when the login is created', () => {
    const make = (key: Secret | readonly Secret[]) => () =>
      createAuth({ strategies: ['admin', cheapHash(password)], secretKey: key, logger: false });
    const of = (content: string) => secretFile(folder.replace('key', content));
    expect(make(secretFile(folder.file('missing')))).toThrow(
      /^secretKey cannot be read: .* exist$/,
    );
    expect(make(of(''))).toThrow(/is empty$/);
    expect(make(of(`${oldKey}\nshort`))).toThrow('secretKey must be at least 32 characters long');
    expect(make(of(`${oldKey}\n${oldKey}`))).toThrow('secretKey must be a list without the same');
    expect(make([newKey, of('short')])).toThrow('secretKey[1] must be at least 32 characters long');
    expect(make([secretFile(folder.replace('key', oldKey)), 7 as unknown as string])).toThrow(
      'secretKey[1] is a number; it must be a string',
    );
  });

  it('are claimed in the store after each change, together with the old ones', async () => {
    const claims: number[] = [];
    const store = memoryStore();
    store.claim = (_path, owners) => {
      claims.push(owners.length);
      return () => undefined;
    };
    const path = folder.replace('key', oldKey);
    await start({ secretKey: secretFile(path), store });
    folder.replace('key', newKey);
    await waitFor(() => claims.length === 3, promptly);
    expect(claims).toEqual([1, 2, 2]);
  });
});

describe('secret keys from a function', () => {
  it('are asked for again, and the new key signs within a minute', async () => {
    quickTimers('setTimeout', 25_000);
    let key: string = oldKey;
    const app = await start({ secretKey: async () => key });
    const session = await logIn(app.base);
    key = newKey;
    await waitFor(async () => headerOf(await logIn(app.base)) !== headerOf(session), promptly);
    expect(await nameAt(app, session)).toBe('admin');
  });

  it('let every request wait for the first answer', async () => {
    const older = await start({ secretKey: oldKey });
    const session = await logIn(older.base);
    let answer = (_key: string): void => {};
    const app = await start({
      secretKey: () =>
        new Promise<string>((resolve) => {
          answer = resolve;
        }),
    });
    const waiting = [nameAt(app, session), logIn(app.base)];
    answer(oldKey);
    const [name, login] = await Promise.all(waiting);
    expect(name).toBe('admin');
    expect(headerOf(login as { cookie: string })).toBe(headerOf(session));
  });

  it('give 503 to every request until the function has answered', async () => {
    const older = await start({ secretKey: oldKey });
    const session = await logIn(older.base);
    let isFailing = true;
    const app = await start({
      secretKey: async () => {
        if (isFailing) throw new Error('sealed');
        return oldKey;
      },
    });
    const html = { Accept: 'text/html' };
    const answers = await Promise.all([
      ask(app.url, { headers: session }),
      ask(app.login, { headers: html }),
      postForm(app.login, { username: 'admin', password }),
      ask(`${app.base}/auth/session`, { headers: session }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
    expect(answers[0]?.json).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      detail: 'The secret key of this login is not available yet, so no session can be checked.',
    });
    isFailing = false;
    await waitFor(async () => (await ask(app.url, { headers: session })).status === 200, promptly);
    expect(await nameAt(app, session)).toBe('admin');
  });
});

describe('a key ring', () => {
  /** A ring with one source that the test changes. */
  function ringOf(first: string, tokenExpiry = 3600) {
    let listed: readonly string[] = [first];
    const listeners: (() => void)[] = [];
    const ring = createKeyRing({
      tokenExpiry,
      sources: [
        {
          isFollowed: true,
          spread: 20,
          get value() {
            return listed;
          },
          get: () => listed,
          onChange: (listener) => void listeners.push(() => listener(listed)),
          logTo: () => {},
        },
      ],
    });
    return {
      ring,
      list(...keys: string[]) {
        listed = keys;
        for (const listener of listeners) listener();
      },
      isNow: (...keys: string[]) =>
        waitFor(() => JSON.stringify(ring.secrets()) === JSON.stringify(keys), promptly),
    };
  }

  it('drops an unlisted key when the sessions that it signed have expired', async () => {
    const { pass } = settableClock();
    const { ring, list, isNow } = ringOf('one');
    list('two');
    expect(ring.secrets()).toEqual(['one', 'two']);
    await isNow('two', 'one');
    pass(3599);
    list('two', 'other');
    expect(ring.secrets()).toEqual(['two', 'other', 'one']);
    pass(2);
    list('two');
    expect(ring.secrets()).toEqual(['two', 'other']);
    pass(3600);
    list('two', 'last');
    expect(ring.secrets()).toEqual(['two', 'last']);
  });

  it('drops the key by a timer, without another change', async () => {
    const { list, isNow } = ringOf('one', 0.2);
    list('two');
    await isNow('two');
  });

  it('keeps a listed key for as long as it is listed', async () => {
    const { pass } = settableClock();
    const { ring, list, isNow } = ringOf('one');
    list('two', 'one');
    await isNow('two', 'one');
    pass(100_000);
    list('two', 'one');
    expect(ring.secrets()).toEqual(['two', 'one']);
    list('two');
    expect(ring.secrets()).toEqual(['two']);
  });

  it('signs with a key again that was listed again', async () => {
    const { list, isNow } = ringOf('one');
    list('two');
    await isNow('two', 'one');
    list('one');
    await isNow('one', 'two');
  });
});
