import type { Context } from 'koa';
import { requestFields } from '../http/request-id.js';

/** The data of a request for the log, the audit trail and the session list. */
export interface RequestInfo {
  readonly ip: string;
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly userAgent: string;
}

/** Reads the data of a request for the log, the audit trail and the session list. */
export function requestInfo(ctx: Context): RequestInfo {
  return { ...requestFields(ctx), userAgent: ctx.get('User-Agent').slice(0, 256) };
}
