import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { SessionReader } from './sessions/current-session.js';
import type { RequestIdentity } from './sessions/request-identity.js';

/** How a sign-out is answered. */
interface SignOutAnswer {
  status: 302 | 303;
  /** Whether a script sent the request. It gets no redirect. */
  isScript: boolean;
}

/**
 * Answers the sign-out of a user whom a request strategy identifies: the next request would be
 * signed in again. Redirects to the `logoutUrl` of the strategy. Returns `false` for all other
 * requests.
 *
 * @throws TaskflowError FORBIDDEN (rejects) if the strategy has no such URL.
 */
export async function signOutAtProxy(
  ctx: Context,
  reader: Pick<SessionReader, 'of' | 'identityOf'>,
  { status, isScript }: SignOutAnswer,
): Promise<boolean> {
  try {
    await reader.of(ctx);
  } catch {
    // A sign-out works although the store or a strategy does not answer.
    return false;
  }
  const identity = reader.identityOf(ctx);
  if (!identity) return false;
  const { logoutUrl } = identity.strategy;
  if (logoutUrl === undefined || isScript) throw new TaskflowError('FORBIDDEN', whyNot(identity));
  ctx.redirect(logoutUrl);
  ctx.status = status;
  return true;
}

function whyNot({ session, strategy }: RequestIdentity): string {
  const name = `'${session.strategy}'`;
  if (!strategy.ambient)
    return `${name} identifies each request by a token, so there is no session to sign out of.`;
  return (
    'A proxy in front of this site decides who is signed in, so sign out there' +
    (strategy.logoutUrl === undefined
      ? `. The option logoutUrl of ${name} can lead to its page.`
      : `: ${strategy.logoutUrl}`)
  );
}
