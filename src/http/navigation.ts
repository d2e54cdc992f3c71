import type { Context } from 'koa';

/**
 * Whether a person opens a page with this request. If the browser sends `Sec-Fetch-Mode` or
 * `Sec-Fetch-Dest`, they decide; on plain HTTP browsers do not, and there a navigation accepts
 * `text/html`, which `fetch` and EventSource do not ask for.
 */
export function isNavigation(ctx: Context): boolean {
  const [mode, destination] = [ctx.get('Sec-Fetch-Mode'), ctx.get('Sec-Fetch-Dest')];
  if (mode !== '') return mode === 'navigate';
  if (destination !== '') return destination === 'document';
  return ctx.get('X-Requested-With') === '' && ctx.get('Accept').includes('text/html');
}
