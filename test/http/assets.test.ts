import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { taskAdmin } from '../../src/admin.js';
import { TaskManager } from '../../src/manager.js';
import { serve } from '../helpers/serve.js';

const manifest = JSON.parse(
  readFileSync(new URL('../../public/assets/manifest.json', import.meta.url), 'utf8'),
) as Record<string, string>;
const file = Object.values(manifest)[0] ?? '';

describe.each(['/tasks/dashboard/assets', '/tasks/auth/assets'])(
  'a built file under %s',
  (path) => {
    const tasks = new TaskManager({ database: ':memory:', logger: false });
    let server: Awaited<ReturnType<typeof serve>>;
    beforeAll(async () => {
      const app = new Koa();
      app.use(taskAdmin(tasks, { auth: ['admin', 'a long password 1'], logger: false }));
      server = await serve(app);
    });
    afterAll(async () => {
      await server.close();
      await tasks.stop({ timeout: 0 });
    });
    const ask = (headers: Record<string, string>, method = 'GET') =>
      fetch(`${server.url}${path}/${file}`, { method, headers });

    it.each([
      ['its ETag', (etag: string) => ({ 'if-none-match': etag }), 304],
      ['its ETag as a weak one', (etag: string) => ({ 'if-none-match': `W/${etag}` }), 304],
      [
        'its ETag among others',
        (etag: string) => ({ 'if-none-match': `"x", W/"y", ${etag}` }),
        304,
      ],
      ['any ETag', () => ({ 'if-none-match': '*' }), 304],
      ['another ETag', () => ({ 'if-none-match': '"x"' }), 200],
      [
        'another ETag and its date',
        (_etag: string, date: string) => ({ 'if-none-match': '"x"', 'if-modified-since': date }),
        200,
      ],
      ['its date', (_etag: string, date: string) => ({ 'if-modified-since': date }), 304],
      ['an earlier date', () => ({ 'if-modified-since': 'Thu, 01 Jan 1998 00:00:00 GMT' }), 200],
      ['no condition', () => ({}), 200],
    ] as const)(
      'is sent only if necessary to a request with %s',
      async (_condition, headersOf, status) => {
        const whole = await ask({});
        const body = await whole.text();
        const headers = headersOf(
          whole.headers.get('etag') ?? '',
          whole.headers.get('last-modified') ?? '',
        );
        for (const method of ['GET', 'HEAD']) {
          const answer = await ask({ ...headers, 'cache-control': 'max-age=0' }, method);
          expect([method, answer.status, (await answer.text()).length]).toEqual([
            method,
            status,
            status === 200 && method === 'GET' ? body.length : 0,
          ]);
          for (const name of [
            'etag',
            'last-modified',
            'cache-control',
            'x-content-type-options',
            'referrer-policy',
            'cross-origin-resource-policy',
          ])
            expect([name, answer.headers.get(name)]).toEqual([name, whole.headers.get(name)]);
          expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
        }
      },
    );
  },
);
