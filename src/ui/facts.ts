import { createClient, type DashboardFacts } from '../client/client.js';

/** What the server put into the page. */
export const facts: DashboardFacts = JSON.parse(document.getElementById('facts')?.textContent ?? '{}') as DashboardFacts;

/** The dashboard stands at `base/dashboard`, whatever stands before it. */
export const client = createClient(location.pathname.replace(/\/dashboard$/, ''));

/** Whether this user may do that, and the engine can. */
export function may(action: string): boolean {
  return facts.mayAct && facts.can.includes(action);
}
