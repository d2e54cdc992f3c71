import { createClient, type DashboardFacts } from '../../client/client.js';

/** What the server put into the page. */
export const facts: DashboardFacts = JSON.parse(document.getElementById('facts')?.textContent ?? '{}') as DashboardFacts;

/** Where the tasks stand: the dashboard is at `base/dashboard`, whatever stands before it. */
export const base = location.pathname.replace(/\/dashboard$/, '');

export const client = createClient(base);

/**
 * Returns the name of a user, with the strategy unless it is the only one: users of different strategies can have the same
 * name.
 */
export function userText(name: string, strategy: string | null | undefined): string {
  const isOnly = facts.strategies.length === 1 && facts.strategies[0] === strategy;
  return strategy == null || isOnly ? name : `${name} (${strategy})`;
}

/** The signed-in user, as {@link userText}; empty if no user signs in. */
export const ownName = facts.user === null ? '' : userText(facts.user, facts.strategy);

/** Whether this user may do that, and the engine can. */
export function may(action: string): boolean {
  return facts.mayAct && facts.can.includes(action);
}
