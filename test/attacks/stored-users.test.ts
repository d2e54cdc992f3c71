import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { hashSync } from '@node-rs/bcrypt';
import { database, type FindDatabaseUser } from '../../src/auth/strategies/database.js';
import { htpasswdFile } from '../../src/auth/strategies/htpasswd.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { postJson } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { foundByMistake, htpasswdLines } from './corpus.js';

const hash = hashSync('secret', 4);

/** Puts the hash in place of the text `HASH`, at any depth. */
function withHash(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('HASH', hash);
  if (Array.isArray(value)) return value.map(withHash);
  if (typeof value !== 'object' || value === null || value instanceof Error) return value;
  if (value instanceof Map) return new Map([...value].map(([key, of]) => [key, withHash(of)]));
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, withHash(of)]));
}

const folder = temporaryFolder();
const file = folder.file('users');
let app: LoginApp;
beforeAll(async () => {
  const lines = [...new Set(htpasswdLines.map(([line]) => line.replaceAll('HASH', hash)))];
  writeFileSync(file, `${lines.join('\n')}\nright:${hash}\n`);
  const find = (name: string): unknown =>
    name === 'right' ? { hash } : withHash(foundByMistake[Number(name)]?.[0]);
  app = await serveLogin({
    strategies: new StrategyRegistry()
      .register('file', htpasswdFile(file))
      .register('table', database(find as FindDatabaseUser)),
    throttle: false,
  });
});
afterAll(async () => {
  await app.close();
  folder.remove();
});

const signIn = (strategy: string, username: string, password: string) =>
  postJson(app.login, { strategy, username, password });

describe('users of a file and of a database', () => {
  it.each(['file', 'table'])('can sign in: %s', async (strategy) => {
    expect((await signIn(strategy, 'right', 'secret')).status).toBe(200);
  });

  it.each(htpasswdLines.map(([line, ...typed]) => [JSON.stringify(line), ...typed] as const))(
    'cannot sign in with the line %s as %j with %j',
    async (_line, username, password) => {
      const answer = await signIn('file', username, password.replace('HASH', hash));
      expect([400, 401]).toContain(answer.status);
    },
  );

  it.each(
    foundByMistake.map(([found, password], n) => [JSON.stringify(found), n, password] as const),
  )('cannot sign in if find returns %s', async (_found, n, password) => {
    const answer = await signIn('table', String(n), password.replace('HASH', hash));
    expect([400, 401]).toContain(answer.status);
  });

  it('appear in no log line with their hash or password', () => {
    const salt = hash.slice(0, 29);
    expect(app.log.text()).not.toContain(salt);
    expect(app.log.text()).not.toContain('secret');
    expect(readFileSync(file, 'utf8')).toContain(salt);
  });
});
