import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

/**
 * Returns the source files of a folder in `src/` (`''` for all) with their imports, all as paths in
 * `src/`. Imports of types count.
 */
export function importsIn(folder: string): Map<string, readonly string[]> {
  const files = readdirSync(join('src', folder), { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.tsx?$/.test(file),
  );
  return new Map(files.map((file) => [join(folder, file), importsOf(join(folder, file))]));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join('src', file), 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import|import\()\s*'(\.[^']+)'/g)].map(
    ([, specifier = '']) => specifier,
  );
  return [
    ...new Set(specifiers.flatMap((specifier) => sourceOf(resolve('src', file, '..', specifier)))),
  ];
}

/**
 * Returns the source file of an import, such as `x.tsx` for `x.js`, or undefined for any other
 * import.
 */
function sourceOf(path: string): string[] {
  return ['.ts', '.tsx']
    .map((extension) => path.replace(/\.js$/, extension))
    .filter((source) => existsSync(source))
    .map((source) => relative('src', source));
}

/**
 * Returns the groups of files in which each file imports every other one, directly or indirectly.
 * To remove a group, move the shared parts to a file that imports none of the group.
 */
export function cyclesOf(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const reachable = new Map(
    [...imports.keys()].map((file) => [file, reachableFrom(file, imports)]),
  );
  const reaches = (from: string, to: string): boolean => reachable.get(from)?.has(to) ?? false;
  const inCycles = [...imports.keys()].filter((file) => reaches(file, file)).sort();
  return inCycles
    .map((file) => inCycles.filter((other) => reaches(file, other) && reaches(other, file)))
    .filter((cycle, index) => cycle[0] === inCycles[index]);
}

function reachableFrom(
  start: string,
  imports: ReadonlyMap<string, readonly string[]>,
): Set<string> {
  const seen = new Set<string>();
  const left = [...(imports.get(start) ?? [])];
  for (let file = left.pop(); file !== undefined; file = left.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    left.push(...(imports.get(file) ?? []));
  }
  return seen;
}
