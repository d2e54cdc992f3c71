import { createClient, type DashboardFacts } from '../client/client.js';

/** What the server put into the page. */
export const facts: DashboardFacts = JSON.parse(document.getElementById('facts')?.textContent ?? '{}') as DashboardFacts;

/** Where the tasks stand: the dashboard is at `base/dashboard`, whatever stands before it. */
export const base = location.pathname.replace(/\/dashboard$/, '');

export const client = createClient(base);

/** Whether this user may do that, and the engine can. */
export function may(action: string): boolean {
  return facts.mayAct && facts.can.includes(action);
}
