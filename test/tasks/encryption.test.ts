import { describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../src/manager.js';
import { createCipher } from '../../src/tasks/encryption.js';
import { openBeside } from '../helpers/beside.js';
import { temporaryFolder } from '../helpers/folder.js';
import { waitFor } from '../helpers/wait.js';

const [older, newer] = ['an older key 0123456789 abcdefghij', 'a newer key 9876543210 abcdefghij'];

describe('a cipher', () => {
  it('decrypts its own texts, and encrypts equal texts differently', () => {
    const { encrypt, decrypt } = createCipher([newer]);
    const [one, two] = [encrypt('["rosebud"]', 'a'), encrypt('["rosebud"]', 'a')];
    expect(one).not.toBe(two);
    expect(one).not.toContain('rosebud');
    expect([decrypt(one, 'a'), decrypt(two, 'a')]).toEqual(['["rosebud"]', '["rosebud"]']);
  });

  it('decrypts texts of an older key in the list, and names a missing key', () => {
    const encrypted = createCipher([older]).encrypt('[1]', 'a');
    expect(createCipher([newer, older]).decrypt(encrypted, 'a')).toBe('[1]');
    expect(() => createCipher([newer]).decrypt(encrypted, 'a')).toThrow(
      /the key '[0-9a-f]{8}' that encrypted this is not among/,
    );
  });

  it('leaves plain text unchanged', () => {
    expect(createCipher([newer]).decrypt('["sealed:1:no"]', 'a')).toBe('["sealed:1:no"]');
    expect(createCipher([]).encrypt('[1]', 'a')).toBe('[1]');
  });

  it('rejects a text that was changed, truncated or taken from another task', () => {
    const { encrypt, decrypt } = createCipher([newer]);
    const encrypted = encrypt('["a long enough argument"]', 'a');
    const at = encrypted.length - 10;
    const changed =
      encrypted.slice(0, at) + (encrypted[at] === 'A' ? 'B' : 'A') + encrypted.slice(at + 1);
    for (const text of [changed, `${encrypted.slice(0, 30)}"`])
      expect(() => decrypt(text, 'a')).toThrow('has been changed');
    expect(() => decrypt(encrypted, 'b')).toThrow('has been changed');
  });
});

describe('encryptionKeys', () => {
  it('keep arguments and results encrypted in the file, and fail tasks without a key', async () => {
    const folder = temporaryFolder();
    const database = folder.file('tasks.db');
    const first = new TaskManager({ database, logger: false, encryptionKeys: older });
    const echo = first.task('echo', (word: string) => ({ word }));
    await first.start();
    const id = await echo.enqueue('rosebud');
    await waitFor(async () => (await first.get(id))?.status === 'success');
    const waiting = await echo.with({ runIn: 0.2 }).enqueue('rosebud');
    await first.stop();
    const file = await openBeside(database);
    const texts = file
      .all('SELECT args, result FROM task')
      .flatMap(({ args, result }) => [String(args), String(result)]);
    expect(texts.join()).not.toContain('rosebud');
    file.close();

    const second = new TaskManager({ database, logger: false, encryptionKeys: newer });
    const ran: string[] = [];
    second.task('echo', (word: string) => {
      ran.push(word);
    });
    const other = second.task('other', () => 1);
    await second.start();
    await waitFor(async () => (await second.get(waiting))?.status === 'failed');
    expect((await second.get(waiting))?.error?.message).toMatch(/not among encryptionKeys/);
    expect(await second.get(id)).toMatchObject({
      args: [],
      result: null,
      resultOmitted: expect.stringMatching(/not among encryptionKeys/),
    });
    const next = await other.enqueue();
    await waitFor(async () => (await second.get(next))?.status === 'success');
    expect(ran).toEqual([]);
    await second.stop();

    const third = new TaskManager({ database, logger: false, encryptionKeys: [newer, older] });
    third.task('echo', (word: string) => ({ word }));
    await third.start();
    await third.control({ action: 'retry', ids: [waiting] }, { actor: 'test' });
    await waitFor(async () => (await third.get(waiting))?.status === 'success');
    expect(await third.get(waiting)).toMatchObject({
      args: ['rosebud'],
      result: { word: 'rosebud' },
    });
    await third.stop();
    folder.remove();
  });

  it.each([
    ['a short key', 'short', RangeError],
    ['a key of one character', 'a'.repeat(40), RangeError],
    ['no key', [], RangeError],
    ['the same key twice', [older, older], RangeError],
    ['a number', 5, TypeError],
  ])('are rejected with %s, without the key in the error', (_case, encryptionKeys, Kind) => {
    expect(
      () => new TaskManager({ database: ':memory:', encryptionKeys: encryptionKeys as never }),
    ).toThrow(Kind);
    try {
      new TaskManager({ database: ':memory:', encryptionKeys: encryptionKeys as never });
    } catch (error) {
      expect(String(error)).not.toContain(older);
    }
  });
});
