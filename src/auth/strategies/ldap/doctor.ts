import { certificateFindings } from '../certificate.js';
import type { DoctorContext, Finding } from '../command-port.js';
import { fault, ok, warning } from '../finding.js';
import { valuesOf } from './account.js';
import { type Connection, codeOf, messageOf, type Server, withConnection } from './connection.js';
import { meaningOf } from './diagnostics.js';
import { rootValues } from './entries.js';
import type { LdapSettings, SearchSettings } from './options.js';
import { reasonOf } from './servers.js';

/*
 * What `npx koa-taskflow doctor` says about a directory. A first connection to each server reads
 * the certificate without checking it, and sends no password. The service account binds over a
 * second connection, whose certificate is checked as for a login.
 */

/** Maximum number of entries whose names are looked at. */
const maxEntries = 1000;

/** Looks at every server of a strategy. */
export async function ldapFindings(
  settings: LdapSettings,
  { signal }: Pick<DoctorContext, 'signal'>,
): Promise<readonly Finding[]> {
  const servers = await Promise.all(
    settings.servers.map((server) => serverFindings(settings, server, signal)),
  );
  return [...servers.flat(), ...generalFindings(settings)];
}

async function serverFindings(
  settings: LdapSettings,
  server: Server,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const limit = { signal, milliseconds: settings.timeout * 1000 };
  let seen: readonly Finding[];
  try {
    const unchecked = { ...server, tls: { ...server.tls, rejectUnauthorized: false } };
    seen = await withConnection(unchecked, limit, (connection) =>
      connectionFindings(connection, server),
    );
  } catch (error) {
    return [unreachable(server, error)];
  }
  // A login would not use this connection.
  if (seen.some(({ mark }) => mark === 'fault')) return seen;
  const { search } = settings;
  if (!search) return seen;
  try {
    return await withConnection(server, limit, async (connection) => {
      const bound = await bindFinding(connection, search, server);
      if (bound.mark === 'fault') return [...seen, bound];
      const bases = await baseFindings(connection, settings);
      return [...seen, bound, ...bases, ...(await nameFindings(connection, search))];
    });
  } catch (error) {
    return [...seen, unreachable(server, error)];
  }
}

function unreachable({ url }: Server, error: unknown): Finding {
  const found = reasonOf(error);
  const todo = found.includes('refused StartTLS')
    ? 'give the server a certificate, or use ldaps://'
    : 'check the host and the port in the option url, the server, and the firewalls';
  return fault(url, found, todo);
}

async function connectionFindings(
  connection: Connection,
  { url, host, tls }: Server,
): Promise<readonly Finding[]> {
  try {
    await rootValues(connection, 'supportedLDAPVersion');
  } catch (error) {
    // A server may refuse searches without a bind.
    if (codeOf(error) === undefined) throw error;
  }
  const socket = connection.tls();
  if (!socket) return [ok(url, 'answers; the connection is not encrypted')];
  const found = certificateFindings(socket, { host, option: 'url', what: url });
  if (tls.rejectUnauthorized !== false) return found;
  const shown = found.map((each) => each.found).join('; ');
  const todo = 'remove insecure, and add the certificate of the CA with the option ca';
  return [warning(url, `the certificate is not checked: ${shown}`, todo)];
}

async function bindFinding(
  connection: Connection,
  search: SearchSettings,
  { url }: Server,
): Promise<Finding> {
  const what = 'service account';
  const { bindDN } = search;
  const password = await search.password.get();
  try {
    await connection.bind(bindDN, password);
    return ok(what, `${bindDN} can bind at ${url}`);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    const todo = 'correct search.bindDN and search.password, or the account in the directory';
    return fault(what, `${bindDN} cannot bind at ${url}: ${meaningOf(error)}`, todo);
  }
}

/** Checks whether the service account can read the bases of the searches. */
function baseFindings(
  connection: Connection,
  { search, groups }: LdapSettings,
): Promise<readonly Finding[]> {
  const bases: [option: string, dn: string | undefined][] = [
    ['search.base', search?.base],
    ['groups.base', groups?.base],
  ];
  const look = async (what: string, dn: string): Promise<Finding> => {
    try {
      await connection.search(dn, { scope: 'base', attributes: ['1.1'] });
      return ok(what, `${dn} is readable`);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      const why =
        codeOf(error) === 32
          ? 'does not exist, or the service account may not read it'
          : `cannot be read: ${messageOf(error)}`;
      return fault(what, `${dn} ${why}`, `correct ${what}, or let the service account read it`);
    }
  };
  return Promise.all(bases.flatMap(([option, dn]) => (dn === undefined ? [] : [look(option, dn)])));
}

/** Looks for entries whose users cannot sign in, because they have several names. */
async function nameFindings(
  connection: Connection,
  { base, filter, username }: SearchSettings,
): Promise<Finding[]> {
  try {
    const { searchEntries: entries } = await connection.search(base, {
      filter: filter.replaceAll('{username}', '*'),
      attributes: [username],
      sizeLimit: maxEntries,
    });
    const found = entries.filter((entry) => valuesOf(entry, username).length > 1);
    const [first] = found;
    if (!first) return [];
    return [
      warning(
        'search.username',
        `users with several values of ${username} cannot sign in; of ${entries.length} entries, ` +
          `${found.length} have several, such as ${first.dn}`,
        'set search.username to an attribute with one value, or remove the other values',
      ),
    ];
  } catch (error) {
    // A server may refuse to list entries. The base was checked before.
    if (codeOf(error) === undefined) throw error;
    return [];
  }
}

function generalFindings({ search, bindDN, roles, unverified }: LdapSettings): Finding[] {
  const findings: Finding[] = [];
  if (!search)
    findings.push(
      warning(
        'accounts',
        `users bind as ${bindDN ?? ''}, so a deleted user stays signed in until tokenExpiry`,
        'use search with a service account, or shorten tokenExpiry',
      ),
    );
  if (unverified.length > 0)
    findings.push(
      fault(
        'insecure',
        `passwords are sent to servers that are not verified: ${unverified.join(', ')}`,
        'remove insecure: true',
      ),
    );
  if (roles === undefined) findings.push(ok('roles', 'none, so all users may only read'));
  return findings;
}
