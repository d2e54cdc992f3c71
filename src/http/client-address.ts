import { isIP } from 'node:net';
import type { Context } from 'koa';

/**
 * Whether the app trusts proxies but does not limit their number. Clients can then forge the first
 * entries of the header.
 */
export function trustsUncountedProxies({ app }: Context): boolean {
  return app.proxy && !(app.maxIpsCount > 0);
}

/**
 * Returns the address of the client as far as it can be trusted. Without `app.proxy`, it is the
 * address of the socket. With `app.proxy`, Koa's `ctx.ip` is reliable only if `app.maxIpsCount`
 * states the number of proxies. Otherwise, the last entry of the header is used, because the
 * nearest proxy wrote it (CWE-348).
 */
export function clientAddress(ctx: Context): string {
  const socket = plain(ctx.req.socket.remoteAddress ?? '');
  if (!ctx.app.proxy) return socket;
  const header = ctx.req.headers[ctx.app.proxyIpHeader.toLowerCase()];
  const named = trustsUncountedProxies(ctx)
    ? String(header ?? '')
        .split(',')
        .at(-1)
    : ctx.ip;
  const address = plain(named?.trim() ?? '');
  return isIP(address) === 0 ? socket : address;
}

/**
 * Returns the plain form of an address: IPv4-mapped IPv6 as IPv4, and without a port, brackets or
 * an IPv6 zone.
 */
function plain(address: string): string {
  const [bare = ''] = address.replace(/^::ffff:(?=\d+\.)/i, '').split('%', 1);
  return /^\d+\.\d+\.\d+\.\d+:\d+$/.test(bare)
    ? bare.slice(0, bare.indexOf(':'))
    : bare.replace(/^\[([^\]]+)\](:\d+)?$/, '$1');
}

/**
 * Returns the network that a provider assigns to one customer: an IPv4 address, or an IPv6 network
 * of 2^64 addresses. An IPv4 address inside IPv6 counts as IPv4, whether it is mapped
 * (`::ffff:0:0/96`, RFC 4291) or translated by NAT64 (`64:ff9b::/96`, RFC 6052).
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const groups = groupsOf(address);
  const prefix = groups.slice(0, 6).map((group) => group.toString(16));
  if (['0:0:0:0:0:ffff', '64:ff9b:0:0:0:0'].includes(prefix.join(':')))
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.');
  return `${prefix.slice(0, 4).join(':')}::/64`;
}

/** Returns the eight groups of an IPv6 address. The last two can be written as an IPv4 address. */
function groupsOf(address: string): number[] {
  const read = (text: string | undefined): number[] =>
    (text ? text.split(':') : []).flatMap((group) => {
      if (!group.includes('.')) return [Number.parseInt(group, 16)];
      const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
      return [a * 256 + b, c * 256 + d];
    });
  const [head, tail] = address.split('::');
  const [left, right] = [read(head), read(tail)];
  return [...left, ...Array<number>(Math.max(0, 8 - left.length - right.length)).fill(0), ...right];
}
