import { createClient, type DashboardFacts } from '../../client/client.js';
import { send } from './sign-in.js';

/** The data that the server puts into the page. */
export const bootstrap: DashboardFacts = JSON.parse(
  document.getElementById('facts')?.textContent ?? '{}',
) as DashboardFacts;

/** The base path of the API. The dashboard is at `base/dashboard`. */
export const base = location.pathname.replace(/\/dashboard$/, '');

export const client = createClient(base, { fetch: send });

/** Returns whether the user of this page has a session, or another user has one. */
export async function signedInUser(): Promise<'same' | 'other' | undefined> {
  if (bootstrap.login === null) return undefined;
  const response = await fetch(`${base}/auth/session`).catch(() => undefined);
  if (!response?.ok) return undefined;
  const { username, strategy } = (await response.json()) as { username: string; strategy: string };
  return username === bootstrap.user && strategy === bootstrap.strategy ? 'same' : 'other';
}

/**
 * Returns the name of a user. Adds the strategy unless it is the only one, because users of
 * different strategies can have the same name.
 */
export function userText(name: string, strategy: string | null | undefined): string {
  const isOnly = bootstrap.strategies.length === 1 && bootstrap.strategies[0] === strategy;
  return strategy == null || isOnly ? name : `${name} (${strategy})`;
}

/** The name of the signed-in user as {@link userText} returns it; empty without a login. */
export const ownName = bootstrap.user === null ? '' : userText(bootstrap.user, bootstrap.strategy);

/** Whether the user may perform an action and the engine supports it. */
export function may(action: string): boolean {
  return bootstrap.mayAct && bootstrap.can.includes(action);
}
