import { isIP } from 'node:net';
import { checkServerIdentity, connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { Finding } from './command-port.js';
import { fault, ok, warning } from './finding.js';

/*
 * What is wrong with the certificate of a server, for error messages and for
 * `npx koa-taskflow doctor`.
 */

/** A fault of a certificate, and what an administrator does about it. */
interface CertificateFault {
  found: string;
  todo: string;
}

const unknownIssuer = /SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_UNTRUSTED|INVALID_CA/;

/**
 * Returns the fault that the code of a TLS error means. `option` is the option with the URL of the
 * server.
 */
export function certificateFault(code: string, option: string): CertificateFault | undefined {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return {
      found: 'its certificate is for another name',
      todo: `use a name of the certificate in the option ${option}`,
    };
  if (code === 'CERT_HAS_EXPIRED')
    return { found: 'its certificate has expired', todo: 'renew it' };
  if (code === 'CERT_NOT_YET_VALID')
    return {
      found: 'its certificate is not valid yet',
      todo: 'check the clock of this host',
    };
  if (unknownIssuer.test(code))
    return {
      found: 'its certificate is not signed by a trusted CA',
      todo: 'add the certificate of its CA with the option ca',
    };
  return undefined;
}

/** Days before the end of a certificate in which the finding is a warning. */
const endsSoon = 14;
const day = 86_400_000;

interface Inspected {
  /** The name or the address of the server, to which the certificate must belong. */
  host: string;
  /** The option with the URL of the server. */
  option: string;
  /** What the findings are about, such as `certificate`. */
  what: string;
}

/** Returns what an open TLS connection shows, even if it would be refused. */
export function certificateFindings(
  socket: TLSSocket,
  { host, option, what }: Inspected,
): Finding[] {
  const certificate = socket.getPeerCertificate();
  const protocol = socket.getProtocol() ?? 'TLS';
  const ends = new Date(certificate.valid_to);
  const days = Math.floor((ends.getTime() - Date.now()) / day);
  const { CN = 'without a name' } = certificate.subject ?? {};
  const names = certificate.subjectaltname ?? 'none';
  const shown = `${[CN].flat().join(', ')}, for ${names}, until ${dateOf(ends)}, ${protocol}`;
  const wrongName = checkServerIdentity(host, certificate) as { code?: string } | undefined;
  const codes = [socket.authorizationError, wrongName?.code].map(codeOf);
  const faults = [...new Set(codes)].flatMap((code) =>
    code === undefined ? [] : (certificateFault(code, option) ?? unknownFault(code)),
  );
  if (faults.length > 0)
    return faults.map(({ found, todo }) => fault(what, `${found} (${shown})`, todo));
  const found = `${shown}, ${days} days left`;
  return [days < endsSoon ? warning(what, found, 'renew the certificate') : ok(what, found)];
}

function dateOf(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'an unknown date' : date.toISOString().slice(0, 10);
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : error;
  return typeof code === 'string' ? code : undefined;
}

function unknownFault(code: string): CertificateFault {
  return { found: `its certificate is refused: ${code}`, todo: 'replace the certificate' };
}

interface TlsServer {
  host: string;
  port: number;
  secureContext?: SecureContext | undefined;
}

/**
 * Opens a TLS connection even if the certificate is wrong. Nothing may be sent over it. The caller
 * destroys it.
 */
export function connectUnchecked(
  { host, port, secureContext }: TlsServer,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...{ host, port, rejectUnauthorized: false },
      ...(secureContext && { secureContext }),
      ...(isIP(host) === 0 && { servername: host }),
    });
    const abort = (): void => void socket.destroy(signal.reason);
    signal.addEventListener('abort', abort);
    socket.once('close', () => signal.removeEventListener('abort', abort));
    socket.once('secureConnect', () => resolve(socket));
    socket.on('error', reject);
  });
}
