import type { Role } from '../../http/access.js';
import { wrongType } from '../../options.js';

/** The answer of a strategy. Only `true` or an object with `ok: true` accepts the user. */
export type Verdict =
  | boolean
  | {
      ok: true;
      /**
       * Name of the session's user, 1 to 256 printable characters. Default: the name as typed. A
       * strategy that accepts several spellings of a name must return the canonical name here.
       * Sessions, the session list and `signOutEverywhere` use it.
       */
      username?: string;
      /**
       * Roles of the session, at most 32 with at most 64 characters each. Default: `['admin']`,
       * which is full access. With `[]`, the user may only read. Roles that `find_user` returns
       * take precedence.
       */
      roles?: readonly Role[];
    };

/** The data of an attempt that a strategy receives in addition to the credentials. */
export interface AuthContext {
  /** Aborts when the call exceeds the time limit of the strategy. Later answers are ignored. */
  signal: AbortSignal;
  /** Address of the client. It comes from a proxy header only with `app.proxy`. */
  ip: string;
  /** The request id, as in the log. */
  requestId: string;
}

/** The second argument of `find_user`. */
export interface FindUserContext {
  /** Aborts when the call exceeds the time limit of the strategy. Later answers are ignored. */
  readonly signal: AbortSignal;
}

/** The state of a user, independent of a login. */
export interface KnownUser {
  /**
   * A text that changes with every change of the password, such as the stored hash. The date of the
   * change is not enough, because two changes may have the same date.
   */
  version: string;
  /**
   * Roles of the user, at most 32 with at most 64 characters each. They take precedence over the
   * roles of the verdict.
   */
  roles?: readonly Role[] | undefined;
}

/** A strategy that checks a username and a password against a list, a database or a directory. */
export interface AuthStrategy {
  /**
   * Checks the credentials exactly as the user typed them. May return the verdict or a thenable of
   * it. If it throws or rejects, the error is logged and the login is rejected.
   */
  authenticate_user(
    username: string,
    password: string,
    context: AuthContext,
  ): Verdict | PromiseLike<Verdict>;
  /**
   * Returns the state of a user, or `undefined` if there is no such user. May return a thenable.
   * Optional. The name is the canonical name, or a name that a user typed. A login calls this
   * before and after the password check, and is rejected if the version changed in between. When
   * the version or the roles change, the sessions of the user end.
   */
  find_user?(
    username: string,
    context: FindUserContext,
  ): KnownUser | undefined | PromiseLike<KnownUser | undefined>;
}

/**
 * Whether a value is a thenable. Not every thenable is a Promise: query builders have their own.
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

/** Matches 1 to 256 characters without control characters and lone surrogates. */
const printable = /^[^\p{Cc}\p{Cs}\u2028\u2029]{1,256}$/u;

/** Whether a value may be the name of a user: 1 to 256 printable characters. */
export function isUserName(value: unknown): value is string {
  return typeof value === 'string' && printable.test(value);
}

/** Checks the roles of a configured user. Throws if the value is not a list of role names. */
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
