import type { Context } from 'koa';
import type { Logger } from '../options.js';
import { errorFields } from './error-fields.js';

/**
 * A role of a user. `viewer`, `operator` and `admin` each include the roles before them. Any other
 * name matches exactly.
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
  /**
   * Whether the user has a session that a sign-out can end. `false` if something else identifies
   * each request, such as a header that a proxy adds. The dashboard then has no sign-in form, and a
   * link to `logoutUrl` instead of the sign-out form. Default `true`.
   */
  hasSession?: boolean | undefined;
}

/** An event of the audit log. */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  at: string;
  /**
   * `login`, `logout`, `end_session`, `end_all_sessions`, `token_created`, `token_rotated`,
   * `token_revoked`, `name_pinned`, `name_unpinned`, or the command that changed tasks, such as
   * `retry`.
   */
  action: string;
  /** Name of the user who caused the event; absent if the request was anonymous. */
  actor?: string | undefined;
  /** The strategy that this user signed in with. It distinguishes users with the same name. */
  strategy?: string | undefined;
  outcome: 'done' | 'refused' | 'failed';
  ip?: string | undefined;
  requestId?: string | undefined;
  /** Ids of the affected tasks, at most 20. */
  tasks?: readonly string[] | undefined;
  detail?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** Filters and page of a query of the audit log. */
export interface AuditQuery {
  cursor?: string | undefined;
  limit?: number | undefined;
  action?: string | undefined;
  actor?: string | undefined;
  outcome?: AuditEvent['outcome'] | undefined;
  /** Start of the period, inclusive; Unix milliseconds. */
  from?: number | undefined;
  /** End of the period, exclusive; Unix milliseconds. */
  to?: number | undefined;
}

/** A page of a list that is read by cursor. */
export interface Page<T> {
  items: readonly T[];
  /** Cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

/** Whether a strategy of the login answers, and what it was asked. */
export interface StrategyHealth {
  /** The name under which it is registered. */
  name: string;
  /** What the login page calls it. */
  label: string;
  /** Whether it checks passwords, sends the browser to a provider, or identifies each request. */
  kind: 'password' | 'redirect' | 'request';
  /** `up` if it last answered, `down` if it last failed, `unknown` if it was not asked yet. */
  state: 'up' | 'down' | 'unknown';
  /** When the state began. */
  since: Date | null;
  /** When the strategy was last asked. */
  answeredAt: Date | null;
  /** What the last failure said, while the state is `down`. */
  lastError: string | null;
  /** Whether the strategy has a `check`, so that a failure is found without a login. */
  isChecked: boolean;
  /** Users whom it accepted in this process since its start. */
  logins: number;
  /** Attempts that it rejected in this process since its start. */
  rejected: number;
  /** Calls that failed in this process since its start. */
  errors: number;
}

/** A way to sign in that the dashboard offers when the session has ended. */
export interface SignInMethod {
  /** The name of the strategy. */
  name: string;
  /** What the login page calls it. */
  label: string;
  /** Whether it checks passwords or sends the browser to a provider. */
  kind: 'password' | 'redirect';
}

/** What the dashboard uses of the routes of a login under `P/auth`. */
export interface LoginFacts {
  /** The ways to sign in at `P/auth/login` and at `P/auth/start/:strategy`. */
  methods: readonly SignInMethod[];
  /** Whether users have API tokens, at `P/auth/tokens`. */
  issuesTokens: boolean;
}

/**
 * The port between the web layer and a login. The web layer calls it. `createAuth` implements it,
 * and so can an app that has its own login. Only `who` is required.
 *
 * If a method throws an error with `expose: true` and a status of 4xx, as `ctx.throw(403, 'No')`
 * does, the response has that status, and the message is its `detail`. For any other error the
 * status is 500, or 503 if `who` threw it.
 */
export interface Access {
  /**
   * Returns the user that the request comes from, or `undefined` if it is anonymous. Leave
   * `ambient` out, or set it to `true`, if a cookie, a certificate or a header that a proxy adds
   * identifies the user.
   */
  who(ctx: Context): Actor | undefined | Promise<Actor | undefined>;
  /**
   * Returns the URL to which an anonymous page request is redirected. Without this method, the
   * response is a 401 page.
   */
  loginUrl?(ctx: Context): string;
  /**
   * Returns the URL to which the dashboard posts its sign-out form. Without this method, the
   * dashboard has no such form.
   */
  logoutUrl?(ctx: Context): string;
  /**
   * Returns a signal that aborts when the session of the user ends. Its reason is `'expired'` or
   * `'revoked'`. With any other reason, streams end without an event about the session, and clients
   * reconnect. With `'reconnect'`, they show no lost connection meanwhile.
   */
  ended?(ctx: Context): AbortSignal;
  /**
   * Rejects if the login cannot serve any request, for example because its store belongs to another
   * app. `GET P/health` then answers 503.
   */
  usable?(): Promise<void>;
  /**
   * Returns the paths of the login's own routes under the mount as OpenAPI path items, for `GET
   * P/openapi.json`.
   */
  describe?(mount: string): object;
  /**
   * Returns the names of the strategies that users can sign in with. The dashboard shows the
   * strategy beside a user's name unless it is the only one. Without this method, the dashboard
   * shows the strategy of every user that has one.
   */
  strategies?(): readonly string[];
  /**
   * Returns what the dashboard uses of the routes under `P/auth`, which the login has if
   * `createAuth` made it. Without this method, the dashboard does not use these routes: it shows
   * neither strategies nor API tokens, and has no sign-in form.
   */
  login?(): LoginFacts;
  /**
   * Returns the health of the strategies, for `GET P/metrics/prometheus`. Calls the checks that are
   * due.
   */
  health?(): Promise<readonly StrategyHealth[]>;
  /** Returns the name of the session cookie, for `GET P/openapi.json`. */
  cookieName?(ctx: Context): string;
  /**
   * Called for every action, including refused ones. If it throws or rejects, the error is logged
   * and the response stays the same.
   */
  record?(event: AuditEvent): void | Promise<void>;
  /**
   * Returns the events that `GET P/audit` answers. Without this method, `taskAdmin` stores every
   * event with the tasks, and answers with the stored events.
   */
  audit?(query: AuditQuery): Promise<Page<AuditEvent>>;
}

/**
 * Calls `write` with an audit event. If it throws or rejects, logs the error: the action that the
 * event describes has already been done or refused. Never rejects. No request waits for it.
 */
export async function recordEvent(
  event: AuditEvent,
  write: (event: AuditEvent) => void | Promise<void>,
  logger: Logger,
): Promise<void> {
  try {
    await write(event);
  } catch (error) {
    logger.error(
      { event: 'audit_failed', action: event.action, err: errorFields(error) },
      'an audit row could not be stored',
    );
  }
}

const ladder = ['viewer', 'operator', 'admin'];

/**
 * Whether any of `roles` is `needed` or includes it. Every user may read, even without a role or
 * with only unknown roles.
 */
export function hasRole(roles: readonly Role[], needed: Role): boolean {
  const rank = ladder.indexOf(needed);
  if (rank <= 0) return rank === 0 || roles.includes(needed);
  return roles.some((role) => ladder.indexOf(role) >= rank);
}

const open = new WeakSet<Access>();

/** Returns the access of an app without a login: every request has full access. */
export function openAccess(trail?: Pick<Access, 'record' | 'audit'>): Access {
  const access: Access = { who: () => ({ name: 'anonymous', roles: ['admin'] }), ...trail };
  open.add(access);
  return access;
}

/** Whether no login is configured. */
export function isOpen(access: Access): boolean {
  return open.has(access);
}
