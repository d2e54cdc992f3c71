import type { Context } from 'koa';
import { trustsUncountedProxies } from '../http/client-address.js';
import type { Logger } from '../options.js';

/** Looks at the requests of a login for a proxy that the app is not set up for, and warns once of each thing it finds. */
export function proxyAdvice(logger: Logger): (ctx: Context) => void {
  const told = new Set<string>();
  const warn = (advice: string): void => {
    if (told.has(advice)) return;
    told.add(advice);
    logger.warn({ event: 'sys_startup' }, advice);
  };
  return (ctx) => {
    if (trustsUncountedProxies(ctx)) {
      warn(
        'app.proxy is set without app.maxIpsCount, so clients can write the front of X-Forwarded-For: its last entry is taken for their address; set maxIpsCount to the number of proxies',
      );
    } else if (!ctx.app.proxy && ctx.get('X-Forwarded-Proto') !== '') {
      warn(
        'a request came with X-Forwarded-Proto, which is ignored since app.proxy is not set: behind a proxy set app.proxy and app.maxIpsCount, or the session cookie is not Secure and all clients have one address',
      );
    }
  };
}
