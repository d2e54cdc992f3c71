import { createClient } from '../client/client.js';

/** What the server put into the page. */
export interface Facts {
  user: string | null;
  mayAct: boolean;
  title: string;
  logo: string;
  can: readonly string[];
  version: string;
  logoutUrl: string | null;
}

export const facts: Facts = JSON.parse(document.getElementById('facts')?.textContent ?? '{}') as Facts;

/** The dashboard stands at `base/dashboard`, whatever stands before it. */
export const client = createClient(location.pathname.replace(/\/dashboard$/, ''));

/** Whether this user may do that, and the engine can. */
export function may(action: string): boolean {
  return facts.mayAct && facts.can.includes(action);
}
