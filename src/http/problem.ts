import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { Context } from 'koa';
import { type ErrorCode, TaskflowError } from '../errors.js';
import type { Logger } from '../options.js';
import { errorFields } from './error-fields.js';
import { plainHeaders } from './headers.js';
import { errorPage } from './page.js';
import { requestFields, requestId } from './request-id.js';

/** The format of an error response: `json` for programs, `page` for browsers. */
export type ErrorShape = 'json' | 'page';

/** The codes of statuses that the app answers with. Any other status gets REFUSED_BY_APP. */
const codes: Readonly<Record<number, ErrorCode>> = {
  400: 'INVALID_INPUT',
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  413: 'PAYLOAD_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  429: 'THROTTLED',
};

/**
 * Returns the error itself if it has a code. Returns the error of the app that the client may see,
 * such as one of `ctx.throw(403, 'Employees only')`, with the code of its status: it has `expose`
 * and a status of 4xx. Returns `undefined` for any other value.
 */
export function errorForClient(error: unknown): TaskflowError | undefined {
  if (error instanceof TaskflowError) return error;
  if (!(error instanceof Error)) return undefined;
  const { expose, statusCode, status = statusCode, headers } = error as Partial<HttpError>;
  const isRefusal =
    typeof status === 'number' && status >= 400 && status < 500 && status in STATUS_CODES;
  if (expose !== true || !isRefusal) return undefined;
  const options = { status, headers: sendable(headers ?? {}), cause: error };
  return new TaskflowError(codes[status] ?? 'REFUSED_BY_APP', error.message, options);
}

/**
 * Returns the headers that Node can send. Setting an invalid one would throw, and the client would
 * get a different answer.
 */
function sendable(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => {
      try {
        validateHeaderName(name);
        validateHeaderValue(name, value);
        return true;
      } catch {
        return false;
      }
    }),
  );
}

/** The members of an error that Koa answers with, as the package http-errors sets them. */
type HttpError = Record<'expose' | 'status' | 'statusCode', unknown> & {
  headers: Readonly<Record<string, string>> | null;
};

/** Returns the error for the client. Wraps an error that is only for the log in INTERNAL. */
export function toTaskflowError(error: unknown): TaskflowError {
  return (
    errorForClient(error) ?? new TaskflowError('INTERNAL', 'an unexpected error', { cause: error })
  );
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
  const { Connection: connection, ...headers } = error.headers;
  ctx.set(headers);
  // HTTP/2 has no `Connection` header. Only the stream ends, and the connection stays open.
  if (connection !== undefined && ctx.req.httpVersionMajor < 2) ctx.set('Connection', connection);
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
