import type { Context } from 'koa';
import type { RedirectAttempt, RedirectVerdict, StrategyParts } from '../strategy.js';
import { wrongCallback } from './callback.js';
import type { ClaimsReader } from './claims.js';
import { keyOf } from './keys.js';
import type { OidcSettings } from './options.js';
import type { Pins } from './pins.js';
import type { Provider, ProviderConnection } from './provider.js';
import { ProviderError } from './provider-errors.js';
import type { Records } from './records.js';
import { claimsOf, type Tokens } from './tokens.js';

/*
 * A sign-in with the authorization code flow and PKCE (RFC 9700 section 2.1.1). `begin` makes the
 * verifier and the nonce, which the browser keeps in an encrypted cookie. `complete` exchanges the
 * code for tokens, checks them, and reads the name and the roles of the user.
 */

/** The parts that a sign-in uses. */
export interface SignInDeps {
  settings: OidcSettings;
  connection: ProviderConnection;
  reader: ClaimsReader;
  pins: Pins;
  records: Records;
  parts: Pick<StrategyParts, 'logger' | 'now' | 'encrypt'>;
}

/**
 * Errors of the token endpoint about the code, which is part of the callback's query. Others are
 * faults.
 */
const codeErrors: readonly (string | undefined)[] = ['invalid_grant', 'invalid_request'];

interface AuthorizationRequest extends Pick<RedirectAttempt, 'redirectUri' | 'state'> {
  nonce: string;
  verifier: string;
}

/** Returns the URL of the provider that begins an attempt. */
export async function beginSignIn(
  { settings, connection }: SignInDeps,
  attempt: RedirectAttempt,
): Promise<string> {
  const provider = await connection.get();
  const { client } = provider;
  const secrets = { verifier: client.randomPKCECodeVerifier(), nonce: client.randomNonce() };
  Object.assign(attempt.data, secrets);
  return authorizationUrl(settings, provider, { ...attempt, ...secrets });
}

/** Returns the URL of the provider at which a user signs in. */
export async function authorizationUrl(
  settings: OidcSettings,
  { client, config }: Provider,
  { redirectUri, state, nonce, verifier }: AuthorizationRequest,
): Promise<string> {
  return client.buildAuthorizationUrl(config, {
    ...settings.parameters,
    redirect_uri: redirectUri,
    scope: settings.scopes.join(' '),
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }).href;
}

/** Checks the callback of the provider. */
export async function completeSignIn(
  deps: SignInDeps,
  ctx: Context,
  attempt: RedirectAttempt,
): Promise<RedirectVerdict> {
  const { settings, connection, reader, pins, records, parts } = deps;
  const provider = await connection.get();
  const tokens = await redeem(provider, ctx, attempt);
  if (typeof tokens === 'string') {
    const { requestId } = attempt;
    parts.logger.warn({ requestId, reason: tokens }, 'a callback of the provider was refused');
    return { ok: false, reason: 'provider' };
  }
  const claims = await claimsOf(provider, tokens, { reader, now: parts.now() });
  // A user who is rejected below may want to sign out at the provider, too.
  if (settings.logout && tokens.id_token !== undefined)
    await records.putHint(attempt.sessionId, tokens.id_token);
  const reading = await reader.read(claims);
  if (!reading.ok) {
    const { reason, username } = reading;
    logMissing(parts, reason, { claims: Object.keys(claims), requestId: attempt.requestId });
    return { ok: false, reason, page: reason, ...(username !== undefined && { username }) };
  }
  const { username, roles } = reading;
  const subject = { iss: String(claims.iss), sub: String(claims.sub) };
  if (!(await pins.pin(username, subject)))
    return { ok: false, reason: 'name_taken', page: 'name_taken', username };
  const { sessionId } = attempt;
  const sid =
    typeof claims.sid === 'string'
      ? await records.putProviderSession(subject, claims.sid, { username, sessionId })
      : '';
  const token = refreshTokenOf(deps, tokens);
  const grant = { sid, subject: keyOf(subject.iss, subject.sub) };
  await records.putGrant({ username, sessionId }, grant, token);
  await records.putUser({
    ...{ username, ...subject, roles, rule: reader.rule, checkedAt: parts.now() },
    ...{ claims: parts.encrypt(JSON.stringify(claims)), isChecked: token !== undefined },
    isRefused: false,
  });
  return { ok: true, username, roles };
}

/** Exchanges the code of a callback. Resolves to the reason if the callback is refused. */
async function redeem(
  provider: Provider,
  ctx: Context,
  { redirectUri, state, data }: RedirectAttempt,
): Promise<Tokens | string> {
  const { client, config, ask } = provider;
  const { verifier, nonce } = data;
  if (verifier === undefined || nonce === undefined)
    throw new ProviderError('the attempt has no verifier and no nonce');
  const url = new URL(redirectUri + ctx.search);
  const wrong = wrongCallback(url.searchParams, provider, state);
  if (wrong !== undefined) return wrong;
  const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier };
  try {
    return await ask(() => client.authorizationCodeGrant(config, url, checks));
  } catch (error) {
    if (error instanceof ProviderError && codeErrors.includes(error.oauth)) return error.message;
    throw error;
  }
}

/** Logs what the provider must be told. The login itself logs that the sign-in failed. */
function logMissing(
  { logger }: Pick<StrategyParts, 'logger'>,
  reason: string,
  fields: { claims: readonly string[]; requestId: string },
): void {
  if (reason === 'no_name')
    logger.warn(
      fields,
      'the provider gave no usable name for a user; the option username names another claim',
    );
  if (reason === 'too_many_groups')
    logger.warn(
      fields,
      'a user has more groups than the token holds: assign groups to the application, or use app ' +
        'roles, or a roles function',
    );
}

/** Returns the refresh token, if it is needed. Warns once if the provider gives none. */
function refreshTokenOf({ settings, parts }: SignInDeps, tokens: Tokens): string | undefined {
  if (settings.refresh === false) return undefined;
  if (tokens.refresh_token === undefined && !warned.has(settings)) {
    warned.add(settings);
    parts.logger.warn(
      { scopes: settings.scopes },
      'the provider gave no refresh token, so changed roles and deleted users are noticed at the ' +
        'next login only; add the scope offline_access (Google: the parameter access_type ' +
        'offline), or set refresh: false',
    );
  }
  return tokens.refresh_token;
}

const warned = new WeakSet<OidcSettings>();
