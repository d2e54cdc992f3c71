import type { Context } from 'koa';

/** Error codes that Node reports if the client disconnects. */
const cuts = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/** Ignores client disconnects during a response. Koa would report them as errors of the app. */
export function ignoreDisconnects(ctx: Context): void {
  const { onerror } = ctx;
  ctx.onerror = (error: Error) => {
    if (!cuts.has((error as NodeJS.ErrnoException | null)?.code ?? '')) onerror.call(ctx, error);
  };
}
