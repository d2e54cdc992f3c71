import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/** Words of a former private vocabulary. src/tasks/types.ts has the words of the field. */
const forbidden = [
  ...['lane', 'bell', 'ledger', 'tally', 'pulse', 'sealer', 'timetable', 'poke', 'handout'],
  ...['upkeep', 'robbed', 'greet', 'patience', 'hurry', 'complain', 'dear', 'dearer'],
  ...['standing', 'heads', 'introduce'],
];
const isForbidden = new RegExp(`^(${forbidden.join('|')})(s|ed|ing)?$`);

interface Line {
  /** The file and the number of the line. */
  at: string;
  text: string;
}

/** Returns the lines of the files in some folders whose names match. */
function linesOf(folders: readonly string[], name: RegExp): Line[] {
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => name.test(file) && !file.includes('node_modules'))
      .flatMap((file) =>
        readFileSync(join(folder, file), 'utf8')
          .split('\n')
          .map((text, index) => ({ at: `${join(folder, file)}:${index + 1}`, text })),
      ),
  );
}

/** Returns the words of a line. `camelCase` is two words, and so is `two-words`. */
function wordsOf(text: string): string[] {
  return (
    text
      .replaceAll(/([a-z\d])([A-Z])/g, '$1 $2')
      .toLowerCase()
      .match(/[a-z]+/g) ?? []
  );
}

describe('the source', () => {
  const code = /\.(tsx?|js|css)$/;
  const folders = ['src', 'test', 'scripts', 'bench'];
  const source = linesOf(['src'], code);

  it('has no word of the former private vocabulary', () => {
    const others = linesOf(folders, code).filter(({ at }) => !at.startsWith('test/house.test.ts'));
    const found = others.filter(({ text }) => wordsOf(text).some((word) => isForbidden.test(word)));
    expect(others.length).toBeGreaterThan(10_000);
    expect(found.map(({ at, text }) => `${at} ${text.trim()}`)).toEqual([]);
  });

  it('has no line of more than 100 columns, in the tests neither', () => {
    const long = linesOf(['src', 'test', 'scripts'], code).filter(({ text }) => text.length > 100);
    expect(long.map(({ at }) => at)).toEqual([]);
  });

  it('has no file of more than 350 lines', () => {
    const long = source.filter(({ at, text }) => at.endsWith(':351') && text !== '');
    expect(long.map(({ at }) => at)).toEqual([]);
  });
});
