import { afterEach, describe, expect, it } from '@jest/globals';
import type { Context } from 'koa';
import type { Access } from '../../src/http/access.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, postJson } from '../helpers/client.js';

let app: AdminApp;
afterEach(() => app.close());

const ada = { name: 'ada', roles: ['admin'], ambient: false };
const serveOwn = async (own: Partial<Access>): Promise<void> => {
  app = await serveAdmin({ auth: { who: () => ada, ...own } });
};
const failing = (error: Error) => (): never => {
  throw error;
};
const exposed = (status: number, message: string, more: object = {}) =>
  failing(Object.assign(new Error(message), { status, expose: true, ...more }));
const refuse = (ctx: Context): never => ctx.throw(403, 'Employees only');

describe('an error that the login of the app throws', () => {
  it.each<[string, Partial<Access>, string]>([
    ['who', { who: refuse }, ''],
    ['who, on the stream', { who: refuse }, '/dashboard/stream'],
    ['ended', { ended: refuse }, '/dashboard/stream'],
    ['audit', { audit: async () => exposed(403, 'Employees only')() }, '/audit'],
    ['cookieName', { cookieName: refuse }, '/openapi.json'],
  ])('is answered with its status and message: %s', async (_case, own, path) => {
    await serveOwn(own);
    const { status, headers, json } = await ask(`${app.base}${path}`);
    expect(headers.get('Content-Type')).toMatch('application/problem+json');
    const problem = { status: 403, code: 'FORBIDDEN', detail: 'Employees only' };
    expect([status, json]).toEqual([403, expect.objectContaining(problem)]);
    expect(app.log.lines.filter(({ msg }) => msg === 'request failed')).toEqual([]);
  });

  it.each<[string, Partial<Access>]>([
    ['loginUrl', { who: () => undefined, loginUrl: refuse }],
    ['logoutUrl', { logoutUrl: refuse }],
  ])('is shown on a page: %s', async (_case, own) => {
    await serveOwn(own);
    const { status, text } = await ask(`${app.base}/dashboard`);
    expect([status, text]).toEqual([403, expect.stringContaining('Employees only')]);
  });

  it.each([
    [400, 'INVALID_INPUT'],
    [401, 'UNAUTHENTICATED'],
    [404, 'NOT_FOUND'],
    [413, 'PAYLOAD_TOO_LARGE'],
    [415, 'UNSUPPORTED_MEDIA_TYPE'],
    [429, 'THROTTLED'],
    [409, 'REFUSED_BY_APP'],
    [418, 'REFUSED_BY_APP'],
    [423, 'REFUSED_BY_APP'],
  ])('keeps the status %s with the code %s', async (status, code) => {
    await serveOwn({ who: exposed(status, 'No') });
    const { json } = await ask(app.base);
    expect(json).toMatchObject({ status, code, detail: 'No' });
  });

  it('keeps its headers, except the type of the response', async () => {
    const headers = { 'Retry-After': '7', 'Content-Type': 'text/plain' };
    await serveOwn({ who: exposed(429, 'Later', { headers }) });
    const answer = await ask(app.base);
    expect(answer.headers.get('Retry-After')).toBe('7');
    expect(answer.headers.get('Content-Type')).toMatch('application/problem+json');
  });

  it('leaves out headers that cannot be sent', async () => {
    const headers = { 'X-Line': 'two\nlines', 'X-None': undefined, 'no name': '1', 'X-Good': '1' };
    await serveOwn({ who: exposed(403, 'No', { headers }) });
    const answer = await ask(app.base);
    expect([answer.status, answer.headers.get('X-Good')]).toEqual([403, '1']);
    expect(answer.headers.get('Content-Type')).toMatch('application/problem+json');
  });

  it.each<[string, () => never]>([
    ['a plain error', failing(new Error('secret host'))],
    ['not exposed', exposed(403, 'secret host', { expose: false })],
    ['a status of 5xx', exposed(502, 'secret host')],
    ['an unknown status', exposed(499, 'secret host')],
    ['a status that is no number', exposed(0, 'secret host', { status: '403' })],
  ])(
    'is 503 from who and 500 from other methods, without its message: %s',
    async (_case, thrown) => {
      await serveOwn({ who: (ctx) => (ctx.query.fails === 'who' ? thrown() : ada), ended: thrown });
      for (const [path, expected] of [
        ['?fails=who', 503],
        ['/dashboard/stream', 500],
      ] as const) {
        const { status, text } = await ask(`${app.base}${path}`);
        expect([path, status, text.includes('secret')]).toEqual([path, expected, false]);
      }
    },
  );
});

describe('an error of a body parser of the app that parses on demand', () => {
  it('is answered with its status, and recorded as a refused command', async () => {
    await serveOwn({
      who(ctx) {
        const get = () => ctx.throw(413, 'At most 1 kB here');
        Object.defineProperty(ctx.request, 'body', { get });
        return ada;
      },
    });
    const { json } = await postJson(`${app.base}/bulk`, { action: 'cancel', ids: [] });
    expect(json).toMatchObject({ status: 413, code: 'PAYLOAD_TOO_LARGE' });
    expect(app.log.events('authz_admin')).toMatchObject([
      { outcome: 'refused', code: 'PAYLOAD_TOO_LARGE' },
    ]);
  });
});
