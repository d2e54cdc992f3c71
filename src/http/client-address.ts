import { isIP } from 'node:net';
import type { Context } from 'koa';

/** Whether the app trusts a proxy without saying how many there are: then clients can write the front of the header. */
export function trustsUncountedProxies({ app }: Context): boolean {
  return app.proxy && !(app.maxIpsCount > 0);
}

/**
 * Address of the client, as far as it can be believed. Without `app.proxy` it is the socket's. With it, Koa's `ctx.ip` is
 * right only where `app.maxIpsCount` says how many proxies there are; else the last entry of the header counts, which is the
 * one that the nearest proxy wrote (CWE-348).
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

/** IPv4 in its own form, without a port or an IPv6 zone. */
function plain(address: string): string {
  const [bare = ''] = address.replace(/^::ffff:(?=\d+\.)/i, '').split('%', 1);
  return /^\d+\.\d+\.\d+\.\d+:\d+$/.test(bare) ? bare.slice(0, bare.indexOf(':')) : bare.replace(/^\[([^\]]+)\](:\d+)?$/, '$1');
}

/** What one customer of a provider has: an IPv4 address, or the 2^64 addresses of an IPv6 network. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail ? tail.split(':') : [];
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
