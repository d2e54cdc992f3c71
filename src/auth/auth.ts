import type { Context } from 'koa';
import type { Access, StrategyHealth } from '../http/access.js';
import type { Mount } from '../http/mount.js';
import { type Logger, wrongKind } from '../options.js';
import type { SignedInUser } from './app-sign-in.js';
import type { CheckedAuthOptions } from './auth-options.js';
import type { LoginRoute } from './openapi.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Session } from './sessions/session.js';
import type { StrategyRegistry } from './strategies/registry.js';
import type { TokenIssuer } from './strategies/token-issuer.js';

/*
 * `createAuth` makes an Auth. `sessionToken`, `requireAuth` and `loginRoutes` receive only that
 * object from the app. They look up its internals here. The internals are not properties of the
 * object, so that printing or serializing it shows no key.
 */

/**
 * A login that its middlewares share. It is an {@link Access}, so it can also guard the dashboard.
 */
export interface Auth extends Access {
  /** The configured `path`. */
  readonly path: string;
  loginUrl(ctx: Context): string;
  logoutUrl(ctx: Context): string;
  ended(ctx: Context): AbortSignal;
  /**
   * Returns for each strategy whether it answers, since when, and what it was asked. Calls the
   * `check` of each strategy whose last answer is older than a minute, one process at a time.
   *
   * @throws TaskflowError STORE_UNAVAILABLE (rejects) if the store does not answer.
   */
  health(): Promise<readonly StrategyHealth[]>;
  /**
   * Opens a session for a user whom the app's own code has authenticated, such as by a link or by a
   * certificate. Sets the cookies of the response, ends the sessions that the request carried, and
   * resolves to the session. Call it only when the proof is complete: it checks none.
   *
   * @throws TypeError or RangeError (rejects) if the strategy is not registered, or the name or the
   * roles are not valid. TaskflowError STORE_UNAVAILABLE if the store does not answer.
   * @example
   * ```ts
   * await auth.signIn(ctx, { strategy: 'staff', username: 'ann', roles: ['viewer'] });
   * ```
   */
  signIn(ctx: Context, user: SignedInUser): Promise<Session>;
  /**
   * Ends all sessions of a user in all processes that share the store. Also ends their streams and
   * logins in progress. Call it after a password change that `find_user` does not report.
   * `username` is the canonical name that the strategy returns. Names that differ only in case,
   * width or invisible characters count as the same user. Resolves when the store has recorded it.
   *
   * @throws TypeError or RangeError (rejects) if the strategy is not registered or the name is not
   * valid. TaskflowError STORE_UNAVAILABLE if the store does not answer.
   */
  signOutEverywhere(strategy: string, username: string): Promise<void>;
}

/**
 * The internals of a login, which its middlewares use in addition to the methods of {@link Auth}.
 */
export interface AuthInternals {
  readonly reader: SessionReader;
  readonly mount: Mount;
  /** Ids of the present secret keys, the one that signs first. */
  readonly keyIds: readonly string[];
  readonly trustedOrigins: readonly string[];
  readonly logger: Logger;
  /**
   * Returns the URL below which browsers find the style of the pages, or `undefined` if it is
   * unknown.
   */
  readonly assets: (ctx: Context) => string | undefined;
  /** Returns the rows of the login's routes. */
  readonly routes: () => readonly LoginRoute[];
  readonly registry: StrategyRegistry;
  /** The checked options, for the commands of `npx koa-taskflow`. */
  readonly options: CheckedAuthOptions;
  /** Returns the keys that sign sessions, which no output may contain. */
  readonly secrets: () => readonly string[];
  /** The strategy that issues API tokens, if one is registered. */
  readonly issuer: TokenIssuer | undefined;
}

const internals = new WeakMap<object, AuthInternals>();

/** Freezes a new Auth and stores its internals. */
export function keepInternals(auth: Auth, inside: AuthInternals): Auth {
  internals.set(auth, inside);
  return Object.freeze(auth);
}

/** Whether the value is an Auth that `createAuth` returned. */
export function isAuth(value: unknown): value is Auth {
  return typeof value === 'object' && value !== null && internals.has(value);
}

/**
 * Returns the internals of an Auth.
 *
 * @throws TypeError for any other value.
 */
export function internalsOf(auth: Auth): AuthInternals {
  const found = typeof auth === 'object' && auth !== null ? internals.get(auth) : undefined;
  if (!found)
    throw wrongKind('auth', auth, 'what createAuth() returned, such as createAuth({ strategies })');
  return found;
}
