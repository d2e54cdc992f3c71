import type { Context } from 'koa';
import type { Access } from '../http/access.js';
import type { Mount } from '../http/mount.js';
import { type Logger, wrongType } from '../options.js';
import type { LoginRoute } from './openapi.js';
import type { SessionReader } from './sessions/current-session.js';

/*
 * `createAuth` makes an Auth. The middlewares `sessionToken`, `requireAuth` and `loginRoutes` get
 * only that object from the app, and look up here what its public methods do not offer. It is
 * kept outside the object, so that printing or serializing an Auth shows no key.
 */

/**
 * What the middlewares of a login share. It is an {@link Access}, so it also guards the dashboard.
 */
export interface Auth extends Access {
  /** The configured `path`. */
  readonly path: string;
  loginUrl(ctx: Context): string;
  logoutUrl(ctx: Context): string;
  ended(ctx: Context): AbortSignal;
  /**
   * Ends all sessions of a user, their streams, and logins in progress, in all processes that share
   * the store. Use it after a password change that `find_user` does not report. `username` is the
   * canonical name that the strategy returns. Names that differ only in case, width or invisible
   * characters count as the same user. Resolves when the store has recorded it.
   *
   * @throws TypeError or RangeError (rejects) if the strategy is not registered or the name is not
   * valid. TaskflowError STORE_UNAVAILABLE if the store does not answer.
   */
  signOutEverywhere(strategy: string, username: string): Promise<void>;
}

/** The internals of a login that its middlewares use in addition to the methods of {@link Auth}. */
export interface AuthInternals {
  readonly reader: SessionReader;
  readonly mount: Mount;
  /** Names the secret keys, newest first. */
  readonly keyIds: readonly string[];
  readonly trustedOrigins: readonly string[];
  readonly logger: Logger;
  /** The URL below which a browser finds the style of the pages; `undefined` if it is not known. */
  readonly assets: (ctx: Context) => string | undefined;
  /** Makes the rows of the login's routes. */
  readonly routes: () => readonly LoginRoute[];
}

const internals = new WeakMap<object, AuthInternals>();

/** Freezes a new Auth and keeps what belongs to it. */
export function keepInternals(auth: Auth, inside: AuthInternals): Auth {
  internals.set(auth, inside);
  return Object.freeze(auth);
}

/** Whether the value is an Auth that `createAuth` returned. */
export function isAuth(value: unknown): value is Auth {
  return typeof value === 'object' && value !== null && internals.has(value);
}

/**
 * Returns what belongs to an Auth.
 *
 * @throws TypeError for any other value.
 */
export function internalsOf(auth: Auth): AuthInternals {
  const found = typeof auth === 'object' && auth !== null ? internals.get(auth) : undefined;
  if (!found)
    throw wrongType('auth', auth, 'what createAuth() returned, such as createAuth({ strategies })');
  return found;
}
