import type { Context } from 'koa';
import { trustsUncountedProxies } from '../http/client-address.js';
import type { Mount } from '../http/mount.js';
import type { Logger } from '../options.js';

interface AdviceDeps {
  mount: Mount;
  /** The option `publicUrl`. */
  publicUrl: string | undefined;
  logger: Logger;
}

/** Checks a request of the login, or one that a guard redirects to it. */
export type ProxyAdvice = (ctx: Context) => void;

/**
 * Makes the function that checks login requests for signs of a proxy that the app is not configured
 * for. It logs each finding once.
 */
export function proxyAdvice({ mount, publicUrl, logger }: AdviceDeps): ProxyAdvice {
  const given = new Set<string>();
  const warn = (advice: string, fields: object = {}): void => {
    if (given.has(advice)) return;
    given.add(advice);
    logger.warn({ event: 'sys_startup', ...fields }, advice);
  };
  return (ctx) => {
    if (trustsUncountedProxies(ctx)) {
      warn(
        'app.proxy is set without app.maxIpsCount, so clients can forge the first entries of ' +
          'X-Forwarded-For, and the last entry is used as their address; set maxIpsCount to the ' +
          'number of proxies',
      );
    } else if (!ctx.app.proxy && ctx.get('X-Forwarded-Proto') !== '') {
      warn(
        'a request came with X-Forwarded-Proto, which is ignored because app.proxy is not set: ' +
          'behind a proxy, set app.proxy and app.maxIpsCount; otherwise the session cookie is ' +
          'not Secure, all clients share one address, and links lack a prefix that the proxy ' +
          'removes',
      );
    }
    if (publicUrl === undefined) return;
    const url = `${ctx.protocol}://${ctx.host}${mount.base(ctx)}`;
    if (!URL.canParse(url) || new URL(url).href === new URL(publicUrl).href) return;
    warn(
      'a request has a URL other than the option publicUrl: its links do not lead below ' +
        'publicUrl, and a sign-in at a provider fails if it begins at another host; behind a ' +
        'proxy, set app.proxy, and let the proxy send Host, X-Forwarded-Proto and the prefix ' +
        'that it removes as X-Forwarded-Prefix',
      { mount: mount.path, url, publicUrl },
    );
  };
}
