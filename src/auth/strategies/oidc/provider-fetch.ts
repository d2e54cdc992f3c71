import { request } from 'node:https';
import { rootCertificates } from 'node:tls';
import { ProviderError } from './provider-errors.js';

/** The parts of a request to the provider that openid-client and jose set. */
interface ProviderRequest {
  method: string;
  headers: Headers | Record<string, string>;
  body?: unknown;
  signal?: AbortSignal;
}

/** Sends a request to the provider. */
export type ProviderFetch = (url: string, init: ProviderRequest) => Promise<Response>;

/** Whether a host name is that of this machine. */
export function isLoopback(name: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(name);
}

/**
 * Makes the function that sends requests to the provider. It refuses a URL with plain HTTP, except
 * for loopback. With `ca`, it also trusts these certificate authorities. The `fetch` of Node has no
 * option for them.
 */
export function providerFetch(ca: readonly string[] | undefined): ProviderFetch {
  const send: ProviderFetch = ca
    ? (url, init) => fetchOverHttps(url, init, [...rootCertificates, ...ca])
    : (url, init) => fetch(url, { ...init, redirect: 'manual' } as RequestInit);
  return async (url, init) => {
    const { protocol, hostname, origin } = new URL(url);
    if (protocol === 'https:') return send(url, init);
    if (protocol === 'http:' && isLoopback(hostname))
      return fetch(url, { ...init, redirect: 'manual' } as RequestInit);
    throw new ProviderError(
      `the provider names the address ${origin}, which is not an https: address`,
    );
  };
}

function fetchOverHttps(
  url: string,
  { method, headers, body, signal }: ProviderRequest,
  ca: readonly string[],
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(signal?.aborted ? signal.reason : error);
    const options = {
      ...{ method, ca: [...ca], agent: false },
      headers: Object.fromEntries(new Headers(headers)),
      ...(signal && { signal }),
    };
    const sent = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', failed);
      response.on('end', () => {
        const { statusCode: status = 502 } = response;
        const isEmpty = status === 204 || status === 205 || status === 304;
        const received = new Headers();
        for (const [name, values] of Object.entries(response.headersDistinct))
          for (const value of values ?? []) received.append(name, value);
        resolve(
          new Response(isEmpty ? null : Buffer.concat(chunks), { status, headers: received }),
        );
      });
    });
    sent.on('error', failed);
    sent.end(body === undefined || body === null ? undefined : String(body));
  });
}
