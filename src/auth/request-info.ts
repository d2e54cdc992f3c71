import type { Context } from 'koa';
import { requestFields } from '../http/request-id.js';

/** What the log, the audit and the session list record about a request. */
export interface RequestInfo {
  readonly ip: string;
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly userAgent: string;
}

/** Reads what is recorded about a request. */
export function requestInfo(ctx: Context): RequestInfo {
  return { ...requestFields(ctx), userAgent: ctx.get('User-Agent').slice(0, 256) };
}
