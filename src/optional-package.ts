import { createRequire } from 'node:module';
import { packageFile } from './package-files.js';

const require = createRequire(packageFile('package.json'));

/**
 * Loads an optional peer dependency when it is first needed. `user` is what needs it, such as
 * `a bcrypt hash`.
 *
 * @throws Error with the name of the package, its versions and the command that installs it, if it
 * cannot be loaded.
 */
export function optionalPackage<T>(name: string, user: string): T {
  try {
    return require(name) as T;
  } catch (cause) {
    throw missingPackage(name, user, cause);
  }
}

/**
 * Checks that an optional peer dependency is installed, without loading it.
 *
 * @throws Error as {@link optionalPackage} does, if it is not installed.
 */
export function checkPackage(name: string, user: string): void {
  try {
    require.resolve(name);
  } catch (cause) {
    throw missingPackage(name, user, cause);
  }
}

function missingPackage(name: string, user: string, cause: unknown): Error {
  const { peerDependencies } = require('./package.json') as {
    peerDependencies: Readonly<Record<string, string>>;
  };
  const found = `${name}@${peerDependencies[name]}`;
  return new Error(
    `${user} needs the package ${found}, which cannot be loaded: npm install "${found}"`,
    { cause },
  );
}
