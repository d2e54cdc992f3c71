import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const root = resolve('src/ui');

/** The folders that each folder may import. Each may import itself and the client of the API. */
const allowed: Record<string, readonly string[]> = {
  kit: [],
  state: ['kit'],
  live: ['kit', 'state'],
  pages: ['kit', 'state', 'live'],
  shell: ['kit', 'state', 'live', 'pages'],
};

/** Returns the forbidden imports of a folder, such as `kit/time.tsx → state/view.js`. */
function wrongArrows(room: string): string[] {
  const files = readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.tsx?$/.test(file),
  );
  expect(files).not.toEqual([]);
  return files.flatMap((file) => {
    const path = join(root, room, file);
    const targets = [
      ...readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g),
    ].map(([, to = '']) => resolve(path, '..', to));
    return targets
      .map((target) => relative(root, target))
      .filter(
        (target) =>
          ![room, '../client', ...(allowed[room] ?? [])].some((each) =>
            target.startsWith(`${each}/`),
          ),
      )
      .map((target) => `${room}/${file} → ${target}`);
  });
}

describe('the folders of the dashboard', () => {
  it.each(Object.keys(allowed))('have no import from %s to a folder above it', (room) => {
    expect(wrongArrows(room)).toEqual([]);
  });

  it('all have a rule', () => {
    const rooms = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(rooms.map(({ name }) => name).sort()).toEqual(Object.keys(allowed).sort());
  });
});
