import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { hashSync as argon2Hash } from '@node-rs/argon2';
import { createAuth } from '../../../src/auth/create-auth.js';
import { type HtpasswdOptions, htpasswdFile } from '../../../src/auth/strategies/htpasswd.js';
import type { AuthContext } from '../../../src/auth/strategies/strategy.js';
import { ask, logIn, postForm } from '../../helpers/client.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { bcryptLine, hasHtpasswd, htpasswd } from '../../helpers/htpasswd.js';
import { serveLogin } from '../../helpers/login-app.js';
import { recordingLogger } from '../../helpers/logs.js';
import { secretKey } from '../../helpers/passwords.js';
import { leastWork, quickest } from '../../helpers/quickest.js';
import { eventually, waitFor } from '../../helpers/wait.js';

const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };
const accepted = { ok: true, roles: [] };
const describeWithHtpasswd = hasHtpasswd ? describe : describe.skip;

let folder: ReturnType<typeof temporaryFolder>;
let file: string;
beforeEach(() => {
  folder = temporaryFolder();
  file = folder.file('users');
});
afterEach(() => {
  jest.restoreAllMocks();
  folder.remove();
});

/** Makes a strategy for a file, in a login that keeps its log lines. */
function follow(content: string | Buffer, options?: HtpasswdOptions) {
  writeFileSync(file, content);
  const strategy = htpasswdFile(file, options);
  const log = recordingLogger();
  createAuth({ strategies: strategy, secretKey, logger: log.logger });
  const signIn = (username: string, password: string) =>
    strategy.authenticate_user(username, password, context);
  const knows = (username: string) => strategy.find_user?.(username, context) !== undefined;
  const messages = () => log.lines.map(({ msg }) => String(msg));
  return { strategy, signIn, knows, log, messages };
}

/** Replaces the file as a deployment does: in one step. */
function replace(content: string): void {
  writeFileSync(`${file}.new`, content);
  renameSync(`${file}.new`, file);
}

