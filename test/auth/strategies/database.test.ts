import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { hashSync as argon2Hash } from '@node-rs/argon2';
import {
  type DatabaseOptions,
  database,
  type FindDatabaseUser,
} from '../../../src/auth/strategies/database.js';
import type { AuthContext } from '../../../src/auth/strategies/strategy.js';
import { DatabaseSync } from '../../../src/engines/embedded/sqlite.js';
import { ask, logIn, postForm } from '../../helpers/client.js';
import { steadyClock } from '../../helpers/clock.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { type LoginApp, serveLogin } from '../../helpers/login-app.js';
import { cheapHash, scryptHash } from '../../helpers/passwords.js';
import { leastWork } from '../../helpers/quickest.js';
import { eventually } from '../../helpers/wait.js';

const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };
const hash = cheapHash('secret');

/** Makes a strategy whose database has only the user ann. */
function withAnn(found: unknown, options?: DatabaseOptions) {
  const find = ((name: string) => (name === 'ann' ? found : undefined)) as FindDatabaseUser;
  const strategy = database(find, options);
  return {
    signIn: async (username: string, password: string) =>
      strategy.authenticate_user(username, password, context),
    known: async (username: string) => strategy.find_user?.(username, context),
  };
}

const accepted = { ok: true, username: 'ann', roles: [] };

describe('database', () => {
  it.each<[string, unknown]>([
    ['a hash', hash],
    ['an object with a hash', { hash }],
    ['an object without a prototype', Object.assign(Object.create(null), { hash })],
    ['a promise', Promise.resolve({ hash })],
    // biome-ignore lint/suspicious/noThenProperty: a query builder has such a method
    ['another thenable', { then: (done: (found: string) => void) => done(hash) }],
    ['an argon2id hash', argon2Hash('secret', { memoryCost: 1024 })],
  ])('signs in a user if find returns %s', async (_what, found) => {
    const { signIn, known } = withAnn(found);
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    expect(await signIn('ann', 'wrong')).toBe(false);
    expect(await signIn('eve', 'secret')).toBe(false);
    expect(await known('ann')).toEqual({ version: expect.any(String), roles: [] });
    expect(await known('eve')).toBeUndefined();
  });

  it.each([undefined, null])('rejects a name for which find returns %s', async (found) => {
    const { signIn, known } = withAnn(found);
    expect(await signIn('ann', 'secret')).toBe(false);
    expect(await known('ann')).toBeUndefined();
  });

  it.each<[string, unknown, RegExp]>([
    ['a whole row', { id: 1, hash, email: 'a' }, /an object with id, email; it must return a hash/],
    ['a row without a hash', { password_hash: hash }, /an object with password_hash/],
    ['a list of rows', [{ hash }], /an array of length 1/],
    ['an empty object', {}, /an object whose hash is undefined/],
    ['a user without a password', { hash: null }, /an object whose hash is null/],
    ['a hash that is a number', { hash: 73216 }, /an object whose hash is a number/],
    ['a number', 73216, /find returned a number/],
    ['a boolean', true, /find returned true/],
    ['bytes', Buffer.from(hash), /an object with 0, 1, 2/],
    ['an empty text', '', /a text that is not a supported hash/],
    ['a plain password', 'secret', /a text that is not a supported hash/],
    ['a hash of another system', '{SSHA}c2VjcmV0', /a text that is not a supported hash/],
    ['an incomplete hash', hash.slice(0, 30), /a text that is not a supported hash/],
    ['a hash that costs too much', hash.replace('ln=4', 'ln=20,r=64'), /supported hash/],
    ['a bcrypt hash that costs too much', `$2b$17$${'a'.repeat(53)}`, /cost from 4 to 16/],
    ['a name that is empty', { hash, username: '' }, /a username that is not 1 to 256/],
    ['roles that are a text', { hash, roles: 'admin' }, /roles that are not a list/],
  ])('fails if find returns %s, and shows no value', async (_what, found, message) => {
    const { signIn, known } = withAnn(found);
    for (const failed of [signIn('ann', 'secret'), known('ann')])
      await expect(failed).rejects.toThrow(
        expect.objectContaining({
          message: expect.stringMatching(message),
        }),
      );
    const error: unknown = await signIn('ann', 'secret').catch((reason) => reason);
    for (const secret of ['secret', '73216', hash.slice(0, 30)])
      expect(String(error)).not.toContain(secret);
  });

  it('fails if find throws or rejects', async () => {
    for (const find of [
      () => {
        throw new Error('no connection');
      },
      () => Promise.reject(new Error('no connection')),
    ]) {
      const strategy = database(find);
      const signsIn = Promise.resolve(strategy.authenticate_user('ann', 'secret', context));
      await expect(signsIn).rejects.toThrow('no connection');
    }
  });

  it.each<[string, unknown, DatabaseOptions['roles'], unknown]>([
    ['none', { hash }, undefined, []],
    ['the option', { hash }, ['viewer'], ['viewer']],
    ['a table of names', { hash }, { map: { ann: 'operator' } }, ['operator']],
    ['a function', { hash }, async ({ username }) => [username], ['ann']],
    ['the user, before those of the option', { hash, roles: ['admin'] }, ['viewer'], ['admin']],
    ['a table without the user', { hash }, { map: { bob: 'admin' } }, undefined],
  ])('gives the roles of %s', async (_rule, found, roles, expected) => {
    const { signIn, known } = withAnn(found, { roles });
    const verdict = expected ? { ...accepted, roles: expected } : { ok: false, reason: 'no_role' };
    expect(await signIn('ann', 'secret')).toEqual(verdict);
    expect((await known('ann'))?.roles).toEqual(expected);
  });

  it('passes the signal of the attempt to find', async () => {
    const signals: AbortSignal[] = [];
    const strategy = database((_name, { signal }) => void signals.push(signal));
    await strategy.authenticate_user('ann', 'secret', context);
    await strategy.find_user?.('ann', context);
    expect(signals).toEqual([context.signal, context.signal]);
  });

  it('does as much work for an unknown name as for the costliest known hash', async () => {
    const users = new Map([
      ['ann', scryptHash('secret', { ln: 13, r: 8, p: 1 })],
      ['bob', hash],
    ]);
    const strategy = database((name) => users.get(name));
    const workFor = (name: string, tries?: number) =>
      leastWork(() => strategy.authenticate_user(name, 'wrong', context), tries);
    const beforeTheFirst = await workFor('unknown', 1);
    const known = await workFor('ann');
    expect(beforeTheFirst).toBeGreaterThan(known / 4);
    await strategy.authenticate_user('bob', 'wrong', context);
    expect(await workFor('unknown')).toBeGreaterThan(known / 4);
  });

  it('does as much work for a user whose hash cannot be read', async () => {
    const ann = scryptHash('secret', { ln: 13, r: 8, p: 1 });
    const users = new Map([
      ['ann', ann],
      ['bob', ann.slice(0, 30)],
    ]);
    const strategy = database((name) => users.get(name));
    const workFor = (name: string) =>
      leastWork(() => strategy.authenticate_user(name, 'wrong', context));
    const known = await workFor('ann');
    const work = await leastWork(async () => {
      const signsIn = Promise.resolve(strategy.authenticate_user('bob', 'wrong', context));
      await expect(signsIn).rejects.toThrow('a text that is not a supported hash');
    });
    expect(work).toBeGreaterThan(known / 4);
  });

  it('takes less time for an unknown name if the database has only cheap hashes', async () => {
    const strategy = database((name) => (name === 'ann' ? hash : undefined));
    const workFor = (name: string, tries?: number) =>
      leastWork(() => strategy.authenticate_user(name, 'wrong', context), tries);
    const beforeTheFirst = await workFor('unknown', 1);
    await strategy.authenticate_user('ann', 'wrong', context);
    expect(await workFor('unknown')).toBeLessThan(beforeTheFirst / 4);
  });

  it.each([
    ['no function', undefined, undefined, /database: find/],
    ['an unknown option', () => undefined, { rolse: [] }, /rolse/],
    ['roles as text', () => undefined, { roles: 'admin' }, /roles/],
    ['another list', () => undefined, { roles: { from: 'groups', map: {} } }, /username/],
  ])('throws at the call for %s', (_what, find, options, message) => {
    expect(() => database(find as FindDatabaseUser, options as DatabaseOptions)).toThrow(message);
  });
});

