import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { importsIn } from '../helpers/imports.js';

/**
 * The rooms that each room of `src/engines` may import. Each may import itself. `common` are the
 * files at the top, for all engines.
 */
const allowed: Record<string, readonly string[]> = {
  common: [],
  'tables/schema': ['common'],
  'tables/read': ['common', 'tables/schema'],
  'tables/write': ['common', 'tables/schema', 'tables/read'],
  embedded: ['common', 'tables/schema', 'tables/read', 'tables/write'],
  bullmq: ['common', 'tables/schema', 'tables/read', 'tables/write'],
};

const imports = importsIn('engines');

/** The room of a file in `src/engines`; undefined of any other file. */
function roomOf(file: string): string | undefined {
  if (!file.startsWith('engines/')) return undefined;
  const [, first = '', second = ''] = file.split('/');
  if (first.endsWith('.ts')) return 'common';
  return first === 'tables' ? `${first}/${second}` : first;
}

describe('the rooms of the engines', () => {
  it.each(Object.keys(allowed))('has no import from %s to a room that it may not use', (room) => {
    const files = [...imports].filter(([file]) => roomOf(file) === room);
    expect(files).not.toEqual([]);
    const wrong = files.flatMap(([file, targets]) =>
      targets
        .filter((target) => ![undefined, room, ...(allowed[room] ?? [])].includes(roomOf(target)))
        .map((target) => `${file} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('has no room without a rule', () => {
    const rooms = new Set([...imports.keys()].map(roomOf));
    expect([...rooms].sort()).toEqual(Object.keys(allowed).sort());
  });

  it.each(['engines', 'testing'])('has no file of more than 350 lines in %s', (folder) => {
    const lines = (file: string): number =>
      readFileSync(join('src', file), 'utf8').split('\n').length - 1;
    expect([...importsIn(folder).keys()].filter((file) => lines(file) > 350)).toEqual([]);
  });
});
