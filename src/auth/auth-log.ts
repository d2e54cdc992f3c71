import { Background } from '../background.js';
import type { AuditEvent } from '../http/access.js';
import { errorFields, redacted } from '../http/error-fields.js';
import type { Logger } from '../options.js';
import type { AuditTrail } from './audit-trail.js';
import { macOf } from './keys.js';
import type { RequestInfo } from './request-info.js';
import type { Session } from './sessions/session.js';
import type { StrategyRegistry } from './strategies/registry.js';
import type { EndedUser } from './strategies/strategy.js';
import type { BucketName } from './throttle/throttle.js';

/** How the user proved the login: with a password, at a provider, or to the app's own code. */
export type LoginVia = 'form' | 'json' | 'redirect' | 'app';

/** Why a session ended. */
type EndReason = 'logout' | 'logout_all' | 'revoked' | 'user_changed' | 'max_sessions';

/**
 * Logs events of logins and sessions. Each event is a log line. It is also an audit row if a user
 * caused it. Both are built from known fields, so they never contain a password, a token or a
 * cookie.
 */
export interface AuthLog {
  success(
    request: RequestInfo,
    session: Session,
    login: { via: LoginVia; durationMs: number; failures: number },
  ): void;
  /**
   * Logs a failed login. A name that no strategy knows is logged as a hash, because users sometimes
   * type their password into the name field. The reason is one of the list in
   * docs/what-is-logged.md, or the one that the strategy gave. Only the log shows it.
   */
  fail(request: RequestInfo, reason: string, username: string | undefined, attempt: number): void;
  throttled(
    request: RequestInfo,
    bucket: BucketName,
    retryAfter: number,
    refused: number,
    username: string | undefined,
  ): void;
  strategyError(
    request: RequestInfo,
    strategy: string,
    error: unknown,
    durationMs: number,
    secrets: readonly string[],
  ): void;
  /** Logs that `find_user` failed for a signed-in user. */
  findFailed(strategy: string, username: string, error: unknown): void;
  /** Logs that a request strategy rejected a request and gave the reason. */
  rejected(request: RequestInfo, strategy: string, reason: string): void;
  /** Logs that a user or an administrator ended a session. */
  ended(
    request: RequestInfo,
    by: Session,
    ended: { username: string; strategy: string; id?: string },
    reason: EndReason,
  ): void;
  /** Logs that a provider ended a session, or all sessions of a user. */
  endedBy(request: RequestInfo, strategy: string, ended: EndedUser): void;
  /**
   * Records that a user created, rotated or revoked an API token. The strategy has already logged
   * it.
   */
  token(request: RequestInfo, by: Session, action: TokenAction, id: string, owner: string): void;
  /** Logs that the server found a session to have ended. */
  found(request: RequestInfo, session: Session, reason: EndReason): void;
  renewed(request: RequestInfo, session: Session): void;
  /** Logs that a token of this login was used after it expired or was revoked. */
  reused(request: RequestInfo, session: Session, how: 'expired' | 'revoked'): void;
  /**
   * Logs that a request has two valid sessions. Another host of the domain has planted one of them.
   */
  conflict(request: RequestInfo): void;
}

/** Maximum number of characters of a stack in the log. */
const maxStack = 4000;

/** What a user did to an API token. */
type TokenAction = 'token_created' | 'token_rotated' | 'token_revoked';

interface AuthLogDeps {
  logger: Logger;
  trail: AuditTrail;
  mount: string;
  registry: StrategyRegistry;
  /** Returns the texts that the log removes from every error. */
  secretKeys: () => readonly string[];
  /** Returns keys, the first for the hashes of names that no strategy knows. */
  hashKeys: () => readonly Buffer[];
}

