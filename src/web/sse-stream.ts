import { AsyncResource } from 'node:async_hooks';
import type { ServerResponse } from 'node:http';
import type { Context, Middleware } from 'koa';
import { catchListenerErrors } from '../caught-listeners.js';
import { isReported, TaskflowError } from '../errors.js';
import { type Access, hasRole, isOpen } from '../http/access.js';
import { forbidden, unauthenticated } from '../http/auth-errors.js';
import { clientAddress } from '../http/client-address.js';
import { ignoreDisconnects } from '../http/client-disconnect.js';
import { plainHeaders } from '../http/headers.js';
import { requireKoa } from '../http/koa-only.js';
import { sendError } from '../http/problem.js';
import { whoIs } from '../http/routes.js';
import { refuseCrossSiteRead, trustedOriginsOption } from '../http/same-origin.js';
import { type Named, type OptionsOf, optionSet, whole } from '../option-set.js';
import { type Logger, loggerOption, wrongType } from '../options.js';
import { thrownForLog } from '../tasks/describe-error.js';
import { shareIterable } from './broadcast.js';
import { eventText, type StreamEvent } from './event.js';
import { OpenStreams } from './open-streams.js';
import { accessOption } from './options.js';

/** A client of a stream, as a source sees it. */
export interface StreamClient {
  /** `Last-Event-ID`: the id of the last event before the client reconnected. */
  lastEventId: string | undefined;
  query: URLSearchParams;
  /** Aborts when the client disconnects or its session ends. */
  signal: AbortSignal;
}

/** Events that all clients share, or a function that makes the events of one client. */
export type StreamSource<E extends StreamEvent> =
  | AsyncIterable<E>
  | ((client: StreamClient) => AsyncIterable<E>);

const streamLimits = optionSet({
  /** Open streams of one user, or of one address if there is no login. Default 100. */
  perUser: whole({ default: 100, min: 1 }),
  /** Open streams of this middleware. Default 5000. */
  total: whole({ default: 5000, min: 1 }),
});

/** How many streams may be open. */
export interface StreamLimits extends OptionsOf<typeof streamLimits>, Named {}

const streamOptions = optionSet({
  /**
   * The login: what `createAuth` returned, or an {@link Access} of the app's own. Default: no
   * login, so every request is allowed.
   */
  access: accessOption,
  /** How many streams may be open. */
  streams: (name, value: StreamLimits | undefined) => streamLimits.nested(name, value),
  /** Other origins whose pages may read the stream, such as `https://app.example`. */
  trustedOrigins: trustedOriginsOption,
  /** The app's pino logger, or `false` for silence. */
  logger: loggerOption,
});

/** Options of {@link sseStream}. */
export interface SseStreamOptions extends OptionsOf<typeof streamOptions>, Named {}

/** Milliseconds between two pings, which keep proxies from closing an idle stream. */
const pingInterval = 15_000;
/** Characters written at a time: the most that a client can leave unread, even of a long event. */
const pieceLength = 64 * 1024;
/** Milliseconds a client may take for a piece before it is disconnected. */
const maxStall = 30_000;

/**
 * Streams events to browsers (`text/event-stream`, as EventSource reads it). With `access`, each
 * stream requires a session, and ends with it after a last event `session`. The stream of a user
 * whom a proxy identifies ends after a minute with an event `reconnect`, so that the proxy decides
 * again. If a client does not read, no events are taken from the source for it.
 *
 * @example
 * ```ts
 * router.get('/prices', requireAuth('401'), sseStream(prices(), { access: auth }));
 * ```
 */
export function sseStream<E extends StreamEvent>(
  source: StreamSource<E>,
  options?: SseStreamOptions,
): Middleware {
  const { access, streams, trustedOrigins, logger } = streamOptions.read(options, {
    where: 'sseStream',
  });
  const open = new OpenStreams(streams.perUser, streams.total);
  const eventsFor = sourceFor(source);

  const answer = async (ctx: Context): Promise<void> => {
    const controller = new AbortController();
    try {
      const actor = await whoIs(ctx, access);
      if (!actor) throw unauthenticated(ctx);
      if (!hasRole(actor.roles, 'viewer')) throw forbidden('viewer');
      if (actor.ambient !== false) refuseCrossSiteRead(ctx, trustedOrigins);
      if (!ctx.accepts('text/event-stream'))
        throw new TaskflowError(
          'NOT_ACCEPTABLE',
          'This resource is only available as text/event-stream.',
        );
      const key = isOpen(access)
        ? clientAddress(ctx)
        : JSON.stringify([actor.strategy, actor.name]);
      open.check(key);
      const client = {
        lastEventId: ctx.get('Last-Event-ID') || undefined,
        query: new URLSearchParams(ctx.querystring),
        signal: catchListenerErrors(controller.signal, (err) =>
          logger.error({ err: thrownForLog(err) }, 'an abort listener of a stream failed'),
        ),
      };
      const events = eventsFor(client);
      // An error of `ended` can be answered only before the headers are sent.
      const ended = ctx.method === 'HEAD' ? undefined : access.ended?.(ctx);
      begin(ctx);
      if (ctx.method === 'HEAD') return controller.abort();
      open.add(key, ctx.res);
      void pump(ctx.res, events, controller, ended, logger);
    } catch (error) {
      // The source may have subscribed to something already.
      controller.abort();
      sendError(ctx, error, 'json', logger);
    }
  };

  return function sseStream(ctx, next) {
    requireKoa('sseStream', next);
    return answer(ctx);
  };
}

