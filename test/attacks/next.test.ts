import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isSafeNext } from '../../src/auth/next.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, logIn, postForm } from '../helpers/client.js';
import { password } from '../helpers/passwords.js';
import { requestText, sendRaw } from '../helpers/raw.js';
import { nexts } from './corpus.js';

let app: AdminApp;
beforeAll(async () => {
  app = await serveAdmin({ throttle: false });
});
afterAll(() => app.close());

const home = '/tasks/dashboard';
const login = (): string => `${app.base}/auth/login`;
const long = [`/${'a'.repeat(2048)}`, `/${'a'.repeat(5000)}`];

describe('the next parameter', () => {
  it.each([...nexts.refuse, ...long])(
    'is ignored in the query and in the form if it is %j',
    async (next) => {
      const page = await ask(`${login()}?next=${encodeURIComponent(Buffer.from(next).toString())}`);
      expect([page.status, page.text.includes('name="next"')]).toEqual([200, false]);
      const answer = await postForm(login(), { username: 'admin', password, next });
      expect([answer.status, answer.headers.get('Location')]).toEqual([303, home]);
      const session = await logIn(app.base);
      const onwards = await ask(
        `${login()}?next=${encodeURIComponent(Buffer.from(next).toString())}`,
        { headers: session },
      );
      expect([onwards.status, onwards.headers.get('Location')]).toEqual([302, home]);
    },
  );

  it.each(nexts.accept)('is accepted if it is %j', async (next) => {
    expect(isSafeNext(next)).toBe(true);
    const answer = await postForm(login(), { username: 'admin', password, next });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, next]);
  });

  it('is ignored if it is given twice or as a list, and the form overrides the query', async () => {
    for (const query of ['next=/a&next=//evil.example', 'next[]=/a', 'next[0]=/a'])
      expect((await ask(`${login()}?${query}`)).text).not.toContain('name="next"');
    const body = new URLSearchParams({ username: 'admin', password });
    body.append('next', '/a');
    body.append('next', '//evil.example');
    expect((await ask(login(), { method: 'POST', body })).headers.get('Location')).toBe(home);
    const answer = await postForm(`${login()}?next=//evil.example`, {
      username: 'admin',
      password,
      next: '/reports',
    });
    expect(answer.headers.get('Location')).toBe('/reports');
  });

  it.each([
    '//evil.example/%2e%2e',
    'http://evil.example/tasks/dashboard',
    'https://evil.example/tasks/dashboard?x=1',
    '//evil.example/tasks/dashboard',
  ])('never names the host of a first request to %s', async (target) => {
    const { headers, status } = await sendRaw(app.url, requestText('GET', target));
    expect(headers.get('location') ?? '').not.toContain('evil');
    expect(status).toBeLessThan(500);
  });

  it('holds the requested page with its query, and is escaped in the form', async () => {
    const asked = '/tasks/dashboard?q="><script>&status=failed';
    const { headers } = await ask(app.url + asked);
    const next = encodeURIComponent('/tasks/dashboard?q=%22%3E%3Cscript%3E&status=failed');
    expect(headers.get('Location')).toBe(`/tasks/auth/login?next=${next}`);
    const page = await ask(app.url + String(headers.get('Location')));
    expect(page.text).not.toContain('<script>');
    expect(page.text).toContain('value="/tasks/dashboard?q=%22%3E%3Cscript%3E&amp;status=failed"');
  });
});
