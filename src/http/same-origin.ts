import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { listOption, typeError } from '../options.js';
import { quote } from '../show-value.js';

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Whether a method is safe, which means that it changes nothing (RFC 9110 section 9.2.1). Methods
 * are case-sensitive.
 */
export function isSafeMethod(method: string): boolean {
  return safeMethods.has(method);
}

/**
 * Reads the option `trustedOrigins`: exact origins as a browser sends them, in lower case and
 * without a path or the default port. An origin in any other form would never match, so it is
 * rejected at the start.
 */
export function trustedOriginsOption(
  option: string,
  value: readonly string[] | undefined,
): readonly string[] {
  return listOption(option, value, "origins such as 'https://app.example:8443'", (item) => {
    const origin = originOf(item);
    if (origin === undefined || origin === item) return origin !== undefined;
    throw typeError(`${option} contains ${quote(item)}; write it as browsers send it: '${origin}'`);
  });
}

function originOf(text: string): string | undefined {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const { origin, username, password, search, hash } = new URL(text);
  return username === '' && password === '' && search === '' && hash === '' ? origin : undefined;
}

/**
 * Refuses an unsafe request that another site made a browser send. The rule is the same as in Go's
 * `http.CrossOriginProtection`. If the browser sends `Sec-Fetch-Site`, that header decides.
 * Otherwise, `Origin` must name this host. A request without both headers does not come from a
 * browser and is accepted.
 */
export function refuseCrossOrigin(ctx: Context, trustedOrigins: readonly string[]): void {
  if (isSafeMethod(ctx.method)) return;
  const site = ctx.req.headers['sec-fetch-site'];
  const origin = ctx.req.headers.origin;
  if (site === 'same-origin' || site === 'none') return;
  if (origin !== undefined && trustedOrigins.includes(origin)) return;
  if (site === undefined) {
    if (origin === undefined) return;
    if (
      ctx.host !== '' &&
      origin.slice(origin.indexOf('://') + 3) === ctx.host &&
      origin.includes('://')
    )
      return;
  }
  throw crossOrigin(site);
}

/**
 * Refuses reads of guarded resources by a page of another site, for example with a script, an image
 * or a stream. Such a page could learn from the time and size of the response, and keep streams
 * open (OWASP ASVS 3.5.8). A link that the user follows is accepted.
 */
export function refuseCrossSiteRead(ctx: Context, trustedOrigins: readonly string[]): void {
  if (!isSafeMethod(ctx.method)) return;
  const {
    'sec-fetch-site': site,
    'sec-fetch-mode': mode,
    'sec-fetch-dest': destination,
    origin,
  } = ctx.req.headers;
  if (site === undefined || site === 'same-origin' || site === 'none') return;
  if (mode === 'navigate' && destination === 'document') return;
  if (origin !== undefined && trustedOrigins.includes(origin)) return;
  throw crossOrigin(site);
}

function crossOrigin(site: string | string[] | undefined): TaskflowError {
  return new TaskflowError(
    'CROSS_ORIGIN',
    `This request came from another site (${site === undefined ? 'Origin' : 'Sec-Fetch-Site'} ` +
      'says so). Behind a proxy that rewrites Host, set app.proxy or trustedOrigins.',
  );
}
