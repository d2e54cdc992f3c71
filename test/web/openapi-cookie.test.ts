import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import mount from 'koa-mount';
import { createAuth, TaskManager, taskAdmin } from '../../src/index.js';
import { ask, postForm } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';

interface Described {
  security: Record<string, unknown>[];
  components: { securitySchemes: { cookie?: { name: string } } };
}

const tasks = new TaskManager({ database: ':memory:', logger: false });
const served: Served[] = [];
const open = async (app: Koa): Promise<Served> => {
  const each = await serve(app);
  served.push(each);
  return each;
};
beforeAll(() => tasks.start());
afterEach(async () => {
  await Promise.all(served.splice(0).map(({ close }) => close()));
});
afterAll(() => tasks.stop());

const cases: Record<string, { path?: string; cookie?: object; prefix?: string; https?: boolean }> =
  {
    'by default': {},
    'over HTTPS': { https: true },
    'with a custom name': { cookie: { name: 'shop' } },
    'with a custom name over HTTPS': { cookie: { name: 'shop' }, https: true },
    'for a domain over HTTPS': { cookie: { domain: 'localhost' }, https: true },
    'at another path': { path: '/admin/jobs' },
    'under koa-mount': { prefix: '/shop' },
  };

describe('the cookie in P/openapi.json', () => {
  it.each(Object.entries(cases))(
    'is the one that a sign-in sets: %s',
    async (_case, { path = '/tasks', cookie, prefix = '', https }) => {
      const auth = createAuth({
        strategies: ['admin', cheapHash(password)],
        secretKey,
        path,
        cookie,
        store: tasks.store,
        logger: false,
      });
      const app = new Koa();
      app.proxy = true;
      const admin = taskAdmin(tasks, { path, auth, logger: false });
      app.use(prefix ? mount(prefix, admin) : admin);
      const { url } = await open(app);
      const headers: Record<string, string> = https ? { 'X-Forwarded-Proto': 'https' } : {};
      const base = url + prefix + path;
      const login = await postForm(`${base}/auth/login`, { username: 'admin', password }, headers);
      const set = login.cookie?.split('=')[0];
      const { json } = await ask(`${base}/openapi.json`, {
        headers: { ...headers, Cookie: login.cookie ?? '' },
      });
      const { components, security } = json as Described;
      expect(set).toMatch(/taskflow|shop/);
      expect([components.securitySchemes.cookie?.name, security]).toEqual([
        set,
        [{ bearer: [] }, { cookie: [] }],
      ]);
    },
  );

  it('has the name that the login of the app gives', async () => {
    const app = new Koa();
    app.use(
      taskAdmin(tasks, {
        auth: { who: () => ({ name: 'ada', roles: ['admin'] }), cookieName: () => 'own' },
        logger: false,
      }),
    );
    const { url } = await open(app);
    const { components, security } = (await ask(`${url}/tasks/openapi.json`)).json as Described;
    expect([components.securitySchemes.cookie?.name, security]).toEqual([
      'own',
      [{ bearer: [] }, { cookie: [] }],
    ]);
  });

  it('is absent without a login, or if the login of the app names no cookie', async () => {
    for (const auth of [null, { who: () => ({ name: 'ada', roles: ['admin'] }) }]) {
      const app = new Koa();
      app.use(taskAdmin(tasks, { auth, logger: false }));
      const { url } = await open(app);
      const { components, security } = (await ask(`${url}/tasks/openapi.json`)).json as Described;
      expect([components.securitySchemes.cookie, security]).toEqual([undefined, [{ bearer: [] }]]);
    }
  });
});
