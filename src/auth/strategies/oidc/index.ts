/**
 * `koa-taskflow/strategies/oidc` signs users in at an OpenID Connect provider. It needs the
 * packages `openid-client` and `jose`.
 *
 * @packageDocumentation
 */
export { type OidcStrategy, oidc } from './oidc.js';
export type { OidcOptions, OidcUser } from './options.js';
export type { ClientAuthMethod } from './provider-errors.js';
