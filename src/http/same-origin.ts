import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { listOption, typeError } from '../options.js';
import { quote } from '../show-value.js';

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Methods that change nothing (RFC 9110 section 9.2.1), compared by case. */
export function isSafeMethod(method: string): boolean {
  return safeMethods.has(method);
}

/**
 * Reads the option `trustedOrigins`: exact origins as a browser sends them, which is without a
 * path, in lower case, and without the default port. Any other text would never match, so it is
 * refused at the start.
 */
export function trustedOriginsOption(option: string, value: unknown): readonly string[] {
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
 * Refuses a request that another site made a browser send. The rule is the one of Go's
 * `http.CrossOriginProtection`: `Sec-Fetch-Site` decides where it is sent, else `Origin` must name
 * this host; a request with neither is not a browser's.
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
 * Refuses a page of another site that reads what is guarded, by script, picture or stream: it would
 * learn from the time and the size of the answer, and hold streams open (OWASP ASVS 3.5.8). A link
 * that a person follows is none of these.
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
