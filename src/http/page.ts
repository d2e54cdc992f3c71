import type { Context } from 'koa';
import type { TaskflowError } from '../errors.js';
import { builtAssets } from './assets.js';
import { pageHeaders } from './headers.js';
import { requestId } from './request-id.js';

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Escapes text for use in an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

/** Returns JSON that is safe inside a `<script type="application/json">` element. */
export function jsonForHtml(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The parts of a page. */
export interface PageContent {
  title: string;
  /** The language of the texts. Default `en`. */
  language?: string;
  /** Markup for `<head>`, already escaped. */
  head: string;
  /** Markup of the body, already escaped. */
  body: string;
}

/** Answers with a complete page in the user's theme, and the headers that every page has. */
export function sendPage(ctx: Context, { title, language = 'en', head, body }: PageContent): void {
  const theme = chosenTheme(ctx);
  pageHeaders(ctx);
  ctx.type = 'text/html; charset=utf-8';
  ctx.body = `<!doctype html>
<html lang="${escapeHtml(language)}"${theme ? ` data-theme="${theme}"` : ''}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
${head}
</head>
<body>
${body}
</body>
</html>
`;
}

/**
 * Answers with a page that says what went wrong, and the request id, by which you can find the
 * request in the log. It reveals nothing about the internals of the server. `assets` is the URL
 * below which the style is served. Without it, the page has no style.
 */
export function errorPage(
  ctx: Context,
  { title, code }: TaskflowError,
  detail: string,
  assets: string | undefined,
): void {
  const style = assets && `${assets}/${builtAssets().file('login.css')}`;
  sendPage(ctx, {
    title,
    head: style ? `<link rel="stylesheet" href="${escapeHtml(style)}">` : '',
    body: `<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(detail)}</p>
<p><a href="">Try again</a></p>
<p class="faint">${escapeHtml(code)} · request ${escapeHtml(requestId(ctx))}</p>
</main>`,
  });
}

/** Returns the theme that the user chose in the dashboard. `undefined` means that of the system. */
function chosenTheme(ctx: Context): 'light' | 'dark' | undefined {
  const value = ctx.cookies.get('tf_theme');
  return value === 'light' || value === 'dark' ? value : undefined;
}
