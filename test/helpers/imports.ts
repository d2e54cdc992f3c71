import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

/**
 * The source files of a folder in `src/` (`''` for all), and what each of them imports there, all
 * as paths in `src/`. Type imports count.
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
 * The source file of an import, such as `x.tsx` of `x.js`. An import of anything else gives none.
 */
function sourceOf(path: string): string[] {
  return ['.ts', '.tsx']
    .map((extension) => path.replace(/\.js$/, extension))
    .filter((source) => existsSync(source))
    .map((source) => relative('src', source));
}

/**
 * The groups of files in which each file imports every other one, directly or through others.
 * Removing such a group means moving what its files share to a file that imports none of them.
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
