import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { createAuth } from '../../../src/auth/create-auth.js';
import { loginRoutes } from '../../../src/auth/login-routes.js';
import { sessionToken } from '../../../src/auth/session-token.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { ask, logIn } from '../../helpers/client.js';
import { password, secretKey } from '../../helpers/passwords.js';
import { type Served, serve } from '../../helpers/serve.js';

describe('work that several requests share', () => {
  let served: Served;
  afterEach(() => served.close());

  it('runs in an empty context, while a login keeps its own context', async () => {
    const requests = new AsyncLocalStorage<string>();
    const seen: Record<string, unknown[]> = { authenticate_user: [], find_user: [], watch: [] };
    const note = (call: string): void => void seen[call]?.push(requests.getStore() ?? 'no request');
    const kept = memoryStore();
    const store: SharedStore = {
      ...kept,
      async *watch(...args) {
        for await (const entries of kept.watch(...args)) {
          if (args[0].includes('revoked')) note('watch');
          yield entries;
        }
      },
    };
    const auth = createAuth({
      strategies: {
        authenticate_user: async () => {
          note('authenticate_user');
          return true;
        },
        find_user: async () => {
          note('find_user');
          return { version: '1' };
        },
      },
      secretKey,
      store,
      logger: false,
    });
    const app = new Koa();
    app.use((ctx, next) => requests.run(ctx.path, () => next()));
    app.use(sessionToken(auth));
    app.use(loginRoutes(auth));
    app.use((ctx) => {
      ctx.body = { name: ctx.state.session?.username ?? null };
    });
    served = await serve(app);
    const session = await logIn(`${served.url}/tasks`, 'ada', password);
    const answers = await Promise.all(
      ['one', 'two'].map((path) => ask(`${served.url}/${path}`, { headers: session })),
    );
    expect(answers.map(({ json }) => json)).toEqual([{ name: 'ada' }, { name: 'ada' }]);
    await ask(`${served.url}/tasks/auth/logout`, {
      method: 'POST',
      headers: { ...session, origin: served.url },
    });
    expect(seen.authenticate_user).toEqual(['/tasks/auth/login']);
    expect(new Set(seen.find_user)).toEqual(new Set(['no request']));
    expect(new Set(seen.watch)).toEqual(new Set(['no request']));
    expect(seen.watch?.length).toBeGreaterThan(1);
  });
});
