import { readdirSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { secretFile } from '../../src/auth/secrets/secret.js';
import { apiTokens } from '../../src/auth/strategies/api-tokens/api-tokens.js';
import { cached } from '../../src/auth/strategies/cached.js';
import { database } from '../../src/auth/strategies/database.js';
import { htpasswdFile } from '../../src/auth/strategies/htpasswd.js';
import { ldap } from '../../src/auth/strategies/ldap/ldap.js';
import { oidc } from '../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { trustedHeader } from '../../src/auth/strategies/trusted-header/trusted-header.js';
import { redisStore } from '../../src/engines/bullmq/store/redis-store.js';
import { TaskManager } from '../../src/manager.js';
import type { SharedStore } from '../../src/store/shared-store.js';
import { type Answer, ask, postJson } from '../helpers/client.js';
import { entries, searchAt, service } from '../helpers/directory.js';
import { temporaryFolder } from '../helpers/folder.js';
import { bcryptLine, hasHtpasswd } from '../helpers/htpasswd.js';
import { Jar } from '../helpers/jar.js';
import { serveLogin } from '../helpers/login-app.js';
import { client, PlainBrowser, TestProvider } from '../helpers/oidc-provider.js';
import { cheapHash } from '../helpers/passwords.js';
import { hasRedis, RedisServer } from '../helpers/redis.js';
import { type SecretFolder, secretFolder } from '../helpers/secret-folder.js';
import { hasSlapd, Slapd } from '../helpers/slapd.js';
import { waitFor } from '../helpers/wait.js';

/*
 * Signs in with every strategy, rightly, wrongly, and while servers fail. Then searches for each
 * password, code, token and key wherever the suite writes: answers, log lines, printed objects,
 * URLs, and the files of the store.
 */

const publicUrl = 'http://127.0.0.1:1';
const redirectUri = `${publicUrl}/tasks/auth/callback/okta`;

/** The secrets of the configuration, and what users and attackers type. */
const fixed = {
  signingKey: 'Sentinel-signing-key-0123456789-abcdefghij',
  passwordFile: 'Sentinel-passw0rd-of-a-file',
  rotatedFile: 'Sentinel-r0tated-passw0rd',
  htpasswd: 'Sentinel-of-htpassw0rd',
  database: 'Sentinel-of-the-datab4se',
  proxy: 'Sentinel-of-the-pr0xy-0123',
  wrongProxy: 'Sentinel-wr0ng-proxy-0123',
  wrongPassword: 'Sentinel-wr0ng-password',
  wrongCode: 'Sentinel-wr0ng-code',
  text: 'sentinel-text-of-a-stranger',
  client: client.secret,
  directory: service.password,
  ann: 'ann-secret',
};

/** A store, and all that it has written. */
interface DumpedStore {
  store: SharedStore;
  dump(): Promise<string>;
  close(): Promise<void>;
}

async function sqlite(): Promise<DumpedStore> {
  const folder = temporaryFolder();
  const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
  // The first call opens the file, which may take longer than a login waits for its store.
  await tasks.store.get('nothing');
  return {
    store: tasks.store,
    dump: async () => textOfFiles(folder.path),
    async close() {
      await tasks.stop({ timeout: 0 });
      folder.remove();
    },
  };
}

async function redis(): Promise<DumpedStore> {
  const server = await RedisServer.start();
  const store = redisStore(server.connection, { logger: false });
  const connection = new Redis(server.connection);
  return {
    store,
    async dump() {
      const [, folder = ''] = (await connection.config('GET', 'dir')) as string[];
      return textOfFiles(folder);
    },
    async close() {
      connection.disconnect();
      await store.close();
      await server.remove();
    },
  };
}

function textOfFiles(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => readFileSync(`${file.parentPath}/${file.name}`, 'latin1'))
    .join('\n');
}

/** Returns the forms in which a text may contain a secret. A file may store a long one in parts. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const encoded = [bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex')];
  const part = secret.length > 200 ? [secret.slice(120, 160)] : [];
  return [secret, encodeURIComponent(secret), ...encoded, ...part];
}

let provider: TestProvider;
let directory: Slapd;
let folder: SecretFolder;
/** Secrets that only a run brings, by what they are. */
const found = new Map<string, Set<string>>();
const note = (what: string, value: unknown): void => {
  if (typeof value !== 'string') return;
  found.set(what, (found.get(what) ?? new Set()).add(value));
};
/** The URLs of requests to the provider. */
const sentUrls: string[] = [];