describe('a login with users of a database', () => {
  let app: LoginApp | undefined;
  afterEach(() => {
    jest.restoreAllMocks();
    return app?.close();
  });

  it('follows the rows, uses the canonical name, and logs wrong rows without a value', async () => {
    const folder = temporaryFolder();
    const sql = new DatabaseSync(folder.file('users.db'));
    sql.exec('CREATE TABLE users (name TEXT PRIMARY KEY COLLATE NOCASE, hash TEXT, role TEXT)');
    const insert = sql.prepare('INSERT INTO users VALUES (?, ?, ?)');
    for (const name of ['Ann', 'Bob']) insert.run(name, hash, 'operator');
    const select = sql.prepare('SELECT * FROM users WHERE name = ?');
    const strategy = database(async (typed) => {
      const row = select.get(typed) as { name: string; hash: string; role: string } | undefined;
      if (typed === 'row') return { id: 1, hash } as { hash: string };
      return row && { hash: row.hash, username: row.name, roles: [row.role] };
    });
    app = await serveLogin({ strategies: strategy, throttle: false });
    const { log, login, base, url } = app;
    const ann = await logIn(base, 'ann', 'secret');
    const bob = await logIn(base, 'BOB', 'secret');
    const names = async () =>
      (await Promise.all([ann, bob].map((headers) => ask(url, { headers })))).map(
        ({ json }) => json,
      );
    expect(await names()).toEqual([{ name: 'Ann' }, { name: 'Bob' }]);
    const answer = await postForm(login, { username: 'row', password: 'secret' });
    expect(answer.status).toBe(401);
    expect(log.events('authn_strategy_error')[0]).toMatchObject({
      err: { message: expect.stringContaining('find returned an object with id') },
    });
    sql.prepare('UPDATE users SET hash = ? WHERE name = ?').run(cheapHash('new'), 'Ann');
    sql.exec("DELETE FROM users WHERE name = 'Bob'");
    steadyClock().pass(30);
    await eventually(async () => expect(await names()).toEqual([{ name: null }, { name: null }]));
    expect(await logIn(base, 'ann', 'new')).toBeDefined();
    sql.close();
    folder.remove();
  });
});
