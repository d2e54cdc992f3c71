import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import { clientAddress } from './client-address.js';
import { perRequest } from './per-request.js';

const ids = perRequest<string>('request id');

/**
 * The id that log lines and error answers share: `X-Request-Id` when it is harmless text, else a
 * new UUID.
 */
export function requestId(ctx: Context): string {
  let id = ids.get(ctx);
  if (id === undefined) {
    const given = ctx.get('X-Request-Id');
    id = /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    ids.set(ctx, id);
  }
  return id;
}

/** What every log line of a request says of it; never its query, its headers or its body. */
export function requestFields(ctx: Context): {
  ip: string;
  requestId: string;
  method: string;
  path: string;
} {
  return {
    ip: clientAddress(ctx),
    requestId: requestId(ctx),
    method: ctx.method,
    path: String(ctx.path).slice(0, 256),
  };
}
