import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Context } from 'koa';
import type { Logger } from '../options.js';
import { type Access, isOpen } from './access.js';
import { refuseForeignHost } from './host.js';

/** The accesses whose warning has been logged. The middlewares of one `taskAdmin` share theirs. */
const warned = new WeakSet<Access>();

/**
 * Returns the check that protects an app without a login, or `undefined` if there is a login. The
 * check refuses requests for host names that are not allowed. It warns once if the server listens
 * on more than loopback.
 */
export function openGuard(
  access: Access,
  allowedHosts: ReadonlySet<string>,
  logger: Logger,
): ((ctx: Context) => void) | undefined {
  if (!isOpen(access)) return undefined;
  return (ctx) => {
    if (!warned.has(access) && listensBeyondLoopback(ctx)) {
      warned.add(access);
      logger.warn(
        'the task dashboard has no login and is open to everyone who can reach this address; ' +
          'configure auth, or listen on 127.0.0.1',
      );
    }
    refuseForeignHost(ctx, allowedHosts);
  };
}

function listensBeyondLoopback(ctx: Context): boolean {
  // Node sets `server` on each socket, although its types do not declare it.
  const { server } = ctx.req.socket as Socket & { server?: Server };
  const bound = server?.address();
  return (
    typeof bound === 'object' && bound !== null && !/^(127\.|::1$|::ffff:127\.)/.test(bound.address)
  );
}
