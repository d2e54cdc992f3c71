import type { Context } from 'koa';
import type { Mount } from '../../http/mount.js';
import type { Logger } from '../../options.js';

/** Returns the absolute URL of a route of the login, such as `/auth/callback/okta`. */
export type PublicUrl = (ctx: Context, route: string) => string;

interface PublicUrlDeps {
  mount: Mount;
  /** The option `publicUrl`. */
  publicUrl: string | undefined;
  logger: Logger;
}

/**
 * Makes the function that returns the public URLs of the login. Without the option `publicUrl`, the
 * request decides. The header `Origin` never does, because the client chooses it. The first URL
 * with plain HTTP of another host than this one logs a warning.
 */
export function publicUrls({ mount, publicUrl, logger }: PublicUrlDeps): PublicUrl {
  let isWarned = false;
  return (ctx, route) => {
    if (publicUrl !== undefined) return publicUrl + mount.prefix + route;
    const url = `${ctx.protocol}://${ctx.host}${mount.outside(ctx)}${route}`;
    if (!isWarned && ctx.protocol === 'http' && !isLoopback(ctx.hostname)) {
      isWarned = true;
      logger.warn(
        { event: 'sys_startup', mount: mount.path, url },
        'the callback of a provider has plain HTTP: behind a proxy with HTTPS, set app.proxy or ' +
          'the option publicUrl',
      );
    }
    return url;
  };
}

/** Whether a host name is that of this machine. */
export function isLoopback(name: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(name);
}
