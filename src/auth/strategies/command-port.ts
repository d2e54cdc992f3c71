import type { Role } from '../../http/access.js';

/** One result of `npx koa-taskflow doctor`. A warning and a fault say what to do. */
export type Finding =
  | {
      readonly mark: 'ok';
      /** What was checked, such as `redirect URI`. */
      readonly what: string;
      /** What was found, in one line without secrets. */
      readonly found: string;
    }
  | {
      /** `fault` if users cannot sign in, or cannot sign in safely, until it is changed. */
      readonly mark: 'warning' | 'fault';
      readonly what: string;
      readonly found: string;
      /** What an administrator does about it. */
      readonly todo: string;
    };

/** What `doctor` of a strategy gets. */
export interface DoctorContext {
  /** Aborts when the time limit of the strategy is over. */
  readonly signal: AbortSignal;
  /** The name under which the strategy is registered. */
  readonly name: string;
  /**
   * Returns the URL of a route of the login as browsers see it, such as that of
   * `/auth/callback/okta`. Returns `undefined` if neither `publicUrl` nor `--url` is given.
   */
  urlOf(route: string): string | undefined;
}

/** The user of a dry run. No password is checked. */
export interface DryRunUser {
  /** The name that the user would type. */
  readonly username?: string | undefined;
  /** The claims of an ID token, as the provider would send them. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** A row of a table of roles that matched. */
export interface MatchingRow {
  /** The text of the row, such as the name of a group. */
  readonly row: string;
  readonly roles: readonly Role[];
}

/** Which roles a user gets, and why. */
export interface Explanation {
  /** The name of the session; absent if the user cannot have one. */
  readonly username?: string | undefined;
  /** Roles of the user; `false` if the login is rejected. */
  readonly roles: readonly Role[] | false;
  /** Why the login is rejected. */
  readonly reason?: string | undefined;
  /** The list that decides, such as the groups of the user. */
  readonly list?: { readonly name: string; readonly texts: readonly string[] } | undefined;
  /** The rows of the table that matched; absent if no table decides. */
  readonly rows?: readonly MatchingRow[] | undefined;
}

/** Optional members of all strategies, for the commands of `npx koa-taskflow`. */
export interface CommandExtras {
  /**
   * Returns what an administrator must know about the strategy, for `npx koa-taskflow doctor`. It
   * must change nothing, and no text may contain a secret. `check` is called separately.
   */
  doctor?(context: DoctorContext): readonly Finding[] | PromiseLike<readonly Finding[]>;
  /**
   * Returns the roles that a user would get, and why, without a password: the dry run of `npx
   * koa-taskflow doctor`. Without it, the dry run shows what `find_user` answers.
   *
   * @throws Error if the strategy needs something else than it got, such as a name.
   */
  explain?(
    user: DryRunUser,
    context: { readonly signal: AbortSignal },
  ): Explanation | PromiseLike<Explanation>;
  /**
   * Lets another user of a provider use a name, for `npx koa-taskflow unpin`. Resolves to `false`
   * if the name was not pinned to a user.
   */
  unpin?(username: string): PromiseLike<boolean>;
}
