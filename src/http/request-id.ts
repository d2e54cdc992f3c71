import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import { clientAddress } from './client-address.js';
import { perRequest } from './per-request.js';

const ids = perRequest<string>('request id');

/**
 * Returns the id of a request in log lines and error responses: the value of `X-Request-Id` if it
 * has only safe characters, otherwise a new UUID.
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

/**
 * Returns the fields of a request for a log line. The query, the headers and the body are never
 * logged.
 */
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
