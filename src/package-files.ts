import { readFileSync, statSync } from 'node:fs';

const bundled =
  'koa-taskflow cannot find its own files, because it was bundled into another one. Mark it as ' +
  'external in the bundler ' +
  '(esbuild: --external:koa-taskflow; webpack: externals; Rollup and Vite: external), and ' +
  'install it where the bundle runs.';

/**
 * Returns the folder of this package, which is the parent of `src` and of `dist`, and the version
 * of the package.
 */
function readPackage(): { root: URL; version: string } {
  try {
    // In a CommonJS bundle, there is no import.meta.url. In any other bundle, the folder contains
    // no package.json or that of another package.
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
 * Returns the URL of a file of this package, given its path from the package's folder. Threads
 * always run files of `dist`, because a thread cannot load the TypeScript of `src`.
 */
export function packageFile(path: string): URL {
  return new URL(path, root);
}