describeWithHtpasswd('htpasswdFile', () => {
  it('signs in the users of a file that htpasswd wrote', async () => {
    htpasswd('-cbB', '-C', '4', file, 'ann', 'secret');
    htpasswd('-bB', '-C', '4', file, 'bob', 'other');
    const strategy = htpasswdFile(file);
    const signIn = (name: string, password: string) =>
      strategy.authenticate_user(name, password, context);
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    expect(await signIn('bob', 'other')).toEqual(accepted);
    for (const [name, password] of [
      ['ann', 'other'],
      ['Ann', 'secret'],
      ['mallory', 'secret'],
      ['ann', 'secret\0'],
      ['ann', ''],
    ] as const)
      expect(await signIn(name, password)).toBe(false);
    expect(strategy.find_user?.('mallory', context)).toBeUndefined();
  });

  it.each(['$2y$', '$2b$', '$2a$'])('accepts bcrypt hashes with the prefix %s', async (prefix) => {
    const { signIn } = follow(bcryptLine('ann', 'secret').replace('$2y$', prefix));
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    expect(await signIn('ann', 'wrong')).toBe(false);
  });

  it('accepts argon2id hashes', async () => {
    const hash = argon2Hash('secret', { memoryCost: 1024, timeCost: 2 });
    const { signIn } = follow(`ann:${hash}\n`);
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    expect(await signIn('ann', 'wrong')).toBe(false);
  });

  it.each([
    ['apr1', htpasswdLine('-m')],
    ['SHA-1', htpasswdLine('-s')],
    ['SHA-256 crypt', htpasswdLine('-2')],
    ['SHA-512 crypt', htpasswdLine('-5')],
    ['crypt', htpasswdLine('-d')],
    ['plain text', htpasswdLine('-p')],
    ['bcrypt of a faulty version', htpasswdLine('-B').replace('$2y$', '$2x$')],
    ['argon2i', `mallory:${argon2Hash('secret', { algorithm: 1, memoryCost: 1024 })}`],
    ['nothing', 'mallory:'],
    ['an incomplete bcrypt hash', htpasswdLine('-B').slice(0, -1)],
    ['a bcrypt hash that costs too much', htpasswdLine('-B').replace('$05$', '$31$')],
  ])('refuses only the user of a line with %s, and logs only its number', async (_kind, line) => {
    const { signIn, knows, log } = follow(`# users\n${line}\n${bcryptLine('ann', 'secret')}\n`);
    for (const password of ['secret', line.slice(8), ''])
      expect(await signIn('mallory', password)).toBe(false);
    expect(knows('mallory')).toBe(false);
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    const [refused] = log.lines.filter(({ lines }) => String(lines) === '2');
    expect(refused).toMatchObject({ file, count: 1, strategy: 'default' });
    expect(refused?.msg).toContain('their users cannot sign in; replace them with: htpasswd -B');
    expect(log.text()).not.toContain('mallory');
    if (line.length > 8) expect(log.text()).not.toContain(line.slice(8, 16));
  });

  it.each<[string, (line: string) => string | Buffer, string[]]>([
    ['lines that end with CR LF', (line) => `${line}\r\n`, []],
    ['no end of the last line', (line) => line, []],
    ['a byte order mark', (line) => `\ufeff${line}\n`, []],
    ['comments and blank lines', (line) => `# a: b\n\n  \t\n  # eve:x\n${line}\n#`, []],
    ['blanks after the hash', (line) => `${line} \t\n`, []],
    ['a blank before the hash', (line) => line.replace(':', ': '), []],
    ['a comment after the hash, as in a passwd file', (line) => `${line}:Ann Example:x\n`, []],
    ['a repeated name', (line) => `${line}\n${bcryptLine('ann', 'later')}\n`, ['repeated']],
    ['a repeated name without a hash', (line) => `${line}\nann:!\n`, ['repeated']],
    ['a name with a control character', (line) => `${line}\nev\u0007e:!\n`, ['printable']],
    ['a name that is not UTF-8', (line) => Buffer.from(`${line}\n\xe9:!\n`, 'latin1'), ['UTF-8']],
    ['a name that is too long', (line) => `${line}\n${'x'.repeat(257)}:!\n`, ['256']],
  ])('reads a file with %s', async (_what, content, warnings) => {
    const { signIn, messages } = follow(content(bcryptLine('ann', 'secret')));
    expect(await signIn('ann', 'secret')).toEqual(accepted);
    expect(await signIn('ann', 'later')).toBe(false);
    const others = messages().filter((text) => /htpasswd/.test(text) && !/weak/.test(text));
    expect(others).toEqual(warnings.map((word) => expect.stringContaining(word)));
  });

  it('takes blanks and further colons literally, as Apache does', async () => {
    const [, hash] = bcryptLine('x', 'secret').split(':');
    const { signIn } = follow(`ann smith:${hash}\n bob:${hash}\nmallory:admin:${hash}\n`);
    expect(await signIn('ann smith', 'secret')).toEqual(accepted);
    expect(await signIn(' bob', 'secret')).toEqual(accepted);
    for (const name of ['bob', 'ann', 'mallory', 'admin', 'mallory:admin'])
      expect(await signIn(name, 'secret')).toBe(false);
  });

  it('lets the first line of a name count, even if its hash is refused', async () => {
    const { signIn } = follow(`ann:!\n${bcryptLine('ann', 'secret')}\n`);
    expect(await signIn('ann', 'secret')).toBe(false);
  });

  it.each([
    ['is missing', undefined, /users" does not exist/],
    ['is empty', '', /has no users/],
    ['has only comments', '# ann\n', /has no users/],
    ['has a line without a colon', 'ann:!\nbob\n', /line 2 does not have the form name:hash/],
    ['has a line without a name', ':!\n', /line 1 does not have the form name:hash/],
    ['has zeros in place of lines', 'ann:!\n\0\0\0\0', /line 2 does not have the form name:hash/],
    ['ends within a hash', 'ann:!\nbob:$2y$05$abc', /line 2, the last one, is incomplete/],
    ['ends within the kind of a hash', 'bob:$argon2i', /line 1, the last one, is incomplete/],
    ['ends before a hash', 'bob:', /line 1, the last one, is incomplete/],
  ])('throws at the call if the file %s', (_what, content, message) => {
    if (content !== undefined) writeFileSync(file, content);
    expect(() => htpasswdFile(file)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(message), code: 'INVALID_INPUT' }),
    );
  });

  it('throws at the call for a folder and for wrong options', () => {
    expect(() => htpasswdFile(folder.path)).toThrow(/is a folder, not a file/);
    expect(() => htpasswdFile('')).toThrow(/htpasswdFile: path/);
    writeFileSync(file, 'ann:!\n');
    expect(() => htpasswdFile(file, { rolse: [] } as HtpasswdOptions)).toThrow(/roles/);
    expect(() => htpasswdFile(file, { roles: { from: 'groups', map: {} } })).toThrow(
      'roles.from is "groups"; it must be one of: username',
    );
  });

  it.each<[string, HtpasswdOptions['roles'], unknown, unknown]>([
    ['none', undefined, [], []],
    ['a list', ['viewer'], ['viewer'], ['viewer']],
    ['a table', { map: { ann: 'admin' }, otherwise: [] }, ['admin'], []],
    ['a table without the user', { map: { ann: 'admin' } }, ['admin'], undefined],
    ['a function', ({ username }) => [username], ['ann'], ['bob']],
    ['an async function', async ({ username }) => [username], ['ann'], ['bob']],
    ['a function that says no', ({ username }) => username === 'ann' && [], [], undefined],
  ])('gives the roles of %s', async (_rule, roles, ofAnn, ofBob) => {
    const { strategy, signIn } = follow(`${bcryptLine('ann', 'a')}\n${bcryptLine('bob', 'b')}\n`, {
      roles,
    });
    for (const [name, expected] of [
      ['ann', ofAnn],
      ['bob', ofBob],
    ] as const) {
      const verdict = expected ? { ok: true, roles: expected } : { ok: false, reason: 'no_role' };
      expect(await signIn(name, name.slice(0, 1))).toEqual(verdict);
      const known = await strategy.find_user?.(name, context);
      expect(known?.roles).toEqual(expected);
    }
  });

  it('does as much work for an unknown and a refused name as for a known one', async () => {
    const hash = (rounds: string) => htpasswd('-nbB', '-C', rounds, 'ann', 'x').trim().slice(4);
    const { signIn } = follow(`ann:${hash('9')}\nmallory:!\n`);
    const workFor = (name: string) => leastWork(() => signIn(name, 'wrong'));
    const [known, unknown, refused] = [
      await workFor('ann'),
      await workFor('nobody'),
      await workFor('mallory'),
    ];
    expect(unknown).toBeGreaterThan(known / 4);
    expect(refused).toBeGreaterThan(known / 4);
  });

  it('shows no hash if it is printed', () => {
    const { strategy } = follow(bcryptLine('ann', 'secret'));
    const depth = Number.POSITIVE_INFINITY;
    expect(inspect(strategy, { depth, showHidden: true })).not.toContain('$2y$');
    expect(JSON.stringify(strategy)).not.toContain('$2y$');
  });
});

