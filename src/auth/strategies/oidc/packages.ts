import { createRequire } from 'node:module';
import { packageFile } from '../../../package-files.js';

/*
 * The optional packages of this strategy. Only the strategy loads them: a login without it does not
 * need them.
 */

const require = createRequire(packageFile('package.json'));

/**
 * Checks that the packages are installed.
 *
 * @throws Error that says what to install.
 */
export function checkPackages(): void {
  for (const name of ['openid-client', 'jose']) {
    try {
      require.resolve(name);
    } catch (cause) {
      throw new Error(
        `oidc needs the packages openid-client and jose, and ${name} is missing: ` +
          'npm install openid-client@6 jose',
        { cause },
      );
    }
  }
}

/** Loads openid-client. */
export const loadClient = () => import('openid-client');

/** Loads jose. */
export const loadJose = () => import('jose');
