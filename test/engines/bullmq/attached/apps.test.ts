import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { attachQueues, type RedisStore, redisStore } from '../../../../src/engines/bullmq/index.js';
import { type TaskAdminOptions, taskAdmin } from '../../../../src/index.js';
import { ask } from '../../../helpers/client.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { serveLogin } from '../../../helpers/login-app.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { cheapHash } from '../../../helpers/passwords.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { serve } from '../../../helpers/serve.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

const keys = {
  shop: 'abcdefghijklmnopqrstuvwxyz0123456789',
  bank: '9876543210zyxwvutsrqponmlkjihgfedcba',
};
const passwordOf = (app: string): string => `password-of-the-${app}-1`;

(hasRedis ? describe : describe.skip)('two apps that attach queues on the same Redis', () => {
  let redis: RedisServer;
  let client: Redis;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
    client = new Redis(redis.connection);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.remove();
  });

  interface Options extends Pick<TaskAdminOptions, 'secretKey'> {
    namespace?: string;
    password?: string;
    connection?: RedisServer['connection'] & { username?: string; password?: string };
  }

  async function start(
    queue: string,
    { namespace, password = passwordOf(queue), secretKey, connection = redis.connection }: Options,
  ) {
    const log = recordingLogger();
    const attached = keep(new Queue(queue, { connection }));
    const tasks = keep(attachQueues([attached], { logger: log.logger, namespace }));
    const app = new Koa();
    app.use(taskAdmin(tasks, { auth: ['admin', cheapHash(password)], secretKey, logger: false }));
    const { url } = keep(await serve(app));
    const call = (path: string, token?: string, method = 'GET') =>
      ask(`${url}/tasks${path}`, {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), origin: url },
      });
    const login = (tried = password) =>
      ask(`${url}/tasks/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: url },
        body: JSON.stringify({ username: 'admin', password: tried }),
      });
    const signIn = async (): Promise<string> => {
      const answer = await login();
      expect(answer).toMatchObject({ status: 200, json: { token: expect.any(String) } });
      return (answer.json as { token: string }).token;
    };
    return {
      call,
      login,
      signIn,
      errors: () => log.lines.filter(({ level }) => Number(level) >= 50),
    };
  }

  it('share no sessions, audit log or throttle if their namespaces differ', async () => {
    const shop = await start('shop', { namespace: 'shop', secretKey: keys.shop });
    const bank = await start('bank', { namespace: 'bank', secretKey: keys.bank });
    const [shopToken, bankToken] = [await shop.signIn(), await bank.signIn()];
    expect((await bank.call('/auth/sessions', bankToken, 'DELETE')).status).toBe(204);
    await waitFor(async () => (await bank.call('/auth/sessions', bankToken)).status === 401);
    expect((await shop.call('/auth/sessions', shopToken)).status).toBe(200);
    expect((await shop.call('/auth/sessions', shopToken)).json).toMatchObject({
      items: [{ current: true }],
    });
    for (let n = 0; n < 8; n++) await shop.login('wrong');
    expect((await bank.login()).status).toBe(200);
    const stored = (await client.keys('*')).filter((key) => key.includes('auth:'));
    expect(new Set(stored.map((key) => key.slice(0, key.indexOf(':'))))).toEqual(
      new Set(['{shop}', '{bank}']),
    );
  });

  it('allow logins only in the first if they share a namespace but no secretKey', async () => {
    const shop = await start('shop', { namespace: 'same', secretKey: keys.shop });
    const token = await shop.signIn();
    const bank = await start('bank', { namespace: 'same', secretKey: keys.bank });
    await waitFor(() => bank.errors().length > 0);
    const login = await bank.login();
    expect([login.status, login.json]).toMatchObject([503, { code: 'STORE_UNAVAILABLE' }]);
    for (const path of [
      '',
      '/dashboard',
      '/dashboard/stream',
      '/auth/login',
      '/auth/logout',
      '/auth/session',
      '/nothing',
    ])
      expect([path, (await bank.call(path)).status, (await bank.call(path, token)).status]).toEqual(
        [path, 503, 503],
      );
    const health = await bank.call('/health');
    const why = {
      status: 'unavailable',
      code: 'STORE_UNAVAILABLE',
      detail: expect.stringContaining('another app'),
    };
    expect([health.status, health.json]).toEqual([503, why]);
    expect(bank.errors()).toHaveLength(1);
    expect(JSON.stringify(bank.errors())).toMatch(/namespace of attachQueues/);
    expect(JSON.stringify(bank.errors())).not.toContain(keys.bank);
    expect((await shop.call('/auth/sessions', token)).status).toBe(200);
    expect(shop.errors()).toEqual([]);
    // The solution that the log message suggests.
    await client.hdel('{same}:owners', '/tasks');
    expect((await bank.call('/health')).status).toBe(200);
    expect((await bank.login()).status).toBe(200);
  });

  it('leave the namespace to the first app after Redis loses its data', async () => {
    const own = await RedisServer.start();
    keep({ close: () => own.remove() });
    const shop = await start('shop', {
      namespace: 'lost',
      secretKey: keys.shop,
      connection: own.connection,
    });
    await shop.signIn();
    const owner = new Redis(own.connection);
    keep({ close: async () => owner.disconnect() });
    const placeOf = (): Promise<string | null> =>
      owner.hget('{lost}:owners', '/tasks').catch(() => null);
    const before = await placeOf();
    expect(before).not.toBeNull();
    await owner.flushall();
    await waitFor(async () => (await placeOf()) === before);
    await own.stop();
    own.forget();
    await own.start();
    await waitFor(async () => (await placeOf()) === before);
    const bank = await start('bank', {
      namespace: 'lost',
      secretKey: keys.bank,
      connection: own.connection,
    });
    expect((await bank.login()).status).toBe(503);
    await waitFor(async () => (await shop.login()).status === 200);
  });

  it('report at startup that the Redis user lacks a permission, and recover later', async () => {
    const right = [
      '~bull:*',
      '-@all',
      '+@read',
      '+@write',
      '+@scripting',
      '+@transaction',
      '+@connection',
      '-@dangerous',
      '+info',
      '+client|list',
    ];
    const connection = { ...redis.connection, username: 'app', password: 'unspeakable' };
    const setUser = (...rules: string[]) =>
      client.call('ACL', 'SETUSER', 'app', 'reset', 'on', '>unspeakable', ...right, ...rules);
    await setUser('~{allowed}:*');
    const well = await start('mail', { namespace: 'allowed', connection, secretKey: keys.shop });
    const token = await well.signIn();
    for (const path of [
      '',
      '/queues',
      '/workers',
      '/schedules',
      '/audit',
      '/auth/sessions',
      '/health',
    ])
      expect([path, (await well.call(path, token)).status]).toEqual([path, 200]);
    expect(well.errors()).toEqual([]);
    for (const [rule, named] of [
      ['~{other}:*', 'evalsha'],
      ['-zrangebylex', 'zrangebylex'],
      ['-xrevrange', 'xrevrange'],
    ] as const) {
      await setUser(...(rule.startsWith('~') ? [rule] : ['~{missing}:*', rule]));
      const app = await start('calls', { namespace: 'missing', connection });
      const ofSessions = () =>
        app.errors().filter(({ msg }) => msg === 'Redis cannot be used for sessions');
      await waitFor(() => ofSessions().length > 0);
      expect(JSON.stringify(ofSessions())).toContain(`'${named}'`);
      expect(JSON.stringify(app.errors())).not.toContain('unspeakable');
      for (const path of ['/health', '', '/dashboard', '/auth/login'])
        expect([path, (await app.call(path)).status]).toEqual([path, 503]);
      expect(ofSessions()).toHaveLength(1);
      await setUser('~{missing}:*');
      await waitFor(async () => (await app.login()).status === 200);
      // The queues are read again within a second.
      await waitFor(async () => (await app.call('/health')).status === 200);
    }
  });

  it('report no session outage if the first connection takes a second', async () => {
    redis.signal('SIGSTOP');
    try {
      const started = start('slow', { namespace: 'slow', secretKey: keys.shop });
      await sleep(1);
      redis.signal('SIGCONT');
      const app = await started;
      await waitFor(async () => (await app.login()).status === 200);
      expect(app.errors().filter(({ msg }) => msg === 'Redis cannot be used for sessions')).toEqual(
        [],
      );
    } finally {
      redis.signal('SIGCONT');
    }
  });

  it('count as the same app if they share a secretKey, also during key rotation', async () => {
    const login = { namespace: 'one', password: passwordOf('one') };
    const first = await start('mail', { ...login, secretKey: keys.shop });
    const token = await first.signIn();
    const second = await start('pages', { ...login, secretKey: [keys.bank, keys.shop] });
    expect((await second.call('/auth/sessions', token)).status).toBe(200);
    // A process repeats its claim each second. Here it does so after a process with both keys.
    await start('more', { ...login, secretKey: keys.shop }).then((more) => more.signIn());
    const third = await start('other', { ...login, secretKey: keys.bank });
    expect((await third.login()).status).toBe(200);
    expect((await second.call('/auth/logout', token, 'POST')).status).toBeLessThan(400);
    await waitFor(async () => (await first.call('/auth/sessions', token)).status === 401);
  });

  it('get the same answers from redisStore, unless their login paths differ', async () => {
    const open = (): RedisStore =>
      keep(redisStore(redis.connection, { prefix: 'login', logger: false }));
    const body = JSON.stringify({ username: 'admin', password: passwordOf('shop') });
    const login = async (path: string, secretKey: string): Promise<number> => {
      const app = keep(
        await serveLogin({
          store: open(),
          path,
          secretKey,
          strategies: ['admin', cheapHash(passwordOf('shop'))],
        }),
      );
      return (
        await ask(app.login, {
          method: 'POST',
          headers: { 'content-type': 'application/json', origin: app.url },
          body,
        })
      ).status;
    };
    expect(await login('/a', keys.shop)).toBe(200);
    expect(await login('/a', keys.bank)).toBe(503);
    expect(await login('/b', keys.bank)).toBe(200);
  });

  it.each(['', 'a b', '{a}', 'a'.repeat(101)])('reject the namespace %j', async (namespace) => {
    const queue = keep(new Queue('mail', { connection: redis.connection }));
    expect(() => attachQueues([queue], { namespace })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' }),
    );
    await queue.waitUntilReady();
  });
});
