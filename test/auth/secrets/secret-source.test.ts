import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { secretFile } from '../../../src/auth/secrets/secret.js';
import { fileSource, functionSource } from '../../../src/auth/secrets/secret-source.js';
import { type SecretFolder, secretFolder } from '../../helpers/secret-folder.js';

let folder: SecretFolder;
beforeEach(() => {
  folder = secretFolder();
});
afterEach(() => {
  jest.restoreAllMocks();
  folder.remove();
});

const sourceOf = (path: string) => fileSource(secretFile(path));

describe('a secret file', () => {
  it.each([
    ['a line feed', 'pass word\n', 'pass word'],
    ['CR LF', 'pass word\r\n', 'pass word'],
    ['no line break', ' pass word ', ' pass word '],
    ['two line breaks', 'pass word\n\n', 'pass word\n'],
    ['a byte order mark', '\uFEFFpass word', 'pass word'],
  ])('is read without the last line break: %s', (_case, content, secret) => {
    expect(sourceOf(folder.replace('secret', content)).readNow?.()).toBe(secret);
  });

  const unreadable: [string, RegExp, (path: string) => void][] = [
    ['is missing', /does not exist$/, () => {}],
    ['is empty', /is empty$/, (path) => writeFileSync(path, '')],
    ['has only a line break', /is empty$/, (path) => writeFileSync(path, '\r\n')],
    ['is a folder', /is a folder, not a file$/, (path) => mkdirSync(path)],
    ['is a pipe', /is not a regular file$/, (path) => execFileSync('mkfifo', [path])],
    [
      'is a link that leads to itself',
      /cannot be read \(ELOOP\)$/,
      (path) => symlinkSync(path, path),
    ],
    [
      'is larger than 64 KiB',
      /larger than 64 KiB$/,
      (path) => writeFileSync(path, 'x'.repeat(65_537)),
    ],
    ['is not text', /is not UTF-8 text$/, (path) => writeFileSync(path, Buffer.from([0xff, 0xfe]))],
  ];
  it.each(unreadable)('is refused if it %s', async (_case, reason, make) => {
    const path = folder.file('secret');
    make(path);
    expect(() => sourceOf(path).readNow?.()).toThrow(reason);
    const later = sourceOf(folder.replace('later', 'good'));
    await later.poll();
    rmSync(folder.file('later'));
    make(folder.file('later'));
    expect(await later.poll()).toBeUndefined();
    await expect(later.poll()).rejects.toThrow(reason);
  });

  it('is not taken while it is being written', async () => {
    const path = folder.replace('secret', 'old');
    const source = sourceOf(path);
    await source.poll();
    expect(await source.poll()).toBe('old');
    folder.rewrite('secret', '');
    expect(await source.poll()).toBeUndefined();
    folder.rewrite('secret', 'half');
    expect(await source.poll()).toBeUndefined();
    folder.rewrite('secret', 'half-and-half');
    expect(await source.poll()).toBeUndefined();
    expect(await source.poll()).toBe('half-and-half');
  });

  it('is not opened again once it has been the same for some time', async () => {
    const path = folder.replace('secret', 'old');
    const source = sourceOf(path);
    const found: unknown[] = [];
    for (let poll = 0; poll < 12; poll += 1) found.push(await source.poll());
    expect(found.filter((each) => each === 'old')).toHaveLength(7);
    expect(found.at(-1)).toBeUndefined();
    folder.rewrite('secret', 'new');
    await source.poll();
    expect(await source.poll()).toBe('new');
  });

  it('is tried again until it can be read, although nothing about it changes', async () => {
    const path = folder.replace('secret', 'x'.repeat(70_000));
    const source = sourceOf(path);
    for (let poll = 0; poll < 12; poll += 1) await source.poll().catch(() => {});
    await expect(source.poll()).rejects.toThrow('larger than 64 KiB');
    folder.replace('secret', 'good');
    await source.poll();
    expect(await source.poll()).toBe('good');
  });
});

describe('a path of secretFile', () => {
  it.each([
    [undefined, 'path of secretFile is not set; if it comes from the environment'],
    [7, "it must be the path of a file, such as '/run/secrets/password'"],
    ['', "it must be the path of a file, such as '/run/secrets/password'"],
    [new URL('file:///run/secrets/admin'), 'for a file: URL pass fileURLToPath(url)'],
  ])('is refused: %s', (path, message) => {
    expect(() => secretFile(path as string)).toThrow(message);
  });

  it('is relative to the working folder of the process at the call', () => {
    expect(secretFile('secrets/admin').path).toBe(`${process.cwd()}/secrets/admin`);
  });
});

describe('a function that returns a secret', () => {
  it('is asked every 25 seconds, and sooner after a failure', async () => {
    let isFailing = true;
    const source = functionSource(async () => {
      if (isFailing) throw new Error('sealed');
      return 'secret\n';
    });
    expect(source.interval).toBe(25_000);
    const intervals: number[] = [];
    for (let failure = 0; failure < 6; failure += 1) {
      await expect(source.poll()).rejects.toThrow();
      intervals.push(source.interval);
    }
    expect(intervals).toEqual([1000, 2000, 4000, 8000, 16_000, 25_000]);
    isFailing = false;
    expect(await source.poll()).toBe('secret');
    expect(source.interval).toBe(25_000);
  });

  it.each<[string, () => unknown, string]>([
    ['a number', () => 424242, 'the function returned a number instead of a string'],
    ['nothing', () => undefined, 'the function returned undefined instead of a string'],
    ['an empty text', () => '\n', 'the string that the function returned is empty'],
    [
      'an error, and only its name and code are logged',
      () => {
        throw Object.assign(new TypeError('Sentinel'), { code: 'EVAULT' });
      },
      'the function that returns it failed: TypeError EVAULT',
    ],
    [
      'a code that is no code',
      () => Promise.reject(Object.assign(new Error('Sentinel'), { code: 'Sentinel word' })),
      'the function that returns it failed: Error',
    ],
  ])('is refused if it gives %s', async (_case, give, message) => {
    const error: unknown = await functionSource(give as () => string)
      .poll()
      .catch((thrown: unknown) => thrown);
    expect((error as Error).message).toBe(message);
  });
});
