import type { Context } from 'koa';
import { isSafeMethod } from '../../http/same-origin.js';
import type { AuthParts } from '../create-auth.js';
import type { Session } from './session.js';
import { usedFrom } from './session-list.js';

/** Milliseconds between two new tokens of one session. */
const pause = 60_000;

/**
 * Gives a session that a person uses a new token, at most once a minute: with its id, and never beyond the end of the
 * session. What a page does by itself (the stream, reads by script) is no use, so that a page left open does not keep one alive.
 */
export function refreshIdle(ctx: Context, parts: AuthParts, idleTimeout: number, session: Session): Session {
  const now = Date.now();
  if (now - session.issuedAt.getTime() < pause || !isUse(ctx)) return session;
  const end = session.authenticatedAt.getTime() + parts.tokenExpiry * 1000;
  const renewed: Session = {
    ...session,
    issuedAt: new Date(now),
    expiresAt: new Date(Math.min(now + idleTimeout * 1000, end)),
  };
  const { tokens } = parts;
  const signOut = tokens.signOutOf(session);
  const token = tokens.sign(renewed, tokens.versionOf(session), signOut);
  parts.cookies.session.write(ctx, token, (renewed.expiresAt.getTime() - now) / 1000);
  // Only the list of sessions would lack it; the cookie holds without the store.
  parts.sessions.put(renewed, signOut, usedFrom(ctx)).catch(() => {});
  parts.log.renewed(ctx, renewed);
  return renewed;
}

/** A page that a person opened, or a change that they made here. */
function isUse(ctx: Context): boolean {
  const site = ctx.get('Sec-Fetch-Site');
  if (!isSafeMethod(ctx.method)) return site === '' || site === 'same-origin' || site === 'none';
  const destination = ctx.get('Sec-Fetch-Dest');
  return destination === '' ? ctx.get('Accept').includes('text/html') : destination === 'document';
}
