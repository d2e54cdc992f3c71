import type { Context, Middleware } from 'koa';
import { refuseRouterUse, requireKoa } from './koa-only.js';

/** The mount of the suite: the configured path as the app sees it and as a browser sees it. */
export interface Mount {
  /** The configured path: `/tasks`, or `/`. */
  readonly path: string;
  /** The prefix of every route: `/tasks`, or an empty string for `/`. */
  readonly prefix: string;
  /** Whether a path, as the app sees it, is the mount or below it. */
  contains(path: string | null): boolean;
  /** Makes a middleware that handles the paths of the mount and passes on all others. */
  middleware(name: string, handle: Middleware): Middleware;
  /**
   * Returns the prefix that a browser sees before the app's own paths: that of koa-mount, and the
   * one that a proxy removes.
   */
  base(ctx: Context): string;
  /** Returns the prefix of the routes as a browser sees it. */
  outside(ctx: Context): string;
}

/** Returns the mount of a configured path. */
export function mountAt(path: string): Mount {
  const prefix = path === '/' ? '' : path;
  // For a request to `http://`, Koa has no path, although its types say that it always has one.
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

/**
 * Returns the path and query of the request as the client sent it, also for a target in absolute
 * form.
 */
export function requestTarget(ctx: Context): string {
  const target = ctx.originalUrl;
  if (target.startsWith('/')) return target;
  const path = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(\/[^#]*)?/i.exec(target)?.[1];
  return path ?? '/';
}

/** Returns the prefix that koa-mount removed from the path. */
function cutByMount(ctx: Context): string {
  const [path = ''] = requestTarget(ctx).split('?', 1);
  if (!path.endsWith(ctx.path)) return '';
  const cut = path.slice(0, path.length - ctx.path.length);
  return /^(\/[A-Za-z0-9._~%-]+)*$/.test(cut) ? cut : '';
}

/**
 * Returns the prefix that a proxy removed and names in `X-Forwarded-Prefix`. The header is trusted
 * only with `app.proxy`.
 */
export function forwardedPrefix(ctx: Context): string {
  if (!ctx.app.proxy) return '';
  const prefix = ctx.get('X-Forwarded-Prefix').replace(/\/$/, '');
  return /^(\/[A-Za-z0-9._~-]+)+$/.test(prefix) ? prefix : '';
}
