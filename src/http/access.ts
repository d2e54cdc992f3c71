import type { Context } from 'koa';

/**
 * `viewer`, `operator` and `admin` each include the ones before them; any other name matches
 * exactly.
 */
export type Role = 'viewer' | 'operator' | 'admin' | (string & {});

/** The user that a request comes from. */
export interface Actor {
  name: string;
  roles: readonly Role[];
  /**
   * Whether the browser or a proxy adds the credentials automatically, as with a cookie. A page of
   * another site can then make the browser send them, so the same-origin check applies. `false`
   * only if the client itself sends the credentials, such as a token in `Authorization` that no
   * proxy added. Default `true`.
   */
  ambient?: boolean | undefined;
  /**
   * Name of the strategy that the user signed in with. Users of two strategies may have the same
   * name.
   */
  strategy?: string | undefined;
}

/** What happened, for the audit. */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  at: string;
  /**
   * `login`, `logout`, `end_session`, `end_all_sessions`, or what was done to tasks, such as
   * `retry`.
   */
  action: string;
  /** Name of the user who did it; absent if the request was anonymous. */
  actor?: string | undefined;
  /** The strategy that this user signed in with, which tells apart users with the same name. */
  strategy?: string | undefined;
  outcome: 'done' | 'refused' | 'failed';
  ip?: string | undefined;
  requestId?: string | undefined;
  /** Ids of the tasks concerned, at most 20. */
  tasks?: readonly string[] | undefined;
  detail?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** Which events of the audit are asked for. */
export interface AuditQuery {
  cursor?: string | undefined;
  limit?: number | undefined;
  action?: string | undefined;
  actor?: string | undefined;
  outcome?: AuditEvent['outcome'] | undefined;
  /** Unix milliseconds: from this moment on. */
  from?: number | undefined;
  /** Unix milliseconds: before this moment. */
  to?: number | undefined;
}

/** A page of anything that is read by cursor. */
export interface Page<T> {
  items: readonly T[];
  /** For the next page; null on the last one. */
  nextCursor: string | null;
}

/**
 * The port between the web layer and a login: the web layer asks it, `createAuth` implements it,
 * and an app with a login of its own may too. Only `who` is required.
 */
export interface Access {
  /**
   * The user that the request comes from; `undefined` if it is anonymous. A throw is answered with
   * 503. Leave `ambient` out, or `true`, if the user is known by a cookie, a certificate or a
   *      header that a proxy adds.
   */
  who(ctx: Context): Actor | undefined | Promise<Actor | undefined>;
  /** Where a page request of nobody is sent. Without it such a request gets a 401 page. */
  loginUrl?(ctx: Context): string;
  /** Where the dashboard's sign-out form is sent by POST. Without it there is no such form. */
  logoutUrl?(ctx: Context): string;
  /**
   * Aborts, with `'expired'` or `'revoked'` as the reason, when the actor's session ends. Any other
   * reason ends streams without a word about the session, so that clients come back.
   */
  ended?(ctx: Context): AbortSignal;
  /**
   * Rejects if the login can serve no request, such as when its store belongs to another app.
   * `GET P/health` then answers 503.
   */
  usable?(): Promise<void>;
  /**
   * The paths of the login's own routes under that mount, as OpenAPI path items, for
   * `GET P/openapi.json`.
   */
  describe?(mount: string): object;
  /**
   * Names of the strategies that users can sign in with. The dashboard shows the strategy beside a
   * user's name unless it is the only one. If this is left out, it shows every strategy that an
   * actor has.
   */
  strategies?(): readonly string[];
  /** Name of the cookie that a browser holds its session by, for `GET P/openapi.json`. */
  cookieName?(ctx: Context): string;
  /** Told of every action, refused ones too. */
  record?(event: AuditEvent): void;
  /** What `GET P/audit` answers. */
  audit?(query: AuditQuery): Promise<Page<AuditEvent>>;
}

const ladder = ['viewer', 'operator', 'admin'];

/**
 * Whether any of `roles` is `needed` or includes it. No role at all, and names unknown here, still
 * read.
 */
export function hasRole(roles: readonly Role[], needed: Role): boolean {
  const rank = ladder.indexOf(needed);
  if (rank <= 0) return rank === 0 || roles.includes(needed);
  return roles.some((role) => ladder.indexOf(role) >= rank);
}

const open = new WeakSet<Access>();

/** The access of an app that configured no login: everybody may do everything. */
export function openAccess(trail?: Pick<Access, 'record' | 'audit'>): Access {
  const access: Access = { who: () => ({ name: 'anonymous', roles: ['admin'] }), ...trail };
  open.add(access);
  return access;
}

/** Whether no login is configured. */
export function isOpen(access: Access): boolean {
  return open.has(access);
}
