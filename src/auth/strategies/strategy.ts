import type { Role } from '../../http/access.js';
import { wrongType } from '../../options.js';

/** The answer of a strategy. Only `true` or an object with `ok: true` accepts the user. */
export type Verdict =
  | boolean
  | {
      ok: true;
      /**
       * Name of the session's user, 1 to 256 printable characters. Default: the name as typed. If
       * the strategy accepts several spellings for a user, return the canonical name here:
       * sessions, the session list and `signOutEverywhere` use it.
       */
      username?: string;
      /**
       * Roles of the session, at most 32 of at most 64 characters. Default: `['admin']`, full
       * access. `[]` may only read. The roles that `find_user` returns take precedence.
       */
      roles?: readonly Role[];
    };

/** The data of an attempt that a strategy gets in addition to the credentials. */
export interface AuthContext {
  /** Aborts when the time limit of the strategy is over. A later answer is ignored. */
  signal: AbortSignal;
  /** Address of the client, as Koa sees it. */
  ip: string;
  /** The request id, as in the log. */
  requestId: string;
}

/** The second argument of `find_user`. */
export interface FindUserContext {
  /** Aborts when the time limit of the strategy is over. A later answer is ignored. */
  readonly signal: AbortSignal;
}

/** What a strategy knows about a user apart from a login. */
export interface KnownUser {
  /**
   * Must change with every password, as the stored hash does. The date of a change is not enough:
   * two changes may share a date.
   */
  version: string;
  /**
   * Roles of the user, at most 32 of at most 64 characters. They take precedence over those of the
   * verdict.
   */
  roles?: readonly Role[] | undefined;
}

/** A strategy that checks a username and a password against a list, a database or a directory. */
export interface AuthStrategy {
  /**
   * Checks the credentials exactly as they were typed. May return the verdict or any thenable of
   * it. If it throws or rejects, the error is logged and the login is rejected.
   */
  authenticate_user(
    username: string,
    password: string,
    context: AuthContext,
  ): Verdict | PromiseLike<Verdict>;
  /**
   * Optional. Returns the state of a user, or `undefined` if there is no such user; may return any
   * thenable of it. The name is the canonical one, or the one typed into a login. A login asks
   * before and after the password check, and a version that changed in between rejects the login.
   * When the version or the roles change, the sessions of the user end.
   */
  find_user?(
    username: string,
    context: FindUserContext,
  ): KnownUser | undefined | PromiseLike<KnownUser | undefined>;
}

/**
 * Whether a value is a thenable, which is not always a Promise: query builders return one of their
 * own.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/** Whether a value is a strategy. */
export function isStrategy(value: unknown): value is AuthStrategy {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { authenticate_user?: unknown }).authenticate_user === 'function'
  );
}

/** Excludes control characters and lone surrogates. */
const printable = /^[^\p{Cc}\p{Cs}\u2028\u2029]{1,256}$/u;

/** Whether a value may be the name of a user: 1 to 256 printable characters. */
export function isUserName(value: unknown): value is string {
  return typeof value === 'string' && printable.test(value);
}

/** Checks the roles that a configuration gives a user. Throws for anything but a list of names. */
export function rolesOption(option: string, roles: unknown): readonly Role[] | undefined {
  if (roles === undefined) return undefined;
  if (!isRoleList(roles))
    throw wrongType(option, roles, "a list of at most 32 role names, such as ['viewer']");
  return [...roles];
}

/** Whether a value is a list of at most 32 role names. */
export function isRoleList(roles: unknown): roles is readonly Role[] {
  return (
    Array.isArray(roles) &&
    roles.length <= 32 &&
    roles.every((role) => isUserName(role) && role.length <= 64)
  );
}
