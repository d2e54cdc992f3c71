import type { Context } from 'koa';
import { trustsUncountedProxies } from '../http/client-address.js';
import type { Logger } from '../options.js';

/**
 * Makes the function that checks login requests for signs of a proxy that the app is not configured
 * for. It logs each finding once.
 */
export function proxyAdvice(logger: Logger): (ctx: Context) => void {
  const given = new Set<string>();
  const warn = (advice: string): void => {
    if (given.has(advice)) return;
    given.add(advice);
    logger.warn({ event: 'sys_startup' }, advice);
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
          'not Secure and all clients share one address',
      );
    }
  };
}
