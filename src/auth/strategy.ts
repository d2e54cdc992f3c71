import type { Role } from '../http/access.js';

/** What a strategy answers. Only `true` or an object with `ok: true` lets anyone in; anything else does not. */
export type Verdict =
  | boolean
  | {
      ok: true;
      /** Name of the session's user; the one that was typed when absent. 1 to 256 printable characters. */
      username?: string;
      /** Roles of the session; `['admin']`, full access, when absent. `[]` may read only. */
      roles?: readonly Role[];
    };

/** What a strategy is told about an attempt, beside the credentials. */
export interface AuthContext {
  /** Aborts when the time limit of the strategy is over; what it answers later is ignored. */
  signal: AbortSignal;
  /** Address of the client, as Koa sees it. */
  ip: string;
  /** Id of the request, as in the log. */
  requestId: string;
}

/** What a strategy knows of a user apart from a login. */
export interface KnownUser {
  /** Changes when the password does. */
  version: string;
  roles?: readonly Role[] | undefined;
}

/** A strategy that checks a user name and a password, against anything: a list, a database, a directory. */
export interface AuthStrategy {
  /**
   * Checks what was typed, exactly as it was typed. May be sync or async; a throw or a rejection is an error of the
   * strategy, which is logged and lets nobody in.
   */
  authenticate_user(username: string, password: string, context: AuthContext): Verdict | Promise<Verdict>;
  /** Optional: a name it knows may be written to the log in full when a login fails. */
  find_user?(username: string): KnownUser | undefined | Promise<KnownUser | undefined>;
}

/** Whether a value can be asked to check a password. */
export function isStrategy(value: unknown): value is AuthStrategy {
  return typeof value === 'object' && value !== null && typeof (value as { authenticate_user?: unknown }).authenticate_user === 'function';
}

/** Control characters and lone surrogates have no place in a name. */
const printable = /^[^\p{Cc}\p{Cs}\u2028\u2029]{1,256}$/u;

/** Whether a value may be the name of a user: 1 to 256 printable characters. */
export function isUserName(value: unknown): value is string {
  return typeof value === 'string' && printable.test(value);
}

/** Roles of users that a configuration names; throws on anything but a list of names. */
export function rolesOption(option: string, roles: unknown): readonly Role[] | undefined {
  if (roles === undefined) return undefined;
  if (!isRoleList(roles)) throw new TypeError(`${option} must be a list of at most 32 role names`);
  return [...roles];
}

/** Whether a value is a list of at most 32 role names. */
export function isRoleList(roles: unknown): roles is readonly Role[] {
  return Array.isArray(roles) && roles.length <= 32 && roles.every((role) => isUserName(role) && role.length <= 64);
}
