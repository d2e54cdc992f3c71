import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Router from '@koa/router';
import Koa, { type Middleware } from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { requireAuth } from '../../src/auth/require-auth.js';
import { sessionOf, sessionToken } from '../../src/auth/session-token.js';
import { ask, logIn, postForm } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Served, serve } from '../helpers/serve.js';

let served: Served;
let unguarded: Served;

beforeAll(async () => {
  const auth = createAuth({
    strategies: [
      ['admin', cheapHash(password)],
      ['vera', cheapHash('three'), { roles: ['viewer', 'audits'] }],
    ],
    secretKey,
    logger: false,
  });
  const router = new Router();
  router.get('/reports', requireAuth('redirect'), (ctx) => {
    ctx.body = sessionOf(ctx).username;
  });
  router.get('/api/reports', requireAuth('401'), (ctx) => {
    ctx.body = { by: sessionOf(ctx).username };
  });
  router.post('/api/reports', requireAuth('401', { role: 'operator' }), (ctx) => {
    ctx.body = { by: sessionOf(ctx).username };
  });
  router.get('/audits', requireAuth('401', { role: 'audits' }), (ctx) => {
    ctx.body = 'seen';
  });
  const app = new Koa();
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use(router.routes() as unknown as Middleware);
  served = await serve(app);

  const forgotten = new Koa();
  forgotten.silent = true;
  forgotten.use(requireAuth('401'));
  forgotten.use((ctx) => {
    ctx.body = password;
  });
  unguarded = await serve(forgotten);
});
afterAll(() => Promise.all([served.close(), unguarded.close()]));

describe('requireAuth', () => {
  it("sends nobody to the login page, with the way back, in mode 'redirect'", async () => {
    const answer = await ask(`${served.url}/reports?from=2026`);
    expect([answer.status, answer.headers.get('Location')]).toEqual([302, '/tasks/auth/login?next=%2Freports%3Ffrom%3D2026']);
  });

  it('leads back to the page after the login', async () => {
    const answer = await postForm(`${served.url}/tasks/auth/login`, { username: 'admin', password, next: '/reports?from=2026' });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/reports?from=2026']);
    expect((await ask(`${served.url}/reports`, { headers: { cookie: answer.cookie ?? '' } })).text).toBe('admin');
  });

  it("answers nobody with 401 in JSON in mode '401', never with a page", async () => {
    const answer = await ask(`${served.url}/api/reports`, { headers: { Accept: 'text/html' } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('Content-Type')).toContain('application/problem+json');
    expect(answer.headers.get('WWW-Authenticate')).toBe('Bearer realm="koa-taskflow"');
    expect(answer.json).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });

  it('says so when a token was sent and is not valid', async () => {
    const answer = await ask(`${served.url}/api/reports`, { headers: { Authorization: 'Bearer x.y.z' } });
    expect(answer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
  });

  it('refuses a session without the role with 403', async () => {
    const viewer = await logIn(`${served.url}/tasks`, 'vera', 'three');
    const answer = await ask(`${served.url}/api/reports`, { method: 'POST', headers: viewer });
    expect([answer.status, (answer.json as { code: string }).code]).toEqual([403, 'FORBIDDEN']);
    expect((await ask(`${served.url}/api/reports`, { headers: viewer })).status).toBe(200);
  });

  it('matches a role that is not of the ladder exactly', async () => {
    const viewer = await logIn(`${served.url}/tasks`, 'vera', 'three');
    const admin = await logIn(`${served.url}/tasks`);
    expect((await ask(`${served.url}/audits`, { headers: viewer })).status).toBe(200);
    expect((await ask(`${served.url}/audits`, { headers: admin })).status).toBe(403);
  });

  it('refuses what another site makes the browser send with its cookie', async () => {
    const admin = await logIn(`${served.url}/tasks`);
    const from = (site: string) => ask(`${served.url}/api/reports`, { method: 'POST', headers: { ...admin, 'Sec-Fetch-Site': site } });
    expect((await from('cross-site')).json).toMatchObject({ status: 403, code: 'CROSS_ORIGIN' });
    expect((await from('same-origin')).status).toBe(200);
  });

  it('answers 500 to everybody when sessionToken does not stand before it', async () => {
    const answer = await ask(unguarded.url);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain(password);
  });

  it('refuses a mode or an option that there is not', () => {
    expect(() => requireAuth('403' as '401')).toThrow(/'redirect' or '401'/);
    expect(() => requireAuth('401', { roles: 'x' } as object)).toThrow(/no option 'roles'/);
  });
});
