import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cached } from '../../../src/auth/strategies/cached.js';
import { database } from '../../../src/auth/strategies/database.js';
import { htpasswdFile } from '../../../src/auth/strategies/htpasswd.js';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import type { AuthStrategy } from '../../../src/auth/strategies/strategy.js';
import { postJson } from '../../helpers/client.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { entries, searchAt, service } from '../../helpers/directory.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { bcryptLine, hasHtpasswd } from '../../helpers/htpasswd.js';
import { serveLogin } from '../../helpers/login-app.js';
import { cheapHash } from '../../helpers/passwords.js';
import { type Relay, relay } from '../../helpers/relay.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';

/*
 * The time of a failed login must not reveal whether the name exists. So these tests compare what
 * a strategy asks its source for a known and for an unknown name. The user is ann with the password
 * `ann-secret`.
 */

const keep = closeAfterEach();
const [right, wrong] = ['ann-secret', 'wrong-secret'];

/** Returns a function that logs in and returns what the strategy asked its source meanwhile. */
async function logInTo(strategy: AuthStrategy, asked: string[]) {
  const app = keep(await serveLogin({ strategies: strategy, throttle: { floor: 0 } }));
  let failures = 0;
  return async (username: string, password: string) => {
    asked.length = 0;
    const { status } = await postJson(app.login, { username, password });
    // The log asks for the name in the background.
    if (status === 401) await app.log.logged('authn_login_fail', ++failures);
    return { status, asked: [...asked] };
  };
}

/** Checks that failed logins ask the same for each name, and that the right one asks for more. */
async function expectSame(strategy: AuthStrategy, asked: string[], source: readonly string[]) {
  const logIn = await logInTo(strategy, asked);
  for (const name of ['ann', 'ghost'])
    expect(await logIn(name, wrong)).toEqual({ status: 401, asked: source });
  const accepted = await logIn('ann', right);
  expect(accepted.status).toBe(200);
  // The groups or roles of the verdict, and those of `find_user`.
  expect(accepted.asked.length).toBeGreaterThan(source.length);
}

/** Makes a strategy for the users of a database, and the list of what it asks. */
function databaseOf(found: unknown) {
  const asked: string[] = [];
  const strategy = database(
    async (name) => {
      asked.push('find');
      return name === 'ann' ? (found as string) : undefined;
    },
    {
      async roles() {
        asked.push('roles');
        return ['viewer'];
      },
    },
  );
  return { strategy, asked };
}

describe('a failed login asks no more for a known name than for an unknown one', () => {
  it('of a database', async () => {
    const { strategy, asked } = databaseOf(cheapHash(right));
    await expectSame(strategy, asked, ['find', 'find', 'find']);
  });

  it.each([
    ['a hash that cannot be read', cheapHash(right).slice(0, 30)],
    ['a whole row', { id: 1, hash: cheapHash(right) }],
  ])('of a database that has %s', async (_what, found) => {
    const { strategy, asked } = databaseOf(found);
    const logIn = await logInTo(strategy, asked);
    for (const name of ['ann', 'ghost'])
      expect(await logIn(name, wrong)).toEqual({ status: 401, asked: ['find', 'find', 'find'] });
  });

  it('of a strategy that is cached', async () => {
    const { strategy, asked } = databaseOf(cheapHash(right));
    await expectSame(cached(strategy, { seconds: 600 }), asked, Array(4).fill('find'));
  });

  (hasHtpasswd ? it : it.skip)('of an htpasswd file', async () => {
    const folder = temporaryFolder();
    writeFileSync(folder.file('users'), `${bcryptLine('ann', right)}\n`);
    const asked: string[] = [];
    const roles = async () => {
      asked.push('roles');
      return ['viewer'];
    };
    await expectSame(htpasswdFile(folder.file('users'), { roles }), asked, []);
    folder.remove();
  });
});

const operations = new Map([
  [0x60, 'bind'],
  [0x63, 'search'],
]);

/** Returns the operation of a message of LDAP (RFC 4511 section 4.1.1). */
function operationOf(message: Buffer): string | undefined {
  const [, length = 0] = message;
  const id = 2 + (length < 0x80 ? 0 : length & 0x7f);
  return operations.get(message[id + 2 + (message[id + 1] ?? 0)] ?? 0);
}

(hasSlapd ? describe : describe.skip)('a failed login at a directory that answers slowly', () => {
  const asked: string[] = [];
  let slapd: Slapd;
  let slow: Relay;
  beforeAll(async () => {
    slapd = await Slapd.start({ entries });
    slow = await relay(
      () => slapd.port,
      (near, far) => {
        // A client sends one message, and waits for the answer.
        near.on('data', (message) => {
          const operation = operationOf(message);
          if (operation) asked.push(operation);
          far.write(message);
        });
        far.on('data', (answer) => setTimeout(() => near.writable && near.write(answer), 5));
      },
    );
  });
  afterAll(async () => {
    await slow?.close();
    await slapd?.remove();
  });

  const groups = { base: `ou=groups,${suffix}` };
  const find = ['bind', 'search', 'search'];
  it.each<[string, Partial<LdapOptions>]>([
    ['groups', { groups }],
    ['nested groups', { groups: { ...groups, nested: true } }],
  ])('asks no more for a known name than for an unknown one, with %s', async (_what, more) => {
    const roles = { map: { sre: 'operator' } };
    const url = `ldap://127.0.0.1:${slow.port}`;
    const strategy = ldap(searchAt(url, { ...more, roles }));
    await expectSame(strategy, asked, [...find, ...find, 'bind', ...find]);
  });

  it('asks the same for another spelling of a known name', async () => {
    const strategy = ldap({
      url: `ldap://127.0.0.1:${slow.port}`,
      groups,
      roles: { map: { sre: 'operator' } },
      search: {
        ...{ base: `ou=people,${suffix}`, filter: '(|(uid={username})(mail={username}))' },
        ...{ username: 'uid', ...service },
      },
    });
    const logIn = await logInTo(strategy, asked);
    for (const name of ['ANN', 'ann@corp.example', 'ghost@corp.example'])
      expect((await logIn(name, wrong)).asked).toEqual([...find, ...find, 'bind', ...find]);
  });
});
