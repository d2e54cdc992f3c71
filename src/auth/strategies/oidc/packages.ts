import { checkPackage } from '../../../optional-package.js';

/*
 * The optional packages of this strategy. Only the strategy loads them: a login without it does not
 * need them.
 */

/**
 * Checks that the packages are installed.
 *
 * @throws Error that says what to install.
 */
export function checkPackages(): void {
  for (const name of ['openid-client', 'jose']) checkPackage(name, 'oidc');
}

/** Loads openid-client. */
export const loadClient = () => import('openid-client');

/** Loads jose. */
export const loadJose = () => import('jose');
