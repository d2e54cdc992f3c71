import { certificateFault } from '../certificate.js';
import { type Connection, messageOf, type Server, withConnection } from './connection.js';
import type { LdapSettings } from './options.js';

/** Milliseconds for which a server that failed is asked after the others. */
const comesLast = 30_000;

/** Runs an operation on the first server that can answer. */
export type Ask = <T>(
  signal: AbortSignal,
  use: (connection: Connection) => Promise<T>,
) => Promise<T>;

/**
 * Asks the servers in their order until one answers. All share one time limit: each gets an equal
 * part of the time that is left, so that a server that never answers leaves time for the others.
 */
export function askServers({ servers, timeout }: LdapSettings): Ask {
  const failedAt = new Map<Server, number>();
  const hasFailed = (server: Server): boolean =>
    performance.now() - (failedAt.get(server) ?? -Infinity) < comesLast;
  return async (signal, use) => {
    const end = performance.now() + timeout * 1000;
    const last = servers.filter(hasFailed);
    const order = [...servers.filter((server) => !last.includes(server)), ...last];
    const reasons: string[] = [];
    for (const [index, server] of order.entries()) {
      const milliseconds = (end - performance.now()) / (order.length - index);
      try {
        const answer = await withConnection(server, { signal, milliseconds }, use);
        failedAt.delete(server);
        return answer;
      } catch (error) {
        if (signal.aborted) throw error;
        failedAt.set(server, performance.now());
        reasons.push(`${server.url}: ${reasonOf(error)}`);
      }
    }
    throw new Error(`no LDAP server can be used: ${reasons.join('; ')}`);
  };
}

/** Returns why a server could not answer, and the option that changes it. */
export function reasonOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  const text = messageOf(error);
  if (typeof code !== 'string') return text;
  const fault = certificateFault(code, 'url');
  return fault ? `${fault.found}; ${fault.todo} (${text})` : text;
}