describeWithHtpasswd('a change of an htpasswd file', () => {
  const ann = bcryptLine('ann', 'secret');

  it('is noticed within a second if the file is replaced', async () => {
    const { knows, signIn, messages } = follow(`${ann}\n`);
    const bob = bcryptLine('bob', 'other');
    const delay = await quickest(1000, async () => {
      const [next, name] = knows('bob') ? [ann, 'ann'] : [bob, 'bob'];
      replace(`${next}\n`);
      await eventually(async () =>
        expect([knows('ann'), knows('bob')]).toEqual([name === 'ann', name === 'bob']),
      );
    });
    expect(delay).toBeLessThan(1000);
    expect(await signIn('ann', 'secret')).toEqual(knows('ann') && accepted);
    expect(await signIn('bob', 'other')).toEqual(knows('bob') && accepted);
    expect(messages()).toContain('the htpasswd file was read again');
  });

  it('is noticed if htpasswd writes the file', async () => {
    const { knows } = follow(`${ann}\n`);
    htpasswd('-bB', '-C', '4', file, 'bob', 'other');
    await eventually(async () => expect(knows('bob')).toBe(true));
    htpasswd('-D', file, 'ann');
    await eventually(async () => expect(!knows('ann')).toBe(true));
  });

  it('is noticed if Kubernetes swaps the symbolic link of the volume', async () => {
    for (const [version, line] of [
      ['1', ann],
      ['2', bcryptLine('bob', 'other')],
    ] as const) {
      mkdirSync(folder.file(`..${version}`));
      writeFileSync(folder.file(`..${version}/users`), `${line}\n`);
    }
    symlinkSync('..1', folder.file('..data'));
    symlinkSync('..data/users', file);
    const strategy = htpasswdFile(file);
    const knows = (name: string) => strategy.find_user?.(name, context) !== undefined;
    expect(knows('ann')).toBe(true);
    symlinkSync('..2', folder.file('..data_tmp'));
    renameSync(folder.file('..data_tmp'), folder.file('..data'));
    rmSync(folder.file('..1'), { recursive: true });
    await eventually(async () => expect(knows('bob') && !knows('ann')).toBe(true));
  });

  it.each([
    ['is emptied', () => writeFileSync(file, ''), 'it has no users'],
    ['is cut off', () => replace(ann.slice(0, -20)), 'line 1, the last one, is incomplete'],
    ['is damaged', () => replace(`${ann}\n\0\0\n`), 'line 2 does not have the form name:hash'],
    ['is deleted', () => rmSync(file), 'does not exist'],
  ])('keeps the last users if the file %s, and logs that once', async (_what, act, why) => {
    const { knows, log, signIn } = follow(`${ann}\n`);
    const failed = 'the htpasswd file cannot be used, so its last valid content still counts';
    const errors = () => log.lines.filter(({ msg }) => msg === failed);
    act();
    await eventually(async () => {
      expect(knows('ann')).toBe(true);
      expect(errors()).toHaveLength(1);
    });
    const reason = expect.stringContaining(why);
    expect(errors()).toMatchObject([{ level: 50, file, reason }]);
    expect(await signIn('ann', 'secret')).toMatchObject({ ok: true });
    replace(`${bcryptLine('bob', 'other')}\n`);
    await eventually(async () => expect(knows('bob')).toBe(true));
    await waitFor(() =>
      log.lines.find(
        ({ level, msg }) => level === 30 && msg === 'the htpasswd file can be used again',
      ),
    );
    expect(errors()).toHaveLength(1);
  });

  it('refuses a user whose hash was replaced with another text', async () => {
    const { knows } = follow(`${ann}\n`);
    replace('ann:!\n');
    await eventually(async () => expect(!knows('ann')).toBe(true));
  });

  it('ends the sessions of removed users and of users with a new hash', async () => {
    const [bob, carol] = [bcryptLine('bob', 'secret'), bcryptLine('carol', 'secret')];
    writeFileSync(file, [ann, bob, carol].join('\n'));
    const app = await serveLogin({ strategies: htpasswdFile(file), throttle: false });
    const sessions: { cookie: string }[] = [];
    for (const name of ['ann', 'bob', 'carol'])
      sessions.push(await logIn(app.base, name, 'secret'));
    const names = async () => {
      const answers = sessions.map((headers) => ask(app.url, { headers }));
      return (await Promise.all(answers)).map(({ json }) => (json as { name: unknown }).name);
    };
    expect(await names()).toEqual(['ann', 'bob', 'carol']);
    const bobAgain = htpasswd('-nbB', '-C', '4', 'bob', 'secret').trim();
    replace([bobAgain, carol].join('\n'));
    await eventually(async () => expect(await names()).toEqual([null, null, 'carol']));
    const answer = await postForm(app.login, { username: 'ann', password: 'secret' });
    expect(answer.status).toBe(401);
    await app.close();
  });
});

/** Returns the line of the user mallory with a hash of one kind. */
function htpasswdLine(kind: string): string {
  return hasHtpasswd ? htpasswd('-nb', kind, 'mallory', 'secret').trim() : '';
}