function sourceFor<E extends StreamEvent>(
  source: StreamSource<E>,
): (client: StreamClient) => AsyncIterable<E> {
  if (typeof source === 'function') return source;
  if (typeof source !== 'object' || source === null || !(Symbol.asyncIterator in source))
    throw wrongType(
      'source',
      source,
      'an AsyncIterable of events, a function that returns one, taskEvents(tasks), or ' +
        'emitterEvents(emitter, names)',
    );
  const shared = shareIterable(source);
  return ({ signal }) => shared.subscribe(signal);
}

/** Sends the headers and a first byte at once. Without them, clients stay in "connecting". */
function begin(ctx: Context): void {
  plainHeaders(ctx);
  ctx.status = 200;
  ctx.set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' });
  // Events are written to the response directly, which makes a thousand streams cheap. Koa must not
  // answer as well.
  ctx.respond = false;
  ignoreDisconnects(ctx);
  ctx.req.setTimeout(0);
  // A connection of HTTP/2 belongs to other requests too.
  if (ctx.req.httpVersionMajor < 2) ctx.req.socket.setNoDelay(true);
  if (ctx.method === 'HEAD') ctx.res.end();
  else ctx.res.write(`retry: ${reconnectDelay()}\n\n`);
}

/** Returns random milliseconds, so that not all clients reconnect at once after a restart. */
function reconnectDelay(): number {
  return Math.round(1000 + Math.random() * 2000);
}

async function pump(
  res: ServerResponse,
  events: AsyncIterable<StreamEvent>,
  controller: AbortController,
  ended: AbortSignal | undefined,
  logger: Logger,
): Promise<void> {
  const { signal } = controller;
  let sending = false;
  const leave = (): void => controller.abort();
  // Another request may end the session. The source still sees the request of its stream.
  const endSession = AsyncResource.bind((): void => {
    const reason: unknown = ended?.reason;
    // With any other reason, such as a store that does not answer, the session has not ended and
    // the client may reconnect. In the middle of another event the reason cannot be sent, and the
    // client learns it when it reconnects.
    if (!sending && (reason === 'revoked' || reason === 'expired'))
      res.end(eventText({ event: 'session', data: { reason } }));
    else if (!sending && reason === 'reconnect')
      res.end(eventText({ event: 'reconnect', data: {} }));
    else res.end();
    controller.abort();
  });
  const ping = setInterval(() => {
    if (!sending) res.write(': ping\n\n');
  }, pingInterval).unref();
  res.once('close', leave);
  // A client that disconnects is not an error of the app.
  res.on('error', leave);
  ended?.addEventListener('abort', endSession, { once: true });
  if (ended?.aborted) endSession();
  try {
    for await (const event of events) {
      if (signal.aborted) break;
      sending = true;
      const read = await send(res, eventText(event), signal);
      sending = false;
      if (!read) break;
    }
  } catch (err) {
    // A source may end with the error of its signal when the client disconnects.
    if (!isReported(err) && !(signal.aborted && isAbortError(err)))
      logger.error({ err: thrownForLog(err) }, 'a stream failed');
  } finally {
    clearInterval(ping);
    ended?.removeEventListener('abort', endSession);
    controller.abort();
    if (!res.writableEnded) res.end();
  }
}

/** Whether an error is the one that `signal.reason` and the functions of Node throw on an abort. */
function isAbortError(err: unknown): boolean {
  return err instanceof Error && err.name === 'AbortError';
}

/**
 * Writes a text, and waits until the client has read enough. Returns `false` if the client
 * disconnected, or was disconnected because it does not read.
 */
async function send(res: ServerResponse, text: string, signal: AbortSignal): Promise<boolean> {
  for (let from = 0; from < text.length; ) {
    const to = endOfPiece(text, from + pieceLength);
    if (!res.write(text.slice(from, to)) && !(await drained(res, signal))) {
      res.destroy();
      return false;
    }
    if (signal.aborted) return false;
    from = to;
  }
  return true;
}

/** Returns where a piece ends: not within a surrogate pair. */
function endOfPiece(text: string, end: number): number {
  const last = text.charCodeAt(end - 1);
  return last >= 0xd800 && last < 0xdc00 ? end - 1 : end;
}

function drained(res: ServerResponse, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (value: boolean) => (): void => {
      clearTimeout(timer);
      res.off('drain', onDrain);
      signal.removeEventListener('abort', onDrain);
      resolve(value);
    };
    const onDrain = settle(true);
    const timer = setTimeout(settle(false), maxStall);
    timer.unref();
    res.once('drain', onDrain);
    signal.addEventListener('abort', onDrain, { once: true });
  });
}
