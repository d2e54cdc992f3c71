import { describe, expect, it } from '@jest/globals';

import { type Secret, secretFile } from '../../../src/auth/secrets/secret.js';
import { redisStore } from '../../../src/engines/bullmq/store/redis-store.js';
import { ask, logIn, postForm } from '../../helpers/client.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { password, secretKey } from '../../helpers/passwords.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { secretFolder } from '../../helpers/secret-folder.js';
import { promptly, waitFor } from '../../helpers/wait.js';

const describeRedis = hasRedis ? describe : describe.skip;

const [oldKey, newKey, newestKey] = [secretKey, `${secretKey}-new`, `${secretKey}-newest`] as const;

describeRedis('processes on one Redis', () => {
  const forEach = new RedisForEach();

  /** Starts a process of the app with a connection of its own. */
  async function start(key: Secret): Promise<LoginApp> {
    const store = forEach.keep(redisStore(forEach.redis.connection, { logger: false }));
    return forEach.keep(await serveLogin({ secretKey: key, store, throttle: false }));
  }
  const nameAt = async ({ url }: LoginApp, headers: Record<string, string>): Promise<unknown> =>
    ((await ask(url, { headers })).json as { name?: unknown }).name;
  const headerOf = ({ cookie }: { cookie: string }): string => cookie.split(/[=.]/)[1] ?? '';

  it('keep their store while a key file is replaced twice, and shut out another app', async () => {
    const folder = secretFolder();
    const file = folder.replace('key', oldKey);
    const apps = [await start(secretFile(file)), await start(secretFile(file))];
    const [one] = apps as [LoginApp];
    const first = await logIn(one.base);
    let last = first;
    for (const key of [newKey, newestKey]) {
      folder.replace('key', key);
      for (const app of apps)
        await waitFor(async () => {
          const session = await logIn(app.base);
          const isNew = headerOf(session) !== headerOf(last);
          if (isNew && app === apps[1]) last = session;
          return isNew;
        }, promptly);
      for (const app of apps)
        for (const session of [first, last]) expect(await nameAt(app, session)).toBe('admin');
    }
    // A process that starts later has only the newest key. Another one still has the oldest.
    expect(await nameAt(await start(secretFile(file)), last)).toBe('admin');
    expect(await nameAt(await start(oldKey), first)).toBe('admin');
    const other = await start(`${secretKey}-of-another-app`);
    const fields = { username: 'admin', password };
    expect((await postForm(other.login, fields)).status).toBe(503);
    for (const app of apps) expect(await nameAt(app, last)).toBe('admin');
    folder.remove();
  });
});
