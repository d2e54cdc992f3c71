import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';

const ids = new WeakMap<object, string>();

/** The id that log lines and error answers share: `X-Request-Id` when it is harmless text, else a new UUID. */
export function requestId(ctx: Context): string {
  let id = ids.get(ctx.req);
  if (id === undefined) {
    const given = ctx.get('X-Request-Id');
    id = /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    ids.set(ctx.req, id);
  }
  return id;
}
