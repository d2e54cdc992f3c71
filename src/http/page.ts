import type { Context } from 'koa';
import { builtAssets } from './assets.js';
import { pageHeaders } from './headers.js';

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as it may stand in an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

/** JSON as it may stand in a `<script type="application/json">` block. */
export function jsonForHtml(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What a page is made of. */
export interface PageParts {
  title: string;
  /** Markup that belongs into `<head>`, already safe. */
  head: string;
  /** Markup of the body, already safe. */
  body: string;
  theme?: 'light' | 'dark' | undefined;
}

/** Answers with a whole page and the headers every page has. */
export function sendPage(ctx: Context, { title, head, body, theme }: PageParts): void {
  pageHeaders(ctx);
  ctx.type = 'text/html; charset=utf-8';
  ctx.body = `<!doctype html>
<html lang="en"${theme ? ` data-theme="${theme}"` : ''}>
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

/** What a page of an error says. */
export interface ErrorPage {
  title: string;
  detail: string;
  code: string;
  /** By which the log names the request. */
  requestId: string;
  /** Where the style is served; without it the page has none. */
  assets: string | undefined;
}

/** A page that says what went wrong and what to do, and nothing about the inside. */
export function errorPage(
  ctx: Context,
  { title, detail, code, requestId, assets }: ErrorPage,
): void {
  const style = assets && `${assets}/${builtAssets().file('login.css')}`;
  sendPage(ctx, {
    title,
    theme: chosenTheme(ctx),
    head: style ? `<link rel="stylesheet" href="${escapeHtml(style)}">` : '',
    body: `<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(detail)}</p>
<p><a href="">Try again</a></p>
<p class="faint">${escapeHtml(code)} · request ${escapeHtml(requestId)}</p>
</main>`,
  });
}

/** The theme a reader fixed in the dashboard; `undefined` follows the system. */
export function chosenTheme(ctx: Context): 'light' | 'dark' | undefined {
  const value = ctx.cookies.get('tf_theme');
  return value === 'light' || value === 'dark' ? value : undefined;
}
