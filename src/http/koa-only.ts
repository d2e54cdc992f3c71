import type { Middleware } from 'koa';
import { typeError } from '../options.js';

/**
 * Throws if a middleware is called as Express and Connect do it. It throws before the middleware
 * returns a promise, because Express 4 does not handle one that rejects.
 */
export function requireKoa(name: string, next: unknown): void {
  if (typeof next === 'function' || next === undefined) return;
  throw typeError(
    `${name}() makes middleware for Koa, but it was called with (req, res, next), as in ` +
      'Express or Connect. ' +
      'Use it in a Koa app; Express can call that one last: expressApp.use(koaApp.callback())',
  );
}

/**
 * Makes `router.use(middleware)` of @koa/router throw. The router would run the middleware only for
 * paths that match one of its own routes, and would not remove the prefix from the path, so every
 * page would answer 404 without an explanation. The router reads the property `router` of each
 * middleware, to find nested routers.
 */
export function refuseRouterUse(name: string, middleware: Middleware): Middleware {
  return Object.defineProperty(middleware, 'router', {
    get(): never {
      throw typeError(
        `${name}() cannot be used with router.use(), which runs middleware only for paths of ` +
          'its own routes. ' +
          `Use app.use(${name}(…)) and say where with its option path, or ` +
          `app.use(mount('/prefix', ${name}(…))) with koa-mount`,
      );
    },
  });
}
