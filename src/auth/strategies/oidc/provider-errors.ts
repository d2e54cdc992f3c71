/*
 * Errors of openid-client hold whole answers of the provider: codes, tokens and claims. So no such
 * error leaves the strategy. It is replaced by one whose message says what is wrong and what to do,
 * and which holds nothing else.
 */

/** Seconds for which the last answer about a user holds if the provider refuses to answer. */
const refusedFor = 900;

/** An error of the provider, or of the connection to it. Its message holds no secret. */
export class ProviderError extends Error {
  /** The OAuth error code of the provider, such as `invalid_grant`. */
  readonly oauth: string | undefined;
  /** Whether the provider did not answer, so that another attempt may succeed. */
  readonly isDown: boolean;
  /** Whether there was no connection, so that no other request would succeed now. */
  readonly isUnreachable: boolean;
  /** Seconds for which the last answer about a user holds. Default: as the strategy says. */
  readonly staleFor: number | undefined;

  constructor(
    message: string,
    {
      oauth,
      isUnreachable = false,
      isDown = isUnreachable,
    }: { oauth?: string; isDown?: boolean; isUnreachable?: boolean } = {},
  ) {
    super(message);
    this.name = 'ProviderError';
    this.oauth = oauth;
    this.isDown = isDown;
    this.isUnreachable = isUnreachable;
    this.staleFor = isDown ? undefined : refusedFor;
  }
}

/** How the app authenticates at the token endpoint: by a header, or in the body. */
export type ClientAuthMethod = 'basic' | 'post';

/** What the message of an error needs to know about the app's configuration. */
export interface ErrorHints {
  /** The issuer, as the text in the metadata of the provider or in the option. */
  issuer: string;
  /** The client authentication in use; `undefined` without a secret. */
  auth: ClientAuthMethod | undefined;
}

