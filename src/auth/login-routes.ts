import type { Middleware } from 'koa';
import { routeTable } from '../http/routes.js';
import { type Auth, internalsOf } from './auth.js';

/**
 * Serves the login page, the login, the logout and the sessions of users below the path of `auth`:
 * `auth/login`, `auth/logout`, `auth/session`, `auth/sessions`, and the style of the pages under
 * `auth/assets`. It passes on all other requests.
 *
 * @throws TypeError for a value that `createAuth` did not return.
 * @example
 * ```ts
 * app.use(sessionToken(auth));
 * app.use(loginRoutes(auth));
 * ```
 */
export function loginRoutes(auth: Auth): Middleware {
  const { mount, routes, trustedOrigins, logger } = internalsOf(auth);
  return routeTable({
    name: 'loginRoutes',
    mount,
    access: auth,
    routes: routes(),
    assets: '/auth/assets',
    trustedOrigins,
    logger,
  });
}