beforeAll(async () => {
  [provider, directory] = await Promise.all([
    TestProvider.start({ redirectUri }),
    Slapd.start({ entries }),
  ]);
  provider.accounts.set('ann', { preferred_username: 'ann', groups: ['sre'] });
  folder = secretFolder();
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(async () => {
  await Promise.all([provider.close(), directory.remove()]);
  folder.remove();
});

/** Notes what the app sends to the token endpoint. */
function watchRequests(): void {
  const send = globalThis.fetch;
  jest.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    if (String(url).startsWith(`${provider.issuer}/token`)) sentUrls.push(String(url));
    const body = new URLSearchParams(String(init?.body ?? ''));
    for (const name of ['code', 'code_verifier', 'refresh_token']) note(name, body.get(name));
    return send(url, init);
  });
}

/** Notes the tokens of the provider. The app gets them, or another answer. */
function watchTokens(answer?: unknown): void {
  provider.change('/token', (real) => {
    for (const name of ['id_token', 'access_token', 'refresh_token']) note(name, real[name]);
    return answer ?? real;
  });
}

/** Moves the clock of this process, of the app and of the provider. */
function movableClock(): { ahead: number } {
  const clock = { ahead: 0 };
  const now = Date.now;
  jest.spyOn(Date, 'now').mockImplementation(() => now() + clock.ahead * 1000);
  return clock;
}

/** Starts an app with all strategies. */
async function startApp(store: SharedStore) {
  const tokens = apiTokens();
  const okta = oidc({
    ...{ issuer: provider.issuer, clientId: client.id, clientSecret: client.secret },
    ...{ scopes: ['openid', 'profile', 'groups', 'offline_access'], refresh: 10 },
    roles: { map: { sre: 'operator' } },
  });
  const directoryOf = () => ldap(searchAt(directory.url, { timeout: 1 }));
  const passwordFile = folder.replace('password', fixed.passwordFile);
  const users = folder.replace('users', `${bcryptLine('fay', fixed.htpasswd)}\n`);
  const secret = { header: 'X-Proxy-Secret', value: fixed.proxy };
  const hash = cheapHash(fixed.database);
  const strategies = new StrategyRegistry({ timeLimit: 5 })
    .register('static', staticUser('root', secretFile(passwordFile)))
    .register('file', htpasswdFile(users))
    .register(
      'rows',
      database((name) => (name === 'dan' ? hash : undefined)),
    )
    .register('directory', directoryOf())
    .register('cached', cached(directoryOf(), { seconds: 60 }))
    .register('okta', okta)
    .register('tokens', tokens)
    .register('proxy', trustedHeader({ proxies: ['127.0.0.1'], secret }));
  const app = await serveLogin({
    ...{ strategies, store, publicUrl },
    throttle: { floor: 0, address: 1000, pair: 1000, account: 1000 },
    secretKey: secretFile(folder.replace('key', fixed.signingKey)),
  });
  return { app, okta, tokens, strategies };
}

const kinds = [['SQLite', sqlite], ...(hasRedis ? ([['Redis', redis]] as const) : [])] as const;
const describeAll = hasSlapd && hasHtpasswd ? describe : describe.skip;

