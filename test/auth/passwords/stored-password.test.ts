import { describe, expect, it } from '@jest/globals';
import { hashPassword, storePassword } from '../../../src/auth/passwords/stored-password.js';
import { cheapHash } from '../../helpers/passwords.js';
import { startProcess } from '../../helpers/process.js';

describe('a configured password', () => {
  it('keeps its version across restarts and changes it with the password', async () => {
    const version = async (name: string, text: string): Promise<string> =>
      storePassword(name, text).version();
    const [one, again, changed, others] = await Promise.all([
      version('alice', 'secret'),
      version('alice', 'secret'),
      version('alice', 'Secret'),
      version('bob', 'secret'),
    ]);
    expect(again).toBe(one);
    expect(changed).not.toBe(one);
    expect(others).not.toBe(one);
  });

  it('is hashed before other waiting passwords when its user logs in', async () => {
    const order: string[] = [];
    const users = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      name,
      stored: storePassword(name, `password of ${name}`),
    }));
    for (const { name, stored } of users)
      void Promise.resolve(stored.version()).then(() => order.push(name));
    expect(await users.at(-1)?.stored.matches('password of e')).toBe(true);
    expect(order.slice(0, 4)).toContain('e');
  });

  it.each([
    ['composed', 'wrong caf\u00e9', 1],
    ['decomposed', 'wrong cafe\u0301', 2],
  ])(
    'takes as many checks as a hash if a wrong password has %s accents',
    async (_case, typed, checks) => {
      for (const stored of [
        storePassword('alice', 'secret'),
        storePassword('bob', cheapHash('secret')),
      ]) {
        const times: number[] = [];
        expect(await stored.matches(typed, { onTime: (ms) => times.push(ms) })).toBe(false);
        expect(times).toHaveLength(checks);
      }
    },
  );

  it('is removed from the memory of the process after it is hashed', async () => {
    // The password is joined from parts, so that the source of the program does not contain it.
    const program = `
      import { createReadStream, rmSync } from 'node:fs';
      import { writeHeapSnapshot } from 'node:v8';
      import { staticUser, multiUser, createAuth } from 'koa-taskflow/auth';
      const parts = ['Plain', 'Text', 'In', 'The', 'Heap'];
      let auth = createAuth({ strategies: staticUser('admin', parts.join('-')), logger: false });
      let more = multiUser([['bob', parts.join('-')]]);
      const { signal } = new AbortController();
      await more.authenticate_user('bob', 'x', { signal, ip: '', requestId: '' });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      globalThis.gc(); globalThis.gc();
      const file = writeHeapSnapshot(process.argv[1]);
      let found = 0, rest = '';
      for await (const chunk of createReadStream(file, 'utf8')) {
        const text = rest + chunk;
        found += text.split(parts.join('-')).length - 1;
        rest = text.slice(-30);
      }
      rmSync(file);
      // The search above joins the parts again, but only after the snapshot.
      console.log(typeof auth, typeof more, 'found', found);
    `;
    const child = startProcess(process.execPath, [
      '--expose-gc',
      '--input-type=module',
      '-e',
      program,
      `/tmp/koa-taskflow-heap-${process.pid}.heapsnapshot`,
    ]);
    expect([await child.ended, child.lines]).toEqual([0, ['object object found 0']]);
  });
});

describe('a configured password in the format of another system', () => {
  const hex = '5f4dcc3b5aa765d61d8327deb882cf99';
  it.each([
    ['LDAP {SHA}', '{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='],
    ['LDAP {SSHA}', '{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3'],
    ['LDAP in small letters', '{ssha512}abcdefghijklmnop'],
    ['LDAP {CRYPT}', '{CRYPT}$6$salt$hash'],
    ['Dovecot', '{SHA512-CRYPT}$6$salt$hash'],
    ['Dovecot in plain text', '{PLAIN}secret'],
    ['Spring Security', '{pbkdf2@SpringSecurity_v5_8}5d923b44a6d1'],
    ['Spring Security in plain text', '{noop}secret'],
    ['Django', 'pbkdf2_sha256$600000$salt$Zm9vYmFyYmF6cXV4'],
    ['Django with bcrypt', 'bcrypt_sha256$$2b$12$abcdefghijklmnopqrstuv'],
    ['Django with argon2', 'argon2$argon2id$v=19$m=102400,t=2,p=8$salt$hash'],
    ['Werkzeug with scrypt', 'scrypt:32768:8:1$salt$6c3f'],
    ['Werkzeug with PBKDF2', 'pbkdf2:sha256:600000$salt$6c3f'],
    ['PostgreSQL with SCRAM', 'SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5'],
    ['PostgreSQL with MD5', `md5${hex}`],
    ['MySQL', '*2470C0C06DEE42FD1618BBB99005ADCA2EC9D1E1'],
    ['ASP.NET Identity', `AQAAAAIAAYag${'A'.repeat(72)}`],
    ['a line of htpasswd', 'admin:$2y$05$abcdefghijklmnopqrstuv'],
    ['a line of htpasswd with SHA', 'admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='],
    ['a hash in quotation marks', '"$2b$12$abcdefghijklmnopqrstuv"'],
  ])('is rejected without being shown: %s', (_case, text) => {
    let message = '';
    try {
      storePassword('alice', text);
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError);
      message = String(error);
    }
    expect(message).toContain("password of 'alice'");
    expect(message).not.toContain(text.slice(-8));
  });

  it.each([
    ['DES crypt', 'rEK1ecacw.7.c'],
    ['MD5 in hexadecimal digits', hex],
    ['SHA-256 in hexadecimal digits', hex + hex],
  ])('is accepted with a warning if it may be a real password: %s', async (_case, text) => {
    const stored = storePassword('alice', text);
    expect(stored.weakness).toContain('shape');
    expect(await stored.matches(text)).toBe(true);
  });

  it.each([
    'correct horse battery staple',
    '{curly} braces',
    'scrypt: my favourite',
    'md5',
    'a:b',
    '*asterisk*',
    'pbkdf2',
    "it's $5",
  ])('is accepted without a warning if it is not a hash: %s', (text) => {
    expect(storePassword('alice', text).weakness).toBeUndefined();
  });
});

describe('hashPassword', () => {
  it('makes hashes that the configuration accepts, each with a new salt', async () => {
    const [one, two] = await Promise.all([hashPassword('pässword'), hashPassword('pässword')]);
    expect(one).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(two).not.toBe(one);
    const stored = storePassword('alice', one);
    expect(stored.weakness).toBeUndefined();
    expect(await stored.matches('pässword')).toBe(true);
    expect(await stored.matches('password')).toBe(false);
  });
});
