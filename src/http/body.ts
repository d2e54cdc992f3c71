import type { Http2ServerRequest } from 'node:http2';
import type { Context, Middleware } from 'koa';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';

/** Kinds of body a route may take. */
type BodyType = 'json' | 'form';

interface BodyRules {
  types: readonly BodyType[];
  /** Bytes. */
  limit: number;
}

/** A parsed body: its type and its members, none of them checked yet. */
export interface ParsedBody {
  type: BodyType;
  fields: Readonly<Record<string, unknown>>;
}

const mediaTypes: Record<BodyType, string> = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
};
/** For the log: waiting for a body that has been read already would only end in a timeout. */
const bodyIsGone =
  'another middleware read the body of this request and did not set ctx.request.body: mount ' +
  'koa-taskflow before it, or use a body parser that sets it';
/** Seconds a client may take to send a body. */
const bodyTimeout = 10;

/**
 * Reads a small body, once and bounded. A body the app has parsed already (`ctx.request.body`) is
 * taken as it is.
 */
export async function readBody(ctx: Context, { types, limit }: BodyRules): Promise<ParsedBody> {
  const type = types.find((candidate) => isOfType(ctx, candidate));
  const request = ctx.request as { body?: unknown };
  if (ctx.get('Content-Encoding') || type === undefined || charset(ctx) !== 'utf-8') {
    throw new TaskflowError(
      'UNSUPPORTED_MEDIA_TYPE',
      `Send ${types.map((each) => mediaTypes[each]).join(' or ')} in UTF-8, not compressed.`,
    );
  }
  if (request.body === undefined) await parse(ctx, type, limit);
  const fields = request.body;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new TaskflowError('INVALID_INPUT', 'The body must be an object.');
  }
  return { type, fields: fields as Record<string, unknown> };
}

/** Whether the body of a request is said to be of a type. */
export function isOfType(ctx: Context, type: BodyType): boolean {
  return ctx.request.type.trim().toLowerCase() === mediaTypes[type];
}

/** Whether a request brings a body. Over HTTP/2 its stream says so, and no header need. */
export function hasBody({ req }: Context): boolean {
  const { 'content-length': length, 'transfer-encoding': chunked } = req.headers;
  if (length !== undefined || chunked !== undefined) return length !== '0';
  return isHttp2(req) && !req.stream.endAfterHeaders;
}

function isHttp2(req: Context['req'] | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor === 2;
}

/**
 * Bytes and milliseconds for which a body that nobody wants is still taken, so that its sender gets
 * to the answer.
 */
const discarded = { bytes: 64 * 1024, wait: 1000 };

/**
 * Takes what is left of a body and throws it away; where that is too much, the connection ends with
 * the answer.
 */
export async function discardBody(ctx: Context): Promise<void> {
  const { req } = ctx;
  if (req.complete || !hasBody(ctx)) return;
  // Who asked first whether to send has sent nothing yet.
  if (ctx.get('Expect').toLowerCase() !== '100-continue' || req.readableFlowing !== null)
    await drain(req);
  if (!req.complete && !isHttp2(req)) ctx.set('Connection', 'close');
}

function drain(req: Context['req']): Promise<void> {
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
      if (taken > discarded.bytes) done();
    };
    const timer = setTimeout(done, discarded.wait);
    if (req.destroyed || req.readableEnded) return done();
    req.on('data', take).on('end', done).on('error', done).on('close', done);
    req.resume();
  });
}

function charset(ctx: Context): string {
  return ctx.request.charset === '' ? 'utf-8' : ctx.request.charset.toLowerCase();
}

async function parse(ctx: Context, type: BodyType, limit: number): Promise<void> {
  if (ctx.req.readableEnded && hasBody(ctx)) throw new Error(bodyIsGone);
  // Loaded at the first body: the parser costs 110 ms of start-up that most processes never need.
  const { koaBody } = await runInEmptyContext(() => import('koa-body'));
  // The parser looks for a body where HTTP/1.1 announces one.
  if (isHttp2(ctx.req) && ctx.req.headers['content-length'] === undefined)
    ctx.req.headers['transfer-encoding'] = 'chunked';
  const parser: Middleware = koaBody({
    json: type === 'json',
    urlencoded: type === 'form',
    text: false,
    multipart: false,
    jsonLimit: limit,
    formLimit: limit,
    patchNode: false,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = new TaskflowError(
      'REQUEST_TIMEOUT',
      `The body was not there within ${bodyTimeout} seconds.`,
      {
        headers: { Connection: 'close' },
      },
    );
    timer = setTimeout(() => reject(error), bodyTimeout * 1000);
  });
  const parsing = Promise.resolve(parser(ctx, async () => {}));
  try {
    await Promise.race([parsing, late]);
  } catch (error) {
    // What is still being read ends with the connection, and nobody waits for it any more.
    parsing.catch(() => {});
    throw bodyError(error, limit);
  } finally {
    clearTimeout(timer);
  }
}

function bodyError(error: unknown, limit: number): TaskflowError {
  if (error instanceof TaskflowError) return error;
  const status = (error as { status?: unknown }).status;
  if (status === 413)
    return new TaskflowError('PAYLOAD_TOO_LARGE', `The body may have ${limit} bytes.`, {
      headers: { Connection: 'close' },
    });
  return new TaskflowError(
    'INVALID_INPUT',
    'The body could not be read as what its Content-Type says.',
    { cause: error },
  );
}
