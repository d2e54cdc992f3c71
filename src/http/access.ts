import type { Context } from 'koa';

/** `viewer`, `operator` and `admin` each include the ones before them; any other name matches exactly. */
export type Role = 'viewer' | 'operator' | 'admin' | (string & {});

/** Whoever a request comes from. */
export interface Actor {
  name: string;
  roles: readonly Role[];
}

/** What happened, for the audit. */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  at: string;
  /** `login`, `logout`, `end_session`, `end_all_sessions`, or what was done to tasks, such as `retry`. */
  action: string;
  /** Who did it; absent for a request of nobody. */
  actor?: string | undefined;
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
 * The port between the web layer and a login: the web layer asks it, `createAuth` implements it, and an app with a
 * login of its own may too. Only `who` is required.
 */
export interface Access {
  /** Who the request comes from; `undefined` for nobody. A throw is answered with 503 and lets nobody in. */
  who(ctx: Context): Actor | undefined | Promise<Actor | undefined>;
  /** Where a page request of nobody is sent. Without it such a request gets a 401 page. */
  loginUrl?(ctx: Context): string;
  /** Where the dashboard's sign-out form is sent by POST. Without it there is no such form. */
  logoutUrl?(ctx: Context): string;
  /**
   * Aborts, with `'expired'` or `'revoked'` as the reason, when the actor's session ends. Any other reason ends streams
   * without a word about the session, so that clients come back.
   */
  ended?(ctx: Context): AbortSignal;
  /** The paths of the login's own routes under that mount, as OpenAPI path items, for `GET P/openapi.json`. */
  describe?(mount: string): object;
  /** Told of every action, refused ones too. */
  record?(event: AuditEvent): void;
  /** What `GET P/audit` answers. */
  audit?(query: AuditQuery): Promise<Page<AuditEvent>>;
}

const ladder = ['viewer', 'operator', 'admin'];

/** Whether any of `roles` is `needed` or includes it. No role at all, and names unknown here, still read. */
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
