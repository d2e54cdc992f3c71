import { createRequire } from 'node:module';
import { packageFile } from './package-files.js';

const require = createRequire(packageFile('package.json'));

/**
 * Loads an optional peer dependency when it is first needed.
 *
 * @throws Error with the message `missing`, which says what to install, if it cannot be loaded.
 */
export function optionalPackage<T>(name: string, missing: string): T {
  try {
    return require(name) as T;
  } catch (cause) {
    throw new Error(missing, { cause });
  }
}

/**
 * Checks that an optional peer dependency is installed, without loading it.
 *
 * @throws Error with the message `missing`, which says what to install.
 */
export function checkPackage(name: string, missing: string): void {
  try {
    require.resolve(name);
  } catch (cause) {
    throw new Error(missing, { cause });
  }
}
