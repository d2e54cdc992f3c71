import type { Http2ServerRequest } from 'node:http2';
import type { Context, Middleware } from 'koa';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import { inTime } from '../waiting.js';

/** Types of body that a route can accept. */
type BodyType = 'json' | 'form';

interface BodyRules {
  types: readonly BodyType[];
  /** Maximum size in bytes. */
  limit: number;
}

/** A parsed body: its type and its members, which are not checked yet. */
export interface ParsedBody {
  type: BodyType;
  fields: Readonly<Record<string, unknown>>;
}

/** The media types of bodies. */
export const mediaTypes: Record<BodyType, string> = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
};
/**
 * The log message if the body has been read already. Waiting for it would only end in a timeout.
 */
const bodyIsGone =
  'another middleware read the body of this request and did not set ctx.request.body: mount ' +
  'koa-taskflow before it, or use a body parser that sets it';
/** Seconds within which a client must send the body. */
const bodyTimeout = 10;

/**
 * Reads a body within a size limit and a time limit. If the app has already parsed it into
 * `ctx.request.body`, that value is used.
 *
 * @throws TaskflowError UNSUPPORTED_MEDIA_TYPE, INVALID_INPUT, PAYLOAD_TOO_LARGE or
 * REQUEST_TIMEOUT.
 */
export async function readBody(ctx: Context, { types, limit }: BodyRules): Promise<ParsedBody> {
  const type = types.find((candidate) => isOfType(ctx, candidate));
  const request = ctx.request as { body?: unknown };
  const isUtf8 = ['', 'utf-8'].includes(ctx.request.charset.toLowerCase());
  if (ctx.get('Content-Encoding') || type === undefined || !isUtf8) {
    throw new TaskflowError(
      'UNSUPPORTED_MEDIA_TYPE',
      `Send ${types.map((each) => mediaTypes[each]).join(' or ')} in UTF-8, not compressed.`,
    );
  }
  if (request.body === undefined) await parse(ctx, type, limit);
  // The parser returns an empty string for a body of zero bytes.
  const fields = request.body === '' ? {} : request.body;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new TaskflowError('INVALID_INPUT', 'The body must be an object.');
  }
  return { type, fields: fields as Record<string, unknown> };
}

/** Whether the `Content-Type` of a request names this type. */
export function isOfType(ctx: Context, type: BodyType): boolean {
  return ctx.request.type.trim().toLowerCase() === mediaTypes[type];
}

/** Whether a request has a body. Over HTTP/2, the stream shows this even if no header does. */
export function hasBody({ req }: Context): boolean {
  const { 'content-length': length, 'transfer-encoding': chunked } = req.headers;
  if (length !== undefined || chunked !== undefined) return length !== '0';
  return isHttp2(req) && !req.stream.endAfterHeaders;
}

function isHttp2(req: Context['req'] | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor === 2;
}

/**
 * Refuses the body of a command that takes none. Otherwise, a client that sends `dryRun` in the
 * body instead of the query would change what it wanted to count. An empty body and `{}` are
 * accepted, because HTTP clients send them on their own.
 *
 * @throws TaskflowError INVALID_INPUT.
 */
export async function refuseBody(ctx: Context): Promise<void> {
  const { req, request } = ctx;
  const { body: parsed } = request as { body?: unknown };
  let text = parsed === undefined ? '' : JSON.stringify(parsed);
  if (parsed === undefined && hasBody(ctx)) {
    if (req.readableEnded) throw new Error(bodyIsGone);
    const wait = bodyTimeout * 1000;
    await drain(req, { ...discarded, wait }, (chunk) => (text += chunk.toString('latin1')));
    if (!req.complete) text = 'unread';
  }
  if (!/^\s*(\{\s*\}|""|null)?\s*$/.test(text))
    throw new TaskflowError(
      'INVALID_INPUT',
      'This route takes no body. Send its parameters in the query.',
    );
}

/**
 * Limits in bytes and milliseconds for reading a body that is not needed. Some clients read the
 * response only after they have sent their body.
 */
const discarded = { bytes: 64 * 1024, wait: 1000 };

/**
 * Reads and discards the rest of a body. If the rest exceeds the limits, the response closes the
 * connection.
 */
export async function discardBody(ctx: Context): Promise<void> {
  const { req } = ctx;
  if (req.complete || !hasBody(ctx)) return;
  // A client that sent `Expect: 100-continue` is still waiting for permission to send its body.
  if (ctx.get('Expect').toLowerCase() !== '100-continue' || req.readableFlowing !== null)
    await drain(req, discarded);
  if (!req.complete && !isHttp2(req)) ctx.set('Connection', 'close');
}

function drain(
  req: Context['req'],
  limits: typeof discarded,
  use?: (chunk: Buffer) => void,
): Promise<void> {
  return new Promise((resolve) => {
    let taken = 0;
    const done = (): void => {
      clearTimeout(timer);
      req.off('data', take).off('end', done).off('error', done).off('close', done);
      req.pause();
      resolve();
    };
    const take = (chunk: Buffer): void => {
      taken += chunk.length;
      use?.(chunk);
      if (taken > limits.bytes) done();
    };
    const timer = setTimeout(done, limits.wait);
    if (req.destroyed || req.readableEnded) return done();
    req.on('data', take).on('end', done).on('error', done).on('close', done);
    req.resume();
  });
}

async function parse(ctx: Context, type: BodyType, limit: number): Promise<void> {
  if (ctx.req.readableEnded && hasBody(ctx)) throw new Error(bodyIsGone);
  // Loaded with the first body, because the parser takes 110 ms and most processes never need it.
  const { koaBody } = await runInEmptyContext(() => import('koa-body'));
  // The parser expects a body only if a header of HTTP/1.1 announces one.
  if (isHttp2(ctx.req) && ctx.req.headers['content-length'] === undefined)
    ctx.req.headers['transfer-encoding'] = 'chunked';
  const parser: Middleware = koaBody({
    json: type === 'json',
    urlencoded: type === 'form',
    text: false,
    multipart: false,
    // readBody refuses values that are no objects, with a clearer message than the parser.
    jsonStrict: false,
    jsonLimit: limit,
    formLimit: limit,
    patchNode: false,
  });
  const parsing = Promise.resolve(parser(ctx, async () => {}));
  try {
    await inTime(parsing, bodyTimeout * 1000, bodyIsLate);
  } catch (error) {
    throw bodyError(error, limit);
  }
}

function bodyIsLate(): TaskflowError {
  return new TaskflowError(
    'REQUEST_TIMEOUT',
    `The body did not arrive within ${bodyTimeout} seconds.`,
    { headers: { Connection: 'close' } },
  );
}

function bodyError(error: unknown, limit: number): TaskflowError {
  if (error instanceof TaskflowError) return error;
  const { status, message } = error as { status?: unknown; message?: unknown };
  if (status === 413)
    return new TaskflowError(
      'PAYLOAD_TOO_LARGE',
      `The body is larger than ${sizeInWords(limit)}, the limit of this route.`,
      { headers: { Connection: 'close' } },
    );
  // The parser refuses members that would change the prototype of an object.
  const detail = /forbidden prototype/.test(String(message))
    ? 'The body must not contain a member __proto__.'
    : 'The body is not valid for its Content-Type.';
  return new TaskflowError('INVALID_INPUT', detail, { cause: error });
}

function sizeInWords(bytes: number): string {
  const kibibytes = bytes / 1024;
  return kibibytes < 1024 ? `${kibibytes} KiB` : `${kibibytes / 1024} MiB`;
}
