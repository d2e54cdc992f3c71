import { describe, expect, it } from '@jest/globals';
import { importsIn } from '../helpers/imports.js';

/**
 * The folders that each folder of `src/engines` may import. Each may import itself. `common` stands
 * for the files directly in `src/engines`, which all engines use.
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

/** Returns the folder of a file in `src/engines`, or undefined for any other file. */
function roomOf(file: string): string | undefined {
  if (!file.startsWith('engines/')) return undefined;
  const [, first = '', second = ''] = file.split('/');
  if (first.endsWith('.ts')) return 'common';
  return first === 'tables' ? `${first}/${second}` : first;
}

describe('the folders of the engines', () => {
  it.each(Object.keys(allowed))('have no import from %s to a forbidden folder', (room) => {
    const files = [...imports].filter(([file]) => roomOf(file) === room);
    expect(files).not.toEqual([]);
    const wrong = files.flatMap(([file, targets]) =>
      targets
        .filter((target) => ![undefined, room, ...(allowed[room] ?? [])].includes(roomOf(target)))
        .map((target) => `${file} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('all have a rule', () => {
    const rooms = new Set([...imports.keys()].map(roomOf));
    expect([...rooms].sort()).toEqual(Object.keys(allowed).sort());
  });
});
