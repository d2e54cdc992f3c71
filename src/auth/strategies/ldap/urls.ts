import { BlockList, isIP } from 'node:net';
import { typeError } from '../../../options.js';
import { kindOf } from '../../../show-value.js';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Returns the host of a URL, an IPv6 address without brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replaceAll(/[[\]]/g, '').toLowerCase();
}

/** Whether a URL leads to this host, so that no password leaves it. */
export function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  if (isIP(host) === 0) return host === 'localhost';
  return loopback.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6');
}

/**
 * Reads the URL of a server. The errors show no part of it, because it may contain a password.
 *
 * @throws TypeError if it is not an ldap:// or ldaps:// URL of a host.
 */
export function readUrl(option: string, value: unknown): URL {
  const example = "such as 'ldaps://ldap.example.com'";
  const url = parsed(value);
  if (!url || !/^ldaps?:$/.test(url.protocol) || url.hostname === '')
    throw typeError(
      typeof value === 'string' && value !== ''
        ? `${option} must begin with ldaps:// or ldap:// and contain a host, ${example}`
        : `${option} is ${kindOf(value)}; it must be an ldaps:// or ldap:// URL, ${example}`,
    );
  if (url.username !== '' || url.password !== '')
    throw typeError(`${option} has a user or a password; write them in search`);
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '')
    throw typeError(`${option} must end after the host and the port, ${example}`);
  return new URL(`${url.protocol}//${url.host}`);
}

function parsed(value: unknown): URL | undefined {
  try {
    return typeof value === 'string' ? new URL(value) : undefined;
  } catch {
    return undefined;
  }
}
