import { problemOf } from '../../client/problem.js';
import { base } from './bootstrap.js';
import { send } from './sign-in.js';

/*
 * The routes of the login that only the dashboard uses. They are not part of the typed client,
 * whose size is limited.
 */

/** A strategy of the login, and whether it answers. */
export interface StrategyState {
  name: string;
  label: string;
  kind: 'password' | 'redirect' | 'request';
  state: 'up' | 'down' | 'unknown';
  since: string | null;
  lastError: string | null;
  /** Whether it can be checked without a login. */
  isChecked: boolean;
  logins: number;
  rejected: number;
  errors: number;
}

/** An API token as the list shows it. */
export interface ApiToken {
  id: string;
  name: string;
  /** `STRATEGY:USERNAME` or `service:NAME`. */
  owner: string;
  roles: readonly string[];
  /** Whether the token loses the roles that its owner loses. */
  ownerChecked: boolean;
  createdAt: string;
  expiresAt: string;
  lastUsedAt: string | null;
  lastUsedIp: string | null;
  replacedBy: string | null;
}

/** A token that was just created. */
export interface CreatedToken {
  name: string;
  token: string;
  expiresAt: string;
}

async function ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) {
  const response = await send(`${base}/auth/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
  });
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function json<T>(...request: Parameters<typeof ask>): Promise<T> {
  return (await (await ask(...request)).json()) as T;
}

/** Calls the routes of the strategies and of the API tokens. */
export const loginCalls = {
  strategies: () => json<{ items: readonly StrategyState[] }>('GET', 'strategies'),
  check: (name: string) => json<StrategyState>('POST', `strategies/${name}/check`),
  tokens: () => json<{ items: readonly ApiToken[] }>('GET', 'tokens'),
  createToken: (token: { name: string; roles: readonly string[]; expiresIn: number }) =>
    json<CreatedToken>('POST', 'tokens', token),
  rotateToken: (id: string, keepOldFor: number) =>
    json<CreatedToken>('POST', `tokens/${id}/rotate`, { keepOldFor }),
  async revokeToken(id: string): Promise<void> {
    await ask('DELETE', `tokens/${id}`);
  },
};
