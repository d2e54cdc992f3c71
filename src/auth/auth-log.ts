import { createHmac, hkdfSync } from 'node:crypto';
import type { Context } from 'koa';
import { requestId } from '../http/request-id.js';
import type { Logger } from '../options.js';
import type { StrategyRegistry } from './registry.js';
import type { Session } from './session.js';

/** Why a login failed, for the log alone: the answer is the same for all. */
type FailReason = 'bad_credentials' | 'unknown_strategy' | 'malformed' | 'strategy_error' | 'timeout';

/** Writes the login's log lines. They are built from named fields, so that no password, token or cookie can be in one. */
export interface AuthLog {
  success(ctx: Context, session: Session, durationMs: number): void;
  /** A name that no strategy knows is logged as a hash: people type passwords there. */
  fail(ctx: Context, reason: FailReason, username: string | undefined): Promise<void>;
  strategyError(ctx: Context, strategy: string, error: unknown, durationMs: number, secrets: readonly string[]): void;
  sessionEnded(ctx: Context, session: Session, reason: 'logout'): void;
}

interface AuthLogParts {
  logger: Logger;
  mount: string;
  registry: StrategyRegistry;
  secretKeys: readonly string[];
}

/** Makes the log of a login over the app's logger. */
export function authLog({ logger, mount, registry, secretKeys }: AuthLogParts): AuthLog {
  const [firstKey = ''] = secretKeys;
  // A key of its own for each use: the signing key signs tokens and nothing else.
  const hashKey = Buffer.from(hkdfSync('sha256', firstKey, '', 'koa-taskflow username hash', 32));
  const request = (ctx: Context): object => ({
    ip: ctx.ip,
    userAgent: ctx.get('User-Agent').slice(0, 256),
    requestId: requestId(ctx),
    method: ctx.method,
    path: ctx.path.slice(0, 256),
    mount,
  });

  return {
    success(ctx, session, durationMs) {
      logger.info(
        {
          event: 'authn_login_success',
          username: session.username,
          strategy: session.strategy,
          ...request(ctx),
          sessionId: session.id.slice(0, 8),
          durationMs,
        },
        'login succeeded',
      );
    },
    async fail(ctx, reason, username) {
      const name = username === undefined ? {} : await nameFields(username, registry, hashKey);
      logger.warn({ event: 'authn_login_fail', ...name, reason, ...request(ctx) }, 'login failed');
    },
    strategyError(ctx, strategy, error, durationMs, secrets) {
      const timeout = error instanceof Error && error.name === 'TimeoutError' ? { timeout: true } : {};
      logger.error(
        {
          event: 'authn_strategy_error',
          strategy,
          err: errorFields(error, [...secrets, ...secretKeys]),
          durationMs,
          ...timeout,
          ...request(ctx),
        },
        'login strategy failed',
      );
    },
    sessionEnded(ctx, session, reason) {
      logger.info(
        {
          event: 'session_expired',
          reason,
          username: session.username,
          strategy: session.strategy,
          sessionId: session.id.slice(0, 8),
          ...request(ctx),
        },
        'session ended',
      );
    },
  };
}

async function nameFields(username: string, registry: StrategyRegistry, key: Buffer): Promise<object> {
  if (await registry.knows(username)) return { username: username.slice(0, 256) };
  return { usernameHash: createHmac('sha256', key).update(username).digest('hex').slice(0, 12), usernameLength: username.length };
}

/** What may be said of an error that a strategy threw: drivers put whole requests, passwords and all, into theirs. */
function errorFields(error: unknown, secrets: readonly string[]): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  let message = String(error.message).slice(0, 2000);
  for (const secret of secrets) if (secret !== '') message = message.replaceAll(secret, '[redacted]');
  const type = error.name.slice(0, 100);
  // Without a prototype pino's own serializer of errors takes the type from the name; it would say "Object" else.
  return Object.assign(Object.create(null) as object, {
    type,
    name: type,
    message: message.slice(0, 500),
    ...(typeof code === 'string' && { code: code.slice(0, 100) }),
  });
}