/** Returns the error that replaces one of openid-client. */
export function providerError(error: unknown, { issuer, auth }: ErrorHints): ProviderError {
  if (error instanceof ProviderError) return error;
  const fields = fieldsOf(error);
  if (fields.cause instanceof ProviderError) return fields.cause;
  if (fields.code === 'OAUTH_RESPONSE_BODY_ERROR') return oauthError(fields, auth);
  if (fields.code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE') return challengeError(fields, auth);
  const cause = fieldsOf(fields.cause);
  const details = detailsOf(cause.cause);
  switch (fields.code) {
    case 'OAUTH_TIMEOUT':
      return new ProviderError(`${issuer} did not answer in time`, { isDown: true });
    case 'OAUTH_JWT_TIMESTAMP_CHECK_FAILED':
      return clockError(details);
    case 'OAUTH_JWT_CLAIM_COMPARISON_FAILED':
      return claimError(details, issuer);
    case 'OAUTH_RESPONSE_IS_NOT_CONFORM':
      return statusError(issuer, fields.cause);
    default:
      break;
  }
  const text = messageOf(cause.message ?? fields.message);
  if (isConnectionError(error)) return unreachable(issuer, error);
  if (isConnectionError(fields.cause)) return unreachable(issuer, fields.cause);
  return new ProviderError(`the answer of ${issuer} is not valid: ${text}`);
}

interface ErrorFields {
  code?: unknown;
  message?: unknown;
  cause?: unknown;
  error?: unknown;
  status?: unknown;
}

function fieldsOf(error: unknown): ErrorFields {
  return typeof error === 'object' && error !== null ? error : {};
}

/** The details that oauth4webapi adds to an error about a claim. */
interface Details {
  claim: string | undefined;
  claims: Readonly<Record<string, unknown>>;
  now: number | undefined;
}

function detailsOf(value: unknown): Details {
  const { claim, claims, now } = fieldsOf(value) as Record<string, unknown>;
  return {
    claim: typeof claim === 'string' ? claim : undefined,
    claims: fieldsOf(claims) as Record<string, unknown>,
    now: typeof now === 'number' ? now : undefined,
  };
}

/** Returns an OAuth error code for messages. Any other value becomes `an error`. */
export function oauthCode(error: unknown): string {
  return typeof error === 'string' && /^[a-z_]{1,64}$/.test(error) ? error : 'an error';
}

/** An error that the provider answered. Its description is not logged: it is free text. */
function oauthError(
  { error, status }: ErrorFields,
  auth: ClientAuthMethod | undefined,
): ProviderError {
  const oauth = oauthCode(error);
  const message = `the token endpoint of the provider answered ${oauth}`;
  if (oauth === 'invalid_client')
    return new ProviderError(`${message}${invalidClientHint(auth)}`, { oauth });
  const isDown = oauth === 'temporarily_unavailable' || isOutage(status);
  return new ProviderError(message, { oauth, isDown });
}

/** An answer with the status 401: of the token endpoint (Basic) or of the userinfo endpoint. */
function challengeError({ cause }: ErrorFields, auth: ClientAuthMethod | undefined): ProviderError {
  const challenges: readonly unknown[] = Array.isArray(cause) ? cause : [];
  const isBasic = challenges.some((each) => (fieldsOf(each) as Challenge).scheme === 'basic');
  return isBasic
    ? oauthError({ error: 'invalid_client' }, auth)
    : new ProviderError('the userinfo endpoint of the provider refused the access token');
}

interface Challenge {
  scheme?: unknown;
}

function invalidClientHint(auth: ClientAuthMethod | undefined): string {
  if (auth === undefined) return ': check clientId, and set clientSecret if the provider gave one';
  const other = auth === 'basic' ? 'post' : 'basic';
  return `: check clientId and clientSecret, or try clientAuth: '${other}' instead of '${auth}'`;
}

/** Seconds by which the times in a token may differ from the clock of this host. */
export const clockTolerance = 60;

/** An error about the time in a token: the clock of this host or of the provider is wrong. */
export function clockError({ claim, claims, now }: Pick<Details, 'claim' | 'claims' | 'now'>) {
  const time = claims[claim ?? ''];
  const seconds = typeof time === 'number' && now !== undefined ? Math.abs(now - time) : undefined;
  const off = seconds === undefined ? '' : ` by ${Math.round(seconds)} s`;
  return new ProviderError(
    `the time ${claim ?? ''} of a token differs from the clock of this host${off}; ` +
      `${clockTolerance} s are accepted: set the clock of this host or of the provider`,
  );
}

function claimError({ claim, claims }: Details, issuer: string): ProviderError {
  if (claim === 'iss') return differentIssuers(claims.iss, issuer);
  return new ProviderError(`the claim ${claim ?? ''} of the ID token is wrong`);
}

/** An error about an issuer. It shows both texts, which often differ in one character. */
export function differentIssuers(found: unknown, expected: string): ProviderError {
  const shown = typeof found === 'string' ? JSON.stringify(found.slice(0, 200)) : 'missing';
  return new ProviderError(
    `the issuer is ${shown}, but ${JSON.stringify(expected)} was expected; set the option issuer ` +
      'to the exact text of the provider',
  );
}

function statusError(issuer: string, response: unknown): ProviderError {
  const { status } = fieldsOf(response);
  const isDown = typeof status !== 'number' || isOutage(status);
  return new ProviderError(
    `${issuer} answered with the status ${typeof status === 'number' ? status : 'unknown'}` +
      (status === 404 ? ': check the option issuer' : ''),
    { isDown },
  );
}

/** Whether a status says that the provider cannot answer at present. */
function isOutage(status: unknown): boolean {
  return typeof status === 'number' && (status >= 500 || status === 429);
}

/** Whether the request failed before there was an answer. */
function isConnectionError(error: unknown): boolean {
  return codeOf(error) !== undefined || fieldsOf(error).message === 'fetch failed';
}

/** Returns the code of a failed connection, such as `ECONNREFUSED`. */
function codeOf(error: unknown): string | undefined {
  for (const { code } of [fieldsOf(error), fieldsOf(fieldsOf(error).cause)])
    if (typeof code === 'string' && /^(E[A-Z]|UND_|CERT_|DEPTH_|SELF_|UNABLE_|ERR_TLS)/.test(code))
      return code;
  return undefined;
}

function unreachable(issuer: string, error: unknown): ProviderError {
  const code = codeOf(error);
  const isCertificate = code !== undefined && /CERT|ALTNAME|ERR_TLS|DEPTH_|UNABLE_/.test(code);
  const hint = isCertificate ? '; the option ca adds a certificate authority' : '';
  return new ProviderError(`${issuer} cannot be reached (${code ?? 'no connection'})${hint}`, {
    isUnreachable: true,
  });
}

function messageOf(message: unknown): string {
  return typeof message === 'string' ? message : 'unknown';
}
