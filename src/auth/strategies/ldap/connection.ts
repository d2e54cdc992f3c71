import { connect, isIP, type Socket } from 'node:net';
import * as tls from 'node:tls';
import type { ClientOptions, SearchOptions, SearchResult } from 'ldapts';
import { ldapts } from './ldapts.js';

/*
 * Each attempt has its own connection. ldapts reconnects on its own, without StartTLS, and waits
 * forever on a connection that dropped after StartTLS. So an operation begins only if the
 * connection is open, and ends with an error when the connection closes or the time is over.
 */

/** A server, and how to connect to it. */
export interface Server {
  readonly url: string;
  readonly host: string;
  readonly startTLS: boolean;
  /** The trusted certificates, and whether that of the server is checked. */
  readonly tls: Pick<tls.ConnectionOptions, 'secureContext' | 'rejectUnauthorized'>;
}

/** An open connection. Any error ends it. */
export interface Connection {
  /** Rejects if the server refuses the password. {@link codeOf} returns the reason. */
  bind(dn: string, password: string): Promise<void>;
  search(base: string, options: SearchOptions): Promise<SearchResult>;
  /** Asks the server who is bound (RFC 4532), such as `u:CORP\ann`. */
  whoAmI(): Promise<string>;
  /** Returns the TLS connection, or `undefined` if the connection is not encrypted. */
  tls(): tls.TLSSocket | undefined;
}

interface Limit {
  signal: AbortSignal;
  milliseconds: number;
}

/** Connects to a server, with StartTLS if it is an option, for the duration of `use`. */
export async function withConnection<T>(
  server: Server,
  { signal, milliseconds }: Limit,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  let hasFailed = false;
  let fail = (_: unknown): void => {};
  const failed = new Promise<never>((_, reject) => {
    fail = (reason) => {
      hasFailed = true;
      reject(reason);
    };
  });
  failed.catch(() => {});
  const sockets: Socket[] = [];
  const watch = (socket: Socket): Socket => {
    sockets.push(socket);
    const closed = new Error('the server closed the connection');
    return socket.once('close', () => fail(socket.errored ?? closed));
  };
  const client = new (ldapts().Client)(clientOptions(server, milliseconds, watch));
  let isOpen = false;
  const run = <R>(operation: () => Promise<R>): Promise<R> => {
    if (signal.aborted) fail(signal.reason);
    else if (isOpen && !client.isConnected) fail(new Error('the server closed the connection'));
    if (hasFailed) return failed;
    isOpen = true;
    return Promise.race([failed, operation()]);
  };
  const seconds = Number((milliseconds / 1000).toFixed(1));
  const timer = setTimeout(fail, milliseconds, new Error(`no answer within ${seconds} seconds`));
  const abort = (): void => fail(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    if (server.startTLS)
      await run(() => client.startTLS(tlsOptions(server))).catch((error: unknown) => {
        if (codeOf(error) === undefined) throw error;
        throw new Error(`the server refused StartTLS: ${messageOf(error)}`);
      });
    const answer = await use({
      bind: (dn, password) => run(() => client.bind(dn, password)),
      search: (base, options) =>
        run(() =>
          client.search(base, {
            ...options,
            timeLimit: Math.max(1, Math.ceil(milliseconds / 1000)),
          }),
        ),
      whoAmI: async () => (await run(() => client.exop('1.3.6.1.4.1.4203.1.11.3'))).value ?? '',
      tls: () => sockets.findLast((socket) => socket instanceof tls.TLSSocket),
    });
    client.unbind().catch(() => {});
    return answer;
  } catch (error) {
    // ldapts would end the session in plain text if TLS failed, and wait for the end.
    for (const socket of sockets) socket.destroy();
    if (sockets.length === 0 || !client.isConnected) client.unbind().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

function clientOptions(
  server: Server,
  milliseconds: number,
  watch: (socket: Socket) => Socket,
): ClientOptions {
  return {
    url: server.url,
    timeout: Math.ceil(milliseconds),
    connectTimeout: Math.ceil(milliseconds),
    createConnection: ((port: number, host: string) =>
      watch(connect(port, host))) as typeof connect,
    createSecureConnection: ((...args: [tls.ConnectionOptions]) =>
      watch(tls.connect(...args))) as typeof tls.connect,
    // ldapts uses TLS from the start whenever these options exist.
    ...(server.url.startsWith('ldaps:') && { tlsOptions: tlsOptions(server) }),
  };
}

/** The name of the host decides which certificates are right, on both ways to TLS. */
function tlsOptions({ host, tls: options }: Server): tls.ConnectionOptions {
  return { ...options, host, ...(isIP(host) === 0 && { servername: host }) };
}

/** Returns the result code of an error (RFC 4511), or `undefined` if no server gave one. */
export function codeOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

/** Returns the reason of an error. The texts of ldapts show no more than the code. */
export function messageOf(error: unknown): string {
  const { name, message, code } = error as { name?: string; message?: string; code?: unknown };
  if (typeof code !== 'number') return message || `${code}`;
  const said = message?.replace(/ ?Code: 0x[0-9a-f]+$/, '');
  return `${name} (LDAP result code ${code})${said ? `: ${said}` : ''}`;
}
