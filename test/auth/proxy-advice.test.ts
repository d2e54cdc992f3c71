import { describe, expect, it } from '@jest/globals';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { postJson } from '../helpers/client.js';
import { closeAfterEach } from '../helpers/closing.js';
import { serveLogin } from '../helpers/login-app.js';

const keep = closeAfterEach();

/** Fails to sign in twice. Returns the URL of the app and the warnings about proxies. */
async function warningsOf(
  options: Partial<AuthOptions>,
  headers: Record<string, string>,
  koa: { proxy?: boolean; maxIpsCount?: number } = {},
) {
  const app = keep(await serveLogin({ throttle: { floor: 0 }, ...options }, koa));
  for (const _ of [1, 2]) {
    const body = { username: 'ann', password: 'wrong' };
    expect((await postJson(app.login, body, headers)).status).toBe(401);
  }
  const lines = app.log.lines.filter(({ msg }) => /app\.proxy/.test(String(msg)));
  return { url: app.url, lines };
}

const behind = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'app.example' };

describe('the login behind a proxy', () => {
  it.each([
    ['app.proxy is not set', {}, /^a request came with X-Forwarded-Proto/],
    ['app.maxIpsCount is not set', { proxy: true }, /^app\.proxy is set without app\.maxIpsCount/],
  ])('logs once that %s', async (_what, koa, message) => {
    const { lines } = await warningsOf({}, { ...behind, 'X-Forwarded-For': '203.0.113.7' }, koa);
    expect(lines).toMatchObject([
      { level: 40, event: 'sys_startup', msg: expect.stringMatching(message) },
    ]);
  });

  it('logs once that publicUrl differs from the URL of requests', async () => {
    const publicUrl = 'https://other.example';
    const koa = { proxy: true, maxIpsCount: 1 };
    const { lines } = await warningsOf({ publicUrl }, behind, koa);
    expect(lines).toMatchObject([
      { level: 40, mount: '/tasks', url: 'https://app.example', publicUrl },
    ]);
  });

  it.each([
    ['the right settings', { publicUrl: 'https://app.example' }, behind],
    [
      'a prefix',
      { publicUrl: 'https://app.example/ops' },
      { ...behind, 'X-Forwarded-Prefix': '/ops' },
    ],
    ['no publicUrl', {}, behind],
  ])('logs nothing with %s', async (_what, options, headers) => {
    const { lines } = await warningsOf(options, headers, { proxy: true, maxIpsCount: 1 });
    expect(lines).toEqual([]);
  });

  it('logs nothing without a proxy', async () => {
    expect((await warningsOf({}, {})).lines).toEqual([]);
  });
});
