import type { JWTPayload } from 'jose';
import { LogLimit } from '../../log-limit.js';
import type { AuthContext, EndedSession, EndedUser, StrategyParts } from '../strategy.js';
import { keyOf } from './keys.js';
import { loadJose } from './packages.js';
import type { Provider, ProviderConnection } from './provider.js';
import { clockTolerance } from './provider-errors.js';
import type { Records } from './records.js';

/*
 * Logout in both directions: the URL at which the browser signs out at the provider, and the
 * messages in which the provider says that sessions have ended (OpenID Connect Back-Channel Logout
 * 1.0).
 */

interface LogoutDeps {
  clientId: string;
  /** Whether a sign-out here also signs out at the provider. */
  logout: boolean;
  connection: ProviderConnection;
  records: Records;
  /** Returns the name that a user has here. */
  nameOf(iss: string, sub: string): Promise<string | undefined>;
  parts: Pick<StrategyParts, 'store' | 'logger' | 'now' | 'endSessions'>;
}

/** Characters of the URL of a logout. The login keeps it in a cookie on the way there. */
const maxUrl = 2500;
/** Seconds after which a message of the provider is refused. */
const maxAge = 300;
/** The only algorithms that are accepted: those with a public key. */
export const signingAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';

/** The logout of a strategy. */
export class Logout {
  readonly #deps: LogoutDeps;
  /** Limits the lines about tokens that are refused, because anyone can send them. */
  readonly #lines = new LogLimit();
  readonly #keys = new WeakMap<Provider, ReturnType<typeof keysOf>>();

  constructor(deps: LogoutDeps) {
    this.#deps = deps;
  }

  /** Returns the URL at which the user signs out at the provider, or `undefined`. */
  async urlFor({ id, username, returnTo }: EndedSession): Promise<string | undefined> {
    const { connection, records, logout } = this.#deps;
    const hint = await records.takeSession(username, id);
    if (!logout) return undefined;
    const provider = await connection.get().catch(() => undefined);
    if (provider?.metadata.end_session_endpoint === undefined) return undefined;
    const { client, config } = provider;
    const query = { post_logout_redirect_uri: returnTo };
    const url = client.buildEndSessionUrl(config, query).href;
    const withHint = client.buildEndSessionUrl(config, {
      ...query,
      id_token_hint: hint ?? '',
    }).href;
    return hint === undefined || withHint.length > maxUrl ? url : withHint;
  }

  /**
   * Ends the sessions that a message names. Returns their users, or `undefined` if the message is
   * not valid.
   */
  async sessionsEnded(
    { logout_token: token }: Readonly<Record<string, string>>,
    { requestId }: AuthContext,
  ): Promise<readonly EndedUser[] | undefined> {
    const { parts } = this.#deps;
    if (token === undefined) return undefined;
    try {
      return await this.#read(token);
    } catch (error) {
      const { JOSEError, JWKSTimeout, ...others } = (await loadJose()).errors;
      const isUnknown = error instanceof JWKSTimeout || error instanceof others.JWKSInvalid;
      if (!(error instanceof JOSEError) || isUnknown || error.code === 'ERR_JOSE_GENERIC')
        throw error;
      if (this.#lines.isDue(error.code))
        parts.logger.warn({ requestId, reason: error.code }, 'a logout token was refused');
      return undefined;
    }
  }

  async #read(token: string): Promise<readonly EndedUser[]> {
    const { clientId, connection, parts } = this.#deps;
    const { errors, jwtVerify } = await loadJose();
    const provider = await connection.get();
    const keys = this.#keys.get(provider) ?? keysOf(provider);
    this.#keys.set(provider, keys);
    const { payload, protectedHeader } = await jwtVerify(token, await keys, {
      ...{ issuer: provider.issuer, audience: clientId, algorithms: signingAlgorithms },
      clockTolerance,
      ...{ maxTokenAge: maxAge, requiredClaims: ['iat', 'jti'] },
      currentDate: new Date(parts.now()),
    });
    const wrong = wrongPart(protectedHeader.typ, payload);
    if (wrong !== undefined) throw new errors.JWTInvalid(wrong);
    const used = `jti:${keyOf(provider.issuer, String(payload.jti))}`;
    if ((await parts.store.get(used)) !== undefined)
      throw new errors.JWTInvalid('the token was used before');
    const users = await this.#usersOf(provider.issuer, payload);
    await Promise.all(users.map((user) => parts.endSessions(user)));
    // Not before: if the store failed, the provider sends the token again. It is harmless if two
    // processes get the token at the same time.
    await parts.store.set(used, true, 2 * (maxAge + clockTolerance));
    return users;
  }

  async #usersOf(iss: string, { sid, sub }: JWTPayload): Promise<readonly EndedUser[]> {
    const { records, nameOf } = this.#deps;
    const sessions = typeof sid === 'string' ? await records.sessionsOf(iss, sid) : [];
    if (sessions.length > 0) return sessions;
    const username = sub === undefined ? undefined : await nameOf(iss, sub);
    return username === undefined ? [] : [{ username }];
  }
}

/** Returns the first part of a logout token that is wrong. */
function wrongPart(typ: unknown, payload: JWTPayload): string | undefined {
  const { events, sid, sub } = payload;
  if (typ !== undefined && !(typeof typ === 'string' && /^logout\+jwt$/i.test(typ))) return 'typ';
  if (typeof payload.jti !== 'string') return 'jti';
  if ('nonce' in payload) return 'nonce';
  const event = (events as Record<string, unknown> | null | undefined)?.[logoutEvent];
  if (typeof event !== 'object' || event === null) return 'events';
  if (typeof sid !== 'string' && typeof sub !== 'string') return 'sid and sub';
  return undefined;
}

/** Returns the keys of the provider. They are read again for an unknown key, once a minute. */
async function keysOf({ metadata, fetch }: Provider) {
  const { createRemoteJWKSet, customFetch } = await loadJose();
  return createRemoteJWKSet(new URL(String(metadata.jwks_uri)), {
    ...{ cooldownDuration: 60_000, cacheMaxAge: 600_000 },
    [customFetch]: fetch,
  });
}
