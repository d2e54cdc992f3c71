import type { Context } from 'koa';

/**
 * Whether a browser sent this request to open a page. If the browser sends `Sec-Fetch-Mode` or
 * `Sec-Fetch-Dest`, that header decides. Browsers send neither over plain HTTP. Then a request is a
 * navigation if it accepts `text/html`, which `fetch` and EventSource do not ask for by default.
 */
export function isNavigation(ctx: Context): boolean {
  const [mode, destination] = [ctx.get('Sec-Fetch-Mode'), ctx.get('Sec-Fetch-Dest')];
  if (mode !== '') return mode === 'navigate';
  if (destination !== '') return destination === 'document';
  return ctx.get('X-Requested-With') === '' && ctx.get('Accept').includes('text/html');
}
