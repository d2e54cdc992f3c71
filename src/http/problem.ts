import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Logger } from '../options.js';
import { errorFields } from './error-fields.js';
import { plainHeaders } from './headers.js';
import { errorPage } from './page.js';
import { requestFields, requestId } from './request-id.js';

/** The format of an error response: `json` for programs, `page` for browsers. */
export type ErrorShape = 'json' | 'page';

/** Returns the error itself if it has a code. Wraps any other value in an INTERNAL error. */
export function toTaskflowError(error: unknown): TaskflowError {
  if (error instanceof TaskflowError) return error;
  return new TaskflowError('INTERNAL', 'an unexpected error', { cause: error });
}

/**
 * Answers with the error as `application/problem+json` (RFC 9457) or as a page, whose style is
 * served below `assets`. Logs errors that the server caused, unless the log has them already.
 */
export function sendError(
  ctx: Context,
  thrown: unknown,
  shape: ErrorShape,
  logger: Logger,
  assets?: string,
): void {
  const error = toTaskflowError(thrown);
  const id = requestId(ctx);
  if (!error.expose && !error.reported) logFault(ctx, error.cause ?? error, logger);
  if (error.code === 'CROSS_ORIGIN') logCrossOrigin(ctx, logger);
  if (error.code === 'HOST_NOT_ALLOWED') logHost(ctx, logger);
  if (ctx.headerSent) {
    ctx.res.destroy();
    return;
  }
  ctx.status = error.status;
  const detail = error.detail ?? `An internal error occurred. Request ${id}.`;
  if (shape === 'page') {
    errorPage(ctx, error, detail, assets);
  } else {
    plainHeaders(ctx);
    const { title, status, code, maybeDone } = error;
    ctx.body = JSON.stringify({
      type: 'about:blank',
      title,
      status,
      detail,
      code,
      requestId: id,
      ...(maybeDone && { maybeDone }),
    });
    ctx.type = 'application/problem+json';
  }
  const { Connection: connection, ...headers } = error.headers;
  ctx.set(headers);
  // HTTP/2 has no `Connection` header. Only the stream ends, and the connection stays open.
  if (connection !== undefined && ctx.req.httpVersionMajor < 2) ctx.set('Connection', connection);
}

function logFault(ctx: Context, fault: unknown, logger: Logger): void {
  logger.error({ err: errorFields(fault), ...requestFields(ctx) }, 'request failed');
  if (fault instanceof Error)
    logger.debug(
      { stack: fault.stack, requestId: requestId(ctx) },
      'stack trace of a failed request',
    );
}

function logCrossOrigin(ctx: Context, logger: Logger): void {
  const [origin, secFetchSite, host] = ['Origin', 'Sec-Fetch-Site', 'Host'].map((name) =>
    ctx.get(name).slice(0, 128),
  );
  logger.warn(
    {
      event: 'cross_origin_refused',
      owasp: 'malicious_cors',
      origin,
      secFetchSite,
      host,
      ...requestFields(ctx),
    },
    'request from another site refused',
  );
}

function logHost(ctx: Context, logger: Logger): void {
  logger.warn(
    { event: 'host_refused', host: ctx.get('Host').slice(0, 128), ...requestFields(ctx) },
    'request for another host refused',
  );
}
