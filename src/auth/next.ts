import type { Context } from 'koa';
import { forwardedPrefix, requestTarget } from '../http/mount.js';

const origin = 'http://next.invalid';

/**
 * Whether a login may redirect to this URL. It must be a path of this origin that no browser or
 * proxy can mistake for another host, another path or a header (OWASP ASVS 3.7.2, CWE-601).
 */
export function isSafeNext(next: unknown): next is string {
  if (typeof next !== 'string' || next.length > 2048 || !/^\/(?!\/)[!-[\]-~]*$/.test(next))
    return false;
  const [path = ''] = next.split(/[?#]/, 1);
  if (/%(?![0-9a-f]{2})/i.test(path) || /%([01][0-9a-f]|25|2e|2f|5c|7f)/i.test(path)) return false;
  if (path.split('/').some((part) => part === '.' || part === '..')) return false;
  if (/\/auth\/(log(in|out)|signed-out|(start|callback|ended|step)(\/[^/]*)?)\/?$/.test(path))
    return false;
  const url = URL.canParse(next, origin) ? new URL(next, origin) : undefined;
  return url?.origin === origin && url.username === '' && url.password === '';
}

/**
 * Returns the URL to which a login redirects the user: the requested URL, if the method is GET or
 * HEAD and the URL is safe.
 */
export function nextOf(ctx: Context): string | undefined {
  if (ctx.method !== 'GET' && ctx.method !== 'HEAD') return undefined;
  const next = forwardedPrefix(ctx) + requestTarget(ctx);
  return isSafeNext(next) ? next : undefined;
}
