import { readFileSync, statSync } from 'node:fs';

const bundled =
  'koa-taskflow cannot find its own files, because it was bundled into another one. Mark it as ' +
  'external in the bundler ' +
  '(esbuild: --external:koa-taskflow; webpack: externals; Rollup and Vite: external), and ' +
  'install it where the bundle runs.';

/** The folder of this package, one above `src` and `dist` alike, and its version. */
function readPackage(): { root: URL; version: string } {
  try {
    // A bundle in CommonJS has no import.meta.url, and beside another bundle there is another
    // package.json or none.
    const root = new URL('../', import.meta.url);
    statSync(new URL('dist/package-files.js', root));
    const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
      version: string;
    };
    return { root, version };
  } catch (cause) {
    throw new Error(bundled, { cause });
  }
}

const { root, version: read } = readPackage();

/** Version of this package. */
export const version = read;

/**
 * A file of this package by its path from the package's folder. Threads are always those of `dist`:
 * a thread cannot load TypeScript, which is what `src` holds in tests.
 */
export function packageFile(path: string): URL {
  return new URL(path, root);
}
