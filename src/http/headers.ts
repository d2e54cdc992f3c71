import type { Context } from 'koa';

/**
 * Content-Security-Policy of every page: no inline code, no other hosts and no HTML sinks (OWASP
 * ASVS 3.4.3).
 */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src " +
  "'self'; connect-src 'self'; " +
  "manifest-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; " +
  "frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

const common = {
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/**
 * Sets the headers of every response that is neither a page nor an asset: API, stream, redirect,
 * error.
 */
export function plainHeaders(ctx: Context): void {
  ctx.set({
    ...common,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  });
}

/**
 * Prevents caching of guarded responses, unless the app sets `Cache-Control` itself, before or
 * later. The header is set at once, so that middlewares with a default, such as koa-static, do not
 * add theirs. It is set again when the headers are sent, because Koa removes it for an error.
 */
export function noStoreUnlessSet(ctx: Context): void {
  const { res } = ctx;
  if (!ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store');
  const writeHead = res.writeHead as (...given: unknown[]) => typeof res;
  const writeGuarded = (...given: unknown[]): typeof res => {
    if (!res.headersSent && !res.hasHeader('Cache-Control'))
      res.setHeader('Cache-Control', 'no-store');
    return writeHead.apply(res, given);
  };
  res.writeHead = writeGuarded as typeof res.writeHead;
}

/**
 * Sets the headers of a page. Its Referrer-Policy is `same-origin`, because with `no-referrer` a
 * browser sends `Origin: null` with a form over plain HTTP.
 */
export function pageHeaders(ctx: Context): void {
  ctx.set({
    ...common,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'same-origin',
    'Content-Security-Policy': pagePolicy,
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
    'X-Frame-Options': 'DENY',
  });
}

/** Sets the headers of a static file whose name changes with its content. */
export function assetHeaders(ctx: Context): void {
  ctx.set({
    ...common,
    'Cache-Control': 'public, max-age=31536000, immutable',
    'Referrer-Policy': 'no-referrer',
  });
}