describeAll('a secret of a strategy', () => {
  it.each(kinds)('is written nowhere, with a store in %s', async (_name, open) => {
    const clock = movableClock();
    watchRequests();
    watchTokens();
    const stored = await open();
    const { app, okta, tokens, strategies } = await startApp(stored.store);
    const texts = new Map<string, string>();
    const add = (where: string, text: string): void => {
      texts.set(where, `${texts.get(where) ?? ''}\n${text}`);
    };
    const keep = (answer: Answer): Answer => {
      add('the answers', `${answer.text}\n${JSON.stringify([...answer.headers])}`);
      return answer;
    };
    const get = async (path: string, headers: Record<string, string>, method = 'GET') =>
      keep(await ask(app.url + path, { method, headers })).status;
    const logIn = async (strategy: string, username: string, password: string) =>
      keep(await postJson(app.login, { username, password, strategy })).status;

    // Passwords: right, wrong, and typed into the wrong field.
    for (const [strategy, username, password] of [
      ['static', 'root', fixed.passwordFile],
      ['file', 'fay', fixed.htpasswd],
      ['rows', 'dan', fixed.database],
      ['directory', 'ann', fixed.ann],
      ['cached', 'ann', fixed.ann],
      ['cached', 'ann', fixed.ann],
    ] as const) {
      expect([strategy, await logIn(strategy, username, password)]).toEqual([strategy, 200]);
      expect(await logIn(strategy, username, fixed.wrongPassword)).toBe(401);
      expect(await logIn(strategy, password, fixed.wrongPassword)).toBe(401);
    }
    await directory.stop();
    expect(await logIn('directory', 'ann', fixed.ann)).toBe(401);
    await directory.start();
    folder.replace('password', fixed.rotatedFile);
    await waitFor(async () => (await logIn('static', 'root', fixed.rotatedFile)) === 200);
    folder.replace('users', `fay:${fixed.htpasswd}\n`);
    await waitFor(() => app.log.text().includes('htpasswd') || app.log.text().includes('users'));

    // A provider: a user, a refusal, a wrong code, errors of the provider, a refresh, and a logout.
    const user = new Jar();
    const signIn = async (change: object = {}, jar = new Jar()): Promise<number> => {
      const begun = keep(await jar.ask(`${app.base}/auth/start/okta`));
      const url = begun.headers.get('location') ?? '';
      const callback = await new PlainBrowser().signIn(url, { login: 'ann', stop: redirectUri });
      note('code', callback.searchParams.get('code'));
      for (const [name, value] of Object.entries(change)) callback.searchParams.set(name, value);
      return keep(await jar.ask(app.url + callback.pathname + callback.search)).status;
    };
    expect(await signIn({}, user)).toBe(303);
    expect(await signIn({ code: fixed.wrongCode })).toBe(401);
    expect(await signIn({ error: 'access_denied', error_description: fixed.text })).toBe(401);
    expect(await signIn({ iss: 'https://other.example' })).toBe(401);
    for (const answer of [{ error: 'invalid_client', error_description: fixed.text }, fixed.text]) {
      watchTokens(answer);
      expect(await signIn()).toBe(503);
    }
    watchTokens();
    clock.ahead = 20;
    const { signal } = new AbortController();
    expect(await okta.find_user?.('ann', { signal })).toMatchObject({ roles: ['operator'] });
    expect(found.get('refresh_token')?.size).toBeGreaterThan(2);
    expect((await user.ask(app.url)).json).toEqual({ name: 'ann' });
    const logout = keep(await user.ask(`${app.base}/auth/logout`));
    expect(logout.headers.get('location')).toBe('/tasks/auth/signed-out');
    await provider.close();
    expect(keep(await new Jar().ask(`${app.base}/auth/callback/okta`)).status).toBe(400);
    await Promise.resolve(okta.check?.(signal)).catch((error: unknown) =>
      add('the errors', inspect(error)),
    );
    await provider.resume();

    // API tokens, the header of a proxy, and the state of the strategies.
    const { token, id } = await tokens.create({ name: 'script', owner: 'service:script' });
    note('API token', token);
    const bearer = { Authorization: `Bearer ${token}` };
    expect(await get('/tasks/auth/session', bearer)).toBe(200);
    await get('/tasks/auth/session', { Authorization: `Bearer ${token}x` });
    await tokens.revoke(id);
    expect(await get('/tasks/auth/session', bearer)).toBe(401);
    const proxied = { 'Remote-User': 'ann', 'X-Proxy-Secret': fixed.proxy };
    expect(await get('/tasks/auth/session', proxied)).toBe(200);
    const wrongly = { ...proxied, 'X-Proxy-Secret': fixed.wrongProxy };
    expect(await get('/tasks/auth/session', wrongly)).toBe(401);
    const admin = await postJson(app.login, { username: 'root', password: fixed.rotatedFile });
    expect(admin.status).toBe(200);
    const asAdmin = { Authorization: `Bearer ${(admin.json as { token: string }).token}` };
    for (const path of ['strategies', 'sessions', 'tokens', 'login'])
      expect(await get(`/tasks/auth/${path}`, asAdmin)).toBeLessThan(400);
    for (const name of ['directory', 'okta'])
      await get(`/tasks/auth/strategies/${name}/check`, asAdmin, 'POST');

    const printed = [
      app.auth,
      Object.getOwnPropertyDescriptors(app.auth),
      strategies,
      okta,
      tokens,
    ];
    for (const value of [...printed, ...strategies.names().map((name) => strategies.get(name))])
      add(
        'the printed objects',
        inspect(value, { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true }) +
          JSON.stringify(value),
      );
    add('the printed objects', JSON.stringify(await app.auth.health()));
    add('the log', app.log.text());
    add('the URLs', sentUrls.join('\n'));
    add('the store', await stored.dump());
    await app.close();
    await stored.close();

    // The texts are those that were meant.
    expect(texts.get('the store')).toMatch(/grant:.*hint:|hint:.*grant:/s);
    expect(texts.get('the log')).toContain('"level":20');
    const secrets = [
      ...Object.entries(fixed),
      ...[...found].flatMap(([what, values]) => [...values].map((value) => [what, value] as const)),
    ];
    expect([...found.keys()].sort()).toEqual([
      ...['API token', 'access_token', 'code', 'code_verifier', 'id_token', 'refresh_token'],
    ]);
    const leaks = secrets.flatMap(([what, secret]) =>
      [...texts].flatMap(([where, text]) => {
        const form = formsOf(secret).find((each) => text.includes(each));
        if (form === undefined) return [];
        const at = text.indexOf(form);
        return [`${what} in ${where}: ${text.slice(Math.max(0, at - 200), at + form.length + 50)}`];
      }),
    );
    expect(leaks).toEqual([]);
  });
});