/** Makes the log of a login, which writes to the app's logger and to the audit trail. */
export function authLog({
  logger,
  trail,
  mount,
  registry,
  secretKeys,
  hashKeys,
}: AuthLogDeps): AuthLog {
  const row = (
    { ip, requestId }: RequestInfo,
    event: Omit<AuditEvent, 'at' | 'ip' | 'requestId'>,
  ): void => void trail.record({ at: new Date().toISOString(), ip, requestId, ...event });

  const refusals = new Background(logger, 'writing refused logins to the log');
  /**
   * Writes in the background. If the response waited for the strategies to look up the name, its
   * time would reveal whether one of them knows the name.
   */
  const inBackground = (write: () => Promise<void>): void => refusals.run(write);

  const who = async (username: string | undefined): Promise<NameFields> => {
    if (username === undefined) return {};
    if (await registry.knows(username)) return { username: username.slice(0, 256) };
    return {
      usernameHash: Buffer.from(macOf(hashKeys()[0], username), 'base64url')
        .toString('hex')
        .slice(0, 12),
      usernameLength: username.length,
    };
  };

  const sessionFields = (request: RequestInfo, { username, strategy, id }: Session) => ({
    ...{ username, strategy, sessionId: id.slice(0, 8) },
    ...request,
    mount,
  });

  return {
    success(request, session, { via, durationMs, failures }) {
      const { username, strategy } = session;
      const sessionId = session.id.slice(0, 8);
      const event = failures === 0 ? 'authn_login_success' : 'authn_login_successafterfail';
      const since = failures === 0 ? {} : { failures };
      logger.info(
        { event, username, strategy, ...request, mount, sessionId, durationMs, via, ...since },
        'login succeeded',
      );
      row(request, {
        action: 'login',
        actor: username,
        strategy,
        outcome: 'done',
        detail: { strategy, sessionId, via, ...since },
      });
    },
    fail(request, reason, username, attempt) {
      inBackground(async () => {
        const name = await who(username);
        logger.warn(
          { event: 'authn_login_fail', ...name, reason, attempt, ...request, mount },
          'login failed',
        );
        row(request, {
          action: 'login',
          ...actorOf(name),
          outcome: 'failed',
          detail: { reason, attempt, ...hashOf(name) },
        });
      });
    },
    throttled(request, bucket, retryAfter, refused, username) {
      inBackground(async () => {
        const name = await who(username);
        const owasp =
          bucket === 'global' || bucket === 'queue'
            ? 'excess_rate_limit_exceeded'
            : 'authn_login_fail_max';
        logger.warn(
          {
            event: 'authn_login_throttled',
            owasp,
            ...name,
            bucket,
            retryAfter,
            refused,
            ...request,
            mount,
          },
          'login refused: too many attempts',
        );
        row(request, {
          action: 'login',
          ...actorOf(name),
          outcome: 'refused',
          detail: { bucket, retryAfter, refused, ...hashOf(name) },
        });
      });
    },
    strategyError(request, strategy, error, durationMs, secrets) {
      const timeout =
        error instanceof Error && error.name === 'TimeoutError' ? { timeout: true } : {};
      const hidden = [...secrets, ...secretKeys()];
      const fields = { event: 'authn_strategy_error', owasp: 'sys_monitor_disabled', strategy };
      logger.error(
        { ...fields, err: errorFields(error, hidden), durationMs, ...timeout, ...request, mount },
        'login strategy failed',
      );
      if (error instanceof Error)
        logger.debug(
          { ...fields, stack: redacted(String(error.stack), hidden).slice(0, maxStack) },
          'stack trace of a failed login strategy',
        );
    },
    findFailed(strategy, username, error) {
      const err = errorFields(error, secretKeys());
      logger.warn(
        { event: 'authn_find_user_error', strategy, username, err, mount },
        'find_user failed for a signed-in user',
      );
    },
    rejected(request, strategy, reason) {
      logger.warn(
        {
          event: 'authn_request_rejected',
          owasp: 'authn_login_fail',
          strategy,
          reason,
          ...request,
          mount,
        },
        'request rejected by a strategy',
      );
    },
    ended(request, by, { username, strategy, id }, reason) {
      const session = id === undefined ? {} : { sessionId: id.slice(0, 8) };
      const actor = { by: by.username, byStrategy: by.strategy };
      logger.info(
        {
          event: 'session_expired',
          reason,
          username,
          strategy,
          ...session,
          ...actor,
          ...request,
          mount,
        },
        'session ended',
      );
      const action =
        { logout: 'logout', logout_all: 'end_all_sessions' }[reason as string] ?? 'end_session';
      row(request, {
        action,
        actor: by.username,
        strategy: by.strategy,
        outcome: 'done',
        detail: { username, strategy, ...session },
      });
    },
    endedBy(request, strategy, { username, sessionId }) {
      const session = sessionId === undefined ? {} : { sessionId: sessionId.slice(0, 8) };
      logger.info(
        {
          event: 'session_expired',
          reason: 'provider',
          ...{ username, strategy },
          ...session,
          ...request,
          mount,
        },
        'session ended',
      );
      const action = sessionId === undefined ? 'end_all_sessions' : 'end_session';
      row(request, {
        ...{ action, actor: strategy, strategy, outcome: 'done' },
        detail: { username, strategy, ...session },
      });
    },
    token(request, by, action, id, owner) {
      row(request, {
        ...{ action, actor: by.username, strategy: by.strategy, outcome: 'done' },
        detail: { tokenId: id.slice(0, 6), owner },
      });
    },
    found(request, session, reason) {
      const fields = sessionFields(request, session);
      logger.info({ event: 'session_expired', reason, ...fields }, 'session ended');
    },
    renewed(request, session) {
      const fields = sessionFields(request, session);
      logger.debug({ event: 'session_renewed', ...fields }, 'session renewed');
    },
    reused(request, session, how) {
      const fields = sessionFields(request, session);
      if (how === 'expired')
        logger.debug({ event: 'session_use_after_expire', ...fields }, 'expired token used');
      else logger.warn({ event: 'authn_token_reuse', ...fields }, 'token of an ended session used');
    },
    conflict(request) {
      logger.warn(
        { event: 'authn_token_conflict', owasp: 'malicious_extraneous', ...request, mount },
        'request with two valid sessions refused',
      );
    },
  };
}

/** The name of a user, or the hash and length of a name that no strategy knows. */
interface NameFields {
  username?: string;
  usernameHash?: string;
  usernameLength?: number;
}

function actorOf({ username }: NameFields): { actor?: string } {
  return username === undefined ? {} : { actor: username };
}

function hashOf({ usernameHash }: NameFields): { usernameHash?: string } {
  return usernameHash === undefined ? {} : { usernameHash };
}
