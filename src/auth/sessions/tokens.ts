import {
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { isRoleList, isUserName } from '../strategies/user-fields.js';
import type { Session } from './session.js';

/** Seconds by which the clocks of two hosts may differ. */
export const clockSkew = 60;
const maxBytes = 4096;
/** Number of verified tokens in the cache. Each takes about 1.5 KB. */
const remembered = 10_000;

/** Claims of a token that are not members of the session. */
interface Extra {
  /** The claim `sv`. */
  version: string;
  /** The claim `after`; 0 if it is absent. */
  signOut: number;
}

const extras = new WeakMap<Session, Extra>();

interface SigningKey {
  id: string;
  key: KeyObject;
  /** The encoded header of all tokens that this key signs. */
  header: string;
}

/** Signs and verifies the tokens of one login. */
export interface Tokens {
  /**
   * Returns the token of a session. `version` is the version of its user (claim `sv`). `signOut` is
   * the last `signOutEverywhere` before the login (claim `after`). A token has that claim only if
   * the two times alone do not show the order.
   */
  sign(session: Session, version: string, signOut?: number): string;
  /**
   * Whether a text looks like a token of this login, because it begins with the header of one of
   * the keys.
   */
  isOurs(text: string): boolean;
  /**
   * Returns the session of a token, expired or not, if its signature, shape and path are right.
   * Otherwise, returns `undefined`.
   */
  read(token: string): Session | undefined;
  /** Returns the user's version in the token of a session that was read or signed here. */
  versionOf(session: Session): string;
  /**
   * Returns the last `signOutEverywhere` of the user before the login of a session, or 0 if there
   * was no call. This object must have read or signed the session.
   */
  signOutOf(session: Session): number;
  /** Whether a session is valid at present: neither expired nor from the future. */
  isCurrent(session: Session): boolean;
  /** The ids of the present keys, 8 characters each, the one that signs first. */
  readonly keyIds: readonly string[];
}

/** The keys of one list of secrets. */
interface TokenKeys {
  secrets: readonly string[];
  all: readonly SigningKey[];
  byHeader: ReadonlyMap<string, KeyObject>;
}

interface TokensOptions {
  /**
   * Returns the secret keys: the first one signs, and all verify. Returns the same list until the
   * keys change.
   */
  secretKeys: () => readonly string[];
  /** The path of the login. Tokens of other paths are invalid. */
  audience: string;
  /** Maximum number of seconds that a session lasts, whatever its token says. */
  tokenExpiry: number;
  /** Maximum number of seconds that a token lasts from its issue, whatever the token says. */
  idleTimeout?: number | undefined;
  now: () => number;
}

/**
 * Creates the tokens of a login. A token is a compact JWS with HS256 (RFC 7515). Only tokens of
 * exactly the shape that `sign` produces are valid.
 */
export function createTokens({
  secretKeys,
  audience,
  tokenExpiry,
  idleTimeout = Number.POSITIVE_INFINITY,
  now,
}: TokensOptions): Tokens {
  const verified = new LRUCache<string, Session>({ max: remembered });
  let last: TokenKeys | undefined;
  const keys = (): TokenKeys => {
    const secrets = secretKeys();
    if (last?.secrets === secrets) return last;
    // A token may be of a key that no longer verifies.
    verified.clear();
    const all = secrets.map(signingKey);
    // The header is compared as text and never parsed, so that no header field can select an
    // algorithm or a key (RFC 8725 section 3.1).
    const byHeader = new Map(all.map((each) => [each.header, each.key]));
    last = { secrets, all, byHeader };
    return last;
  };

  const check = (token: string): Session | undefined => {
    if (token.length > maxBytes) return undefined;
    const [, header, payload, signature] = /^([\w-]+)\.([\w-]+)\.([\w-]{43})$/.exec(token) ?? [];
    const key = header === undefined ? undefined : keys().byHeader.get(header);
    if (!key || payload === undefined || signature === undefined) return undefined;
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(mac(key, `${header}.${payload}`))))
      return undefined;
    return readClaims(payload, { audience, tokenExpiry, idleTimeout });
  };

  return {
    get keyIds() {
      return keys().all.map(({ id }) => id);
    },
    isOurs: (text) => keys().byHeader.has(text.split('.', 1)[0] ?? ''),
    versionOf: (session) => extras.get(session)?.version ?? '',
    signOutOf: (session) => extras.get(session)?.signOut ?? 0,
    sign(session, version, signOut = 0) {
      const [first] = keys().all;
      if (!first) throw new Error('there is no secret key yet');
      extras.set(session, { version, signOut });
      const payload = encode(claimsOf(session, audience, { version, signOut }));
      return `${first.header}.${payload}.${mac(first.key, `${first.header}.${payload}`)}`;
    },
    read(token) {
      // If the keys have changed, this forgets the verified tokens.
      keys();
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
    id: kid,
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
 * Returns the session if the claims are exactly the known ones with the right types. Rejects text
 * that differs from its canonical JSON form.
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
  // Fractions of a second cause a rounding error of far less than a millisecond.
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

/** Whether a value is a NumericDate (RFC 7519) within the range of Date. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= 8.64e12;
}

function isCurrent({ issuedAt, expiresAt, authenticatedAt }: Session, now: number): boolean {
  const soon = now + clockSkew * 1000;
  return (
    now < expiresAt.getTime() && issuedAt.getTime() <= soon && authenticatedAt.getTime() <= soon
  );
}
