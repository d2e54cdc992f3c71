import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';

/**
 * Whether the request has a Bearer token, of this login or of another issuer. The token does not
 * identify the user, because a proxy may have added it.
 */
export function hasBearer(ctx: Context): boolean {
  return /^bearer(\s|$)/i.test(ctx.get('Authorization'));
}

/** Returns the 401 error (RFC 9110 section 11.6.1, RFC 6750 section 3). */
export function unauthenticated(ctx: Context): TaskflowError {
  const challenge = `Bearer realm="koa-taskflow"${hasBearer(ctx) ? ', error="invalid_token"' : ''}`;
  const headers = { 'WWW-Authenticate': challenge };
  const detail = 'This request needs a session. Sign in, or send a valid token.';
  return new TaskflowError('UNAUTHENTICATED', detail, { headers });
}

/** Returns the 403 error for a missing role. It names the option that gives roles. */
export function forbidden(role: string): TaskflowError {
  const detail = `This request needs the role ${role}. The option roles decides who has it.`;
  return new TaskflowError('FORBIDDEN', detail, {
    headers: { 'WWW-Authenticate': 'Bearer realm="koa-taskflow", error="insufficient_scope"' },
  });
}
