import { optionalPackage } from '../../../optional-package.js';

/** The optional package that speaks LDAP. */
type Ldapts = typeof import('ldapts');

/**
 * Returns ldapts. It is loaded when the first strategy is created.
 *
 * @throws Error that says what to install, if it is missing.
 */
export function ldapts(): Ldapts {
  return optionalPackage('ldapts', 'ldap');
}
