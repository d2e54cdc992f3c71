import type { Context } from 'koa';

/** How Node calls a line that the client cut. */
const cuts = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/**
 * A client that goes away in the middle of an answer is no error of the app, though Koa would tell
 * it so.
 */
export function ignoreCuts(ctx: Context): void {
  const { onerror } = ctx;
  ctx.onerror = (error: Error) => {
    if (!cuts.has((error as NodeJS.ErrnoException | null)?.code ?? '')) onerror.call(ctx, error);
  };
}
