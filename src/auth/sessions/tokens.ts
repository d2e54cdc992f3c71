import {
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { outOfRange } from '../../options.js';
import { isRoleList, isUserName } from '../strategies/strategy.js';
import type { Session } from './session.js';

/** Seconds that the clocks of two hosts may differ. */
export const clockSkew = 60;
const maxBytes = 4096;
/** Tokens remembered as verified; each costs about 1.5 KB. */
const remembered = 10_000;

/** Claims of a token that are not part of `ctx.state.session`. */
interface Extra {
  /** The claim `sv`. */
  version: string;
  /** The claim `after`, or 0. */
  signOut: number;
}

const extras = new WeakMap<Session, Extra>();

interface SigningKey {
  key: KeyObject;
  /** The one header this key's tokens have, encoded. */
  header: string;
}

/** Makes and checks the tokens of one login. */
export interface Tokens {
  /**
   * Makes the token of a session. `version` is that of its user, the claim `sv`. `signOut` names
   * the sign-out everywhere that the login follows, the claim `after`. A token has that claim only
   * if the clock alone cannot show it.
   */
  sign(session: Session, version: string, signOut?: number): string;
  /**
   * Whether a text looks like a token of this login: it begins with the header of one of the keys.
   */
  isOurs(text: string): boolean;
  /**
   * Returns the session of a token whose signature, shape and path are right, expired or not.
   * Returns `undefined` for any other text.
   */
  read(token: string): Session | undefined;
  /** Returns the user's version in the token of a session that was read or signed here. */
  versionOf(session: Session): string;
  /**
   * Returns the sign-out everywhere that the login of a session read or signed here follows; 0
   * without one.
   */
  signOutOf(session: Session): number;
  /** Whether a session is valid at this time: neither expired nor from the future. */
  isCurrent(session: Session): boolean;
  /** The id of each key, 8 characters, newest first. */
  readonly keyIds: readonly string[];
}

interface TokensOptions {
  /** The first signs, all verify. */
  secretKeys: readonly string[];
  /** The path of the login. A token is invalid for any other. */
  audience: string;
  /** The most seconds that a session lasts, whatever its token says. */
  tokenExpiry: number;
  /** The most seconds that a token lasts from its issue, whatever it says. */
  idleTimeout?: number | undefined;
  now: () => number;
}

/**
 * Makes the tokens of a login: a compact JWS with HS256 (RFC 7515), of exactly the shape made here.
 */
export function createTokens({
  secretKeys,
  audience,
  tokenExpiry,
  idleTimeout = Number.POSITIVE_INFINITY,
  now,
}: TokensOptions): Tokens {
  const keys = secretKeys.map(signingKey);
  const [first] = keys;
  if (!first) throw outOfRange('secretKey', secretKeys, 'a list with at least one key');
  // The header is compared as text and never parsed, so that no field of it can select anything
  // (RFC 8725 section 3.1).
  const byHeader = new Map(keys.map((each) => [each.header, each.key]));
  const verified = new LRUCache<string, Session>({ max: remembered });

  const check = (token: string): Session | undefined => {
    if (token.length > maxBytes) return undefined;
    const [, header, payload, signature] = /^([\w-]+)\.([\w-]+)\.([\w-]{43})$/.exec(token) ?? [];
    const key = header === undefined ? undefined : byHeader.get(header);
    if (!key || payload === undefined || signature === undefined) return undefined;
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(mac(key, `${header}.${payload}`))))
      return undefined;
    return readClaims(payload, { audience, tokenExpiry, idleTimeout });
  };

  return {
    keyIds: keys.map(
      ({ header }) =>
        (JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }).kid,
    ),
    isOurs: (text) => byHeader.has(text.split('.', 1)[0] ?? ''),
    versionOf: (session) => extras.get(session)?.version ?? '',
    signOutOf: (session) => extras.get(session)?.signOut ?? 0,
    sign(session, version, signOut = 0) {
      extras.set(session, { version, signOut });
      const payload = encode(claimsOf(session, audience, { version, signOut }));
      return `${first.header}.${payload}.${mac(first.key, `${first.header}.${payload}`)}`;
    },
    read(token) {
      let known = verified.get(token);
      if (!known) {
        known = check(token);
        if (known) verified.set(token, known);
      }
      return known;
    },
    isCurrent: (session) => isCurrent(session, now()),
  };
}

function signingKey(secret: string): SigningKey {
  const kid = createHash('sha256').update('kid').update(secret).digest('base64url').slice(0, 8);
  return {
    key: createSecretKey(Buffer.from(secret)),
    header: encode({ alg: 'HS256', typ: 'JWT', kid }),
  };
}

function mac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function claimsOf(session: Session, audience: string, { version, signOut }: Extra): object {
  return {
    sub: session.username,
    iat: session.issuedAt.getTime() / 1000,
    exp: session.expiresAt.getTime() / 1000,
    jti: session.id,
    aud: audience,
    auth_time: session.authenticatedAt.getTime() / 1000,
    strategy: session.strategy,
    roles: session.roles,
    sv: version,
    ...(signOut > 0 && { after: signOut }),
  };
}

const claimNames = ['sub', 'iat', 'exp', 'jti', 'aud', 'auth_time', 'strategy', 'roles', 'sv'];

/**
 * Returns the session of the claims, if they are exactly the known ones, each of its type. Text
 * that JSON can spell in two ways is refused.
 */
function readClaims(
  payload: string,
  {
    audience,
    tokenExpiry,
    idleTimeout,
  }: { audience: string; tokenExpiry: number; idleTimeout: number },
): Session | undefined {
  const text = Buffer.from(payload, 'base64url').toString();
  let claims: Record<string, unknown>;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null || JSON.stringify(parsed) !== text)
      return undefined;
    claims = parsed as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const { sub, iat, exp, jti, aud, auth_time, strategy, roles, sv, after } = claims;
  const names = Object.keys(claims).filter((name) => name !== 'after');
  if (
    names.length !== claimNames.length ||
    !claimNames.every((name) => Object.hasOwn(claims, name))
  )
    return undefined;
  if (Object.hasOwn(claims, 'after') && !(Number.isSafeInteger(after) && Number(after) > 0))
    return undefined;
  if (!isUserName(sub) || !isTime(iat) || !isTime(exp) || !isTime(auth_time) || aud !== audience)
    return undefined;
  if (
    typeof jti !== 'string' ||
    !/^[\w-]{16,64}$/.test(jti) ||
    typeof strategy !== 'string' ||
    !isRoleList(roles) ||
    typeof sv !== 'string'
  )
    return undefined;
  // Fractions of a second leave a rounding error of far less than a millisecond.
  if (auth_time > iat || iat >= exp || exp - auth_time > tokenExpiry + 0.001) return undefined;
  const session: Session = {
    id: jti,
    username: sub,
    strategy,
    roles,
    issuedAt: new Date(iat * 1000),
    expiresAt: new Date(Math.min(exp, iat + idleTimeout) * 1000),
    authenticatedAt: new Date(auth_time * 1000),
  };
  extras.set(session, { version: sv, signOut: Number(after ?? 0) });
  return session;
}

/** A NumericDate that a Date can hold. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= 8.64e12;
}

function isCurrent({ issuedAt, expiresAt, authenticatedAt }: Session, now: number): boolean {
  const soon = now + clockSkew * 1000;
  return (
    now < expiresAt.getTime() && issuedAt.getTime() <= soon && authenticatedAt.getTime() <= soon
  );
}
