import type { Provider } from './provider.js';
import { differentIssuers, oauthCode } from './provider-errors.js';

/*
 * Anyone can open the address of the callback with a query of their own. So these checks come
 * before any request to the provider, and a wrong query says nothing about the provider.
 */

/** Returns what is wrong with the query of a callback, or `undefined`. */
export function wrongCallback(
  query: URLSearchParams,
  { issuer, metadata }: Pick<Provider, 'issuer' | 'metadata'>,
  state: string,
): string | undefined {
  const names = [...query.keys()];
  if (new Set(names).size < names.length) return 'a parameter is repeated';
  if (query.get('state') !== state) return 'the state is another one';
  const iss = query.get('iss') || undefined;
  const mustHaveIssuer = metadata.authorization_response_iss_parameter_supported === true;
  if (iss === undefined ? mustHaveIssuer : iss !== issuer)
    return differentIssuers(iss, issuer).message;
  const error = query.get('error');
  if (error) return `the provider answered ${oauthCode(error)}`;
  const other = ['response', 'id_token', 'token'].find((name) => query.has(name));
  if (other !== undefined) return `the parameter ${other} belongs to another flow`;
  // The characters of a code: RFC 6749, appendix A.11.
  return /^[ -~]+$/.test(query.get('code') ?? '') ? undefined : 'there is no valid code';
}
