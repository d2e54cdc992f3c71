import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Logger } from '../options.js';
import { plainHeaders } from './headers.js';
import { errorPage } from './page.js';
import { requestId } from './request-id.js';

/** How an error is shown: `json` for programs, `page` for a person in a browser. */
export type ErrorShape = 'json' | 'page';

/** Turns any thrown value into one that has a code: Koa's and the parsers' errors by their status, all else INTERNAL. */
export function toTaskflowError(error: unknown): TaskflowError {
  if (error instanceof TaskflowError) return error;
  return new TaskflowError('INTERNAL', 'an unexpected error', { cause: error });
}

/** Answers with the error as `application/problem+json` (RFC 9457) or as a small page; faults of ours are logged. */
export function sendError(ctx: Context, thrown: unknown, shape: ErrorShape, logger: Logger): void {
  const error = toTaskflowError(thrown);
  const id = requestId(ctx);
  if (!error.expose) logger.error({ err: error.cause ?? error, requestId: id, method: ctx.method, path: ctx.path }, 'request failed');
  if (error.code === 'CROSS_ORIGIN') logCrossOrigin(ctx, id, logger);
  if (ctx.headerSent) {
    ctx.res.destroy();
    return;
  }
  ctx.status = error.status;
  const detail = error.expose ? error.message : `Something went wrong here. Request ${id}.`;
  if (shape === 'page') {
    errorPage(ctx, error.title, detail);
  } else {
    plainHeaders(ctx);
    ctx.body = JSON.stringify({ type: 'about:blank', title: error.title, status: error.status, detail, code: error.code, requestId: id });
    ctx.type = 'application/problem+json';
  }
  ctx.set(error.headers);
}

function logCrossOrigin(ctx: Context, id: string, logger: Logger): void {
  logger.warn(
    {
      event: 'cross_origin_refused',
      owasp: 'malicious_cors',
      origin: ctx.get('Origin').slice(0, 128),
      secFetchSite: ctx.get('Sec-Fetch-Site').slice(0, 128),
      host: ctx.get('Host').slice(0, 128),
      ip: ctx.ip,
      requestId: id,
      method: ctx.method,
      path: ctx.path.slice(0, 256),
    },
    'request from another site refused',
  );
}
