import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { loginOptions } from '../src/auth/auth-options.js';
import { messageOptions } from '../src/auth/messages.js';
import { optionSet, seconds, whole } from '../src/option-set.js';
import { readCallSettings, readSettings } from '../src/tasks/task-options.js';

/** Returns a section of a page of docs/. */
function section(page: string, heading: string): string {
  const text = readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8');
  return text.split(/^#+ /m).find((part) => part.startsWith(heading)) ?? '';
}

/** Returns the defaults that the table of options in a section gives, by option. */
function documented(page: string, heading: string): [string, string][] {
  const [header = '', , ...rows] = section(page, heading)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  const column = header.split('|').findIndex((cell) => cell.trim() === 'default');
  return rows.flatMap((row) => {
    const cells = row.split('|').map((cell) => cell.trim());
    const defaults = (cells[column] ?? '').split(', ');
    return [...(cells[1] ?? '').matchAll(/`([\w.]+)`/g)].map(
      ([, name = ''], index): [string, string] => [name, defaults[index] ?? ''],
    );
  });
}

/** A default as the docs write it. */
function written(value: unknown): unknown {
  if (value === undefined) return expect.stringMatching(/^(none|every error)$/);
  if (value === 86_400) return 'a day';
  if (typeof value === 'number') return value.toLocaleString('en');
  return typeof value === 'object' ? '' : `\`${value}\``;
}

const writtenAll = (settings: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, written(value)]));

describe('the docs', () => {
  it('list every option of a task with its default', () => {
    const rows = [
      ...documented('tasks.md', 'Options of a task'),
      ...documented('retries.md', 'Retry what failed'),
    ];
    const defaults = writtenAll(readSettings('x', undefined));
    expect(rows).toEqual(rows.map(([name]) => [name, defaults[name]]));
    expect(new Set(rows.map(([name]) => name))).toEqual(new Set(Object.keys(defaults)));
  });

  it('list every option of a login with its default', () => {
    const defaults = loginOptions.read({ strategies: ['a', 'b'] }, { where: 'createAuth' });
    const rows = documented('login.md', 'Options of `createAuth`');
    // Some options have a default that the column does not show, because it is an object.
    const shown = rows.filter(([, value]) => value !== '' && value !== 'random');
    const texts = writtenAll(defaults);
    expect(shown).toEqual(shown.map(([name]) => [name, texts[name]]));
    expect(new Set(rows.map(([name]) => name))).toEqual(new Set(Object.keys(defaults)));
  });

  it('list every text of the login page', () => {
    const { language: _, tooManyAttempts: __, ...texts } = messageOptions.read({}, { where: '' });
    const rows = section('login.md', 'Show the page in another language').matchAll(
      /^\| `(\w+)` \| (.+) \|$/gm,
    );
    const listed = new Map([...rows].map(([, name, text]) => [name, text]));
    for (const name of ['language', 'tooManyAttempts']) expect(listed.delete(name)).toBe(true);
    expect(Object.fromEntries(listed)).toEqual(texts);
  });

  it('name every option of one call', () => {
    for (const name of Object.keys(readCallSettings({}, 'x')))
      expect(section('tasks.md', 'Options of one call')).toContain(`\`${name}\``);
  });
});

describe('a set of options', () => {
  const set = optionSet({ tries: whole({ default: 3, min: 1 }), wait: seconds() });

  it('returns each option with its value or its default', () => {
    expect(set.read({ wait: 2 }, { where: 'f()' })).toEqual({ tries: 3, wait: 2 });
    expect(set.read(undefined, { where: 'f()' })).toEqual({ tries: 3, wait: undefined });
  });

  it('refuses an option that it does not have', () => {
    const misspelt = { trise: 3 } as object;
    expect(() => set.read(misspelt, { where: 'f()' })).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'INVALID_INPUT' }),
    );
  });

  it('names an option as the caller does', () => {
    expect(() => set.read({ tries: 0 }, { where: 'f()', prefix: 'a.', suffix: ' of b' })).toThrow(
      /^a\.tries of b/,
    );
  });

  it('warns of a duration that looks like milliseconds', () => {
    const warned: unknown[] = [];
    set.read({ wait: 30_000 }, { where: 'f()', warn: (...args) => warned.push(args) });
    expect(warned).toEqual([['wait', 30_000]]);
  });
});
