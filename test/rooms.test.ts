import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { cyclesOf, importsIn } from './helpers/imports.js';

/**
 * Lists the rooms of the source and, for each room, the other rooms that it may import. A room is a
 * folder, or a file at the top of `src`. `common` stands for the other files there, which every
 * room may import. `engines` stands for the files directly in that folder.
 */
const allowed: Record<string, readonly string[]> = {
  common: [],
  http: [],
  store: [],
  auth: ['http', 'store'],
  tasks: ['store'],
  engines: ['tasks'],
  'engines/tables/schema': ['engines', 'tasks'],
  'engines/tables/read': ['engines', 'engines/tables/schema', 'tasks'],
  'engines/tables/write': ['engines', 'engines/tables/read', 'engines/tables/schema', 'tasks'],
  'engines/embedded': [
    ...['engines', 'engines/tables/read', 'engines/tables/schema', 'engines/tables/write'],
    ...['store', 'tasks'],
  ],
  'engines/bullmq': [
    ...['engines', 'engines/tables/read', 'engines/tables/schema', 'engines/tables/write'],
    ...['store', 'tasks'],
  ],
  web: ['http', 'tasks'],
  client: ['tasks', 'web'],
  'ui/kit': ['client'],
  'ui/state': ['client', 'ui/kit'],
  'ui/live': ['client', 'ui/kit', 'ui/state'],
  'ui/pages': ['client', 'ui/kit', 'ui/state', 'ui/live'],
  'ui/shell': ['client', 'ui/kit', 'ui/state', 'ui/live', 'ui/pages'],
  ui: ['ui/kit', 'ui/state', 'ui/live', 'ui/pages', 'ui/shell'],
  'manager-options.ts': ['engines', 'engines/embedded', 'tasks'],
  'manager.ts': ['manager-options.ts', 'store', 'tasks'],
  'admin.ts': ['auth', 'manager.ts', 'web'],
  'cli.ts': ['auth', 'engines/bullmq'],
  testing: ['auth', 'engines', 'engines/embedded', 'manager-options.ts', 'manager.ts', 'tasks'],
  'index.ts': ['admin.ts', 'auth', 'engines', 'manager-options.ts', 'manager.ts', 'tasks', 'web'],
};

/** Returns the room of a file in `src`: the longest name in the list that it begins with. */
function roomOf(file: string): string {
  if (!file.includes('/')) return file in allowed ? file : 'common';
  const [first = '', second = '', third = ''] = file.split('/');
  if (first !== 'engines' && first !== 'ui') return first;
  if (/\.tsx?$/.test(second)) return first;
  return second === 'tables' ? `${first}/${second}/${third}` : `${first}/${second}`;
}

const imports = importsIn('');

describe('the rooms of the source', () => {
  it.each(Object.keys(allowed))('have no import from %s to a forbidden room', (room) => {
    const files = [...imports].filter(([file]) => roomOf(file) === room);
    expect(files).not.toEqual([]);
    const rooms = ['common', room, ...(allowed[room] ?? [])];
    const wrong = files.flatMap(([file, targets]) =>
      targets.filter((target) => !rooms.includes(roomOf(target))).map((to) => `${file} → ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  it('all have a rule', () => {
    const rooms = new Set([...imports.keys()].map(roomOf));
    expect([...rooms].sort()).toEqual(Object.keys(allowed).sort());
  });

  it('import each other without cycles, type-only cycles included', () => {
    expect(cyclesOf(imports)).toEqual([]);
  });

  it('keep the server out of the client, which may import only its types', () => {
    const files = readdirSync('src/client').map((file) => join('src/client', file));
    const lines = files.flatMap(
      (file) => readFileSync(file, 'utf8').match(/^(im|ex)port.*/gm) ?? [],
    );
    expect(lines.filter((line) => /'\.\.\/web\//.test(line) && !/^\w+ type/.test(line))).toEqual(
      [],
    );
  });
});
