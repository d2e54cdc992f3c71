import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { SessionReader } from './sessions/current-session.js';
import type { RequestIdentity } from './sessions/request-identity.js';

/** Where the user of a proxy signs out. */
interface ProxySignOut {
  strategy: string;
  url: string;
}

/**
 * Returns where a user signs out whom a request strategy identifies: the next request would be
 * signed in again. Resolves to `undefined` for all other requests.
 *
 * @throws TaskflowError FORBIDDEN (rejects) if the strategy has no such URL, or if a script asks.
 */
export async function signOutAtProxy(
  ctx: Context,
  reader: Pick<SessionReader, 'of' | 'identityOf'>,
  isScript: boolean,
): Promise<ProxySignOut | undefined> {
  try {
    await reader.of(ctx);
  } catch {
    // A sign-out works although the store or a strategy does not answer.
    return undefined;
  }
  const identity = reader.identityOf(ctx);
  if (!identity) return undefined;
  const { logoutUrl } = identity.strategy;
  if (logoutUrl === undefined || isScript) throw new TaskflowError('FORBIDDEN', whyNot(identity));
  return { strategy: identity.session.strategy, url: logoutUrl };
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
