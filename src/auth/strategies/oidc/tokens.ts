import type * as openid from 'openid-client';
import { type Claims, type ClaimsReader, withClaims } from './claims.js';
import type { Provider } from './provider.js';
import { clockError, clockTolerance, ProviderError } from './provider-errors.js';

/** The answer of the token endpoint. */
export type Tokens = openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers;

interface ReadTokens {
  reader: Pick<ClaimsReader, 'needsMore'>;
  /** The present time in Unix milliseconds. */
  now: number;
  /** The user to whom the tokens must belong. Default: the user of the ID token. */
  sub?: string;
}

/**
 * Returns the claims of the ID token. Claims that it lacks are read from the userinfo endpoint.
 *
 * @throws ProviderError if the tokens are not valid, belong to another user, or if the provider
 * does not answer.
 */
export async function claimsOf(
  provider: Provider,
  tokens: Tokens,
  { reader, now, sub: expected }: ReadTokens,
): Promise<Claims> {
  const claims: Claims = { ...tokens.claims() };
  checkIssuedAt(claims, now);
  const { sub = expected } = claims;
  if (typeof sub !== 'string' || (expected !== undefined && sub !== expected))
    throw new ProviderError('the tokens belong to another user than before');
  const { client, config, metadata } = provider;
  if (metadata.userinfo_endpoint === undefined || !reader.needsMore(claims)) return claims;
  const more = await provider.ask(() => client.fetchUserInfo(config, tokens.access_token, sub));
  return withClaims(more, claims);
}

/** openid-client does not compare `iat` with the clock. */
function checkIssuedAt(claims: Claims, now: number): void {
  const { iat } = claims;
  const seconds = now / 1000;
  if (typeof iat === 'number' && iat > seconds + clockTolerance)
    throw clockError({ claim: 'iat', claims, now: seconds });
}
