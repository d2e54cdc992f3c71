import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { type Answer, ask, postJson } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { openStream } from '../helpers/stream.js';

let app: AdminApp;
let owner: Record<string, string>;
let stranger: Record<string, string>;

beforeAll(async () => {
  const auth = new StrategyRegistry()
    .register('static', staticUser('admin', cheapHash(password)))
    .register(
      'signup',
      multiUser([['admin', cheapHash('chosen by a stranger'), { roles: ['operator'] }]]),
    );
  app = await serveAdmin({ auth, secretKey, streams: { perUser: 2 } });
  const signIn = async (strategy: string, given: string): Promise<Record<string, string>> => {
    const { json } = await postJson(`${app.base}/auth/login`, {
      username: 'admin',
      password: given,
      strategy,
    });
    return { Authorization: `Bearer ${(json as { token: string }).token}` };
  };
  owner = await signIn('static', password);
  stranger = await signIn('signup', 'chosen by a stranger');
});
afterAll(() => app.close());

describe('users of two strategies with the same name', () => {
  const retry = (headers: Record<string, string>): Promise<Answer> =>
    ask(`${app.base}/${app.taskId}/retry`, { method: 'POST', headers });
  const rows = async (query: string): Promise<unknown[]> =>
    ((await ask(`${app.base}/audit?${query}`, { headers: owner })).json as { items: unknown[] })
      .items;

  it('are distinct in audit rows and log lines', async () => {
    await retry(stranger);
    expect((await rows('action=retry'))[0]).toMatchObject({ actor: 'admin', strategy: 'signup' });
    expect(app.log.events('authz_admin').at(-1)).toMatchObject({
      username: 'admin',
      strategy: 'signup',
    });
    expect(await rows('action=login&outcome=done')).toMatchObject([
      { strategy: 'signup' },
      { strategy: 'static' },
    ]);

    expect(
      (await ask(`${app.base}/auth/sessions?username=vera`, { headers: stranger })).status,
    ).toBe(403);
    const { json } = await ask(`${app.base}/auth/sessions?username=admin&strategy=signup`, {
      headers: owner,
    });
    const [session] = (json as { items: { id: string }[] }).items;
    await ask(`${app.base}/auth/sessions/${session?.id}?username=admin&strategy=signup`, {
      method: 'DELETE',
      headers: owner,
    });
    expect((await rows('action=end_session'))[0]).toMatchObject({
      actor: 'admin',
      strategy: 'static',
      detail: { strategy: 'signup' },
    });
    expect(app.log.events('session_expired').at(-1)).toMatchObject({
      strategy: 'signup',
      by: 'admin',
      byStrategy: 'static',
    });
  });

  it('have separate stream limits', async () => {
    const { json } = await postJson(`${app.base}/auth/login`, {
      username: 'admin',
      password: 'chosen by a stranger',
      strategy: 'signup',
    });
    const headers = { Authorization: `Bearer ${(json as { token: string }).token}` };
    const streams = [];
    for (let n = 0; n < 3; n++)
      streams.push(await openStream(`${app.base}/dashboard/stream`, headers));
    streams.push(await openStream(`${app.base}/dashboard/stream`, owner));
    expect(streams.map(({ status }) => status)).toEqual([200, 200, 503, 200]);
    for (const stream of streams) stream.close();
  });
});
