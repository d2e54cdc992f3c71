import type { Context, Middleware } from 'koa';
import { refuseRouterUse, requireKoa } from './koa-only.js';

/** Where the suite stands: its configured path, seen from inside the app and from outside. */
export interface Mount {
  /** As configured: `/tasks`, or `/`. */
  readonly path: string;
  /** As it stands before a route: `/tasks`, or an empty string for `/`. */
  readonly prefix: string;
  /** Whether the app's own path of the request is the mount or below it. */
  contains(path: string | null): boolean;
  /** Makes a middleware that handles the paths of the mount and passes on all others. */
  middleware(name: string, handle: Middleware): Middleware;
  /**
   * What stands before the app's own paths as a browser sees them: a koa-mount, and what a proxy
   * cut off.
   */
  base(ctx: Context): string;
  /** The prefix as a browser sees it. */
  outside(ctx: Context): string;
}

/** The mount of a configured path. */
export function mountAt(path: string): Mount {
  const prefix = path === '/' ? '' : path;
  // Koa has no path at all for a request to `http://`, though its type promises one.
  const contains = (requested: string | null): boolean =>
    requested !== null && (requested === path || requested.startsWith(`${prefix}/`));
  return {
    path,
    prefix,
    contains,
    middleware: (name, handle) => {
      const middleware: Middleware = (ctx, next) => {
        requireKoa(name, next);
        return contains(ctx.path) ? handle(ctx, next) : next();
      };
      Object.defineProperty(middleware, 'name', { value: name });
      return refuseRouterUse(name, middleware);
    },
    base: (ctx) => forwardedPrefix(ctx) + cutByMount(ctx),
    outside: (ctx) => forwardedPrefix(ctx) + cutByMount(ctx) + prefix,
  };
}

/** Path and query of the request as the client sent it, also for an absolute-form target. */
export function requestTarget(ctx: Context): string {
  const target = ctx.originalUrl;
  if (target.startsWith('/')) return target;
  const path = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(\/[^#]*)?/i.exec(target)?.[1];
  return path ?? '/';
}

/** What koa-mount took off the front of the path. */
function cutByMount(ctx: Context): string {
  const [path = ''] = requestTarget(ctx).split('?', 1);
  if (!path.endsWith(ctx.path)) return '';
  const cut = path.slice(0, path.length - ctx.path.length);
  return /^(\/[A-Za-z0-9._~%-]+)*$/.test(cut) ? cut : '';
}

/**
 * What a proxy took off, which it names in `X-Forwarded-Prefix`; believed only with `app.proxy`.
 */
export function forwardedPrefix(ctx: Context): string {
  if (!ctx.app.proxy) return '';
  const prefix = ctx.get('X-Forwarded-Prefix').replace(/\/$/, '');
  return /^(\/[A-Za-z0-9._~-]+)+$/.test(prefix) ? prefix : '';
}
