import type { Context } from 'koa';
import { builtAssets } from '../http/assets.js';
import { escapeHtml, sendPage } from '../http/page.js';

/** The content of the login page. */
export interface LoginPage {
  title: string;
  /** URL of an image that replaces the default logo. */
  logo?: string | undefined;
  /** Prefix of the mount as the browser sees it. */
  prefix: string;
  /** Names of the strategies to choose from. */
  strategies: readonly string[];
  next?: string | undefined;
  /** The name that the user typed before. */
  username?: string | undefined;
  strategy?: string | undefined;
  /** The error, in one sentence. */
  message?: string | undefined;
  /** Seconds until the next attempt is accepted. */
  retryAfter?: string | undefined;
  /** Information that is not an error. */
  notice?: string | undefined;
}

/** Sends the login page, a form that also works without JavaScript. */
export function sendLoginPage(ctx: Context, page: LoginPage): void {
  const assets = `${page.prefix}/auth/assets`;
  const { file } = builtAssets();
  // If the name is already filled in, the password gets the focus.
  const focus = page.username ? 'password' : 'username';
  const autofocus = (field: string): string => (field === focus ? ' autofocus' : '');
  // The error describes the focused field, because some screen readers do not announce an alert on
  // a new page.
  const described = (field: string): string =>
    page.message && field === focus ? ' aria-describedby="message" aria-invalid="true"' : '';
  const asset = (name: Parameters<typeof file>[0]): string => escapeHtml(`${assets}/${file(name)}`);
  sendPage(ctx, {
    title: `${page.message ? 'Error: ' : ''}Sign in · ${page.title}`,
    head:
      `<link rel="icon" href="${asset('icon.svg')}">` +
      `<link rel="stylesheet" href="${asset('login.css')}">` +
      `<script type="module" src="${asset('login.js')}"></script>`,
    body: `<main>
<h1><img src="${page.logo === undefined ? asset('icon.svg') : escapeHtml(page.logo)}" alt=""
  width="28" height="28"> ${escapeHtml(page.title)}</h1>
<form method="post" action="${escapeHtml(`${page.prefix}/auth/login`)}">
${messages(page)}
<label for="username">Username</label>
<input id="username" name="username" value="${escapeHtml(page.username ?? '')}"
  autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false"
  maxlength="256" required${autofocus('username')}${described('username')}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"
  maxlength="1024" required${autofocus('password')}${described('password')}>
${strategyChoice(page)}${nextField(page)}<button type="submit">Sign in</button>
</form>
</main>`,
  });
}

function messages({ message, notice, retryAfter }: LoginPage): string {
  const wait = retryAfter ? ` data-retry-after="${escapeHtml(retryAfter)}"` : '';
  const error = message
    ? `<p id="message" class="error" role="alert"${wait}>${escapeHtml(message)}</p>`
    : '';
  return error + (notice ? `<p class="notice" role="status">${escapeHtml(notice)}</p>` : '');
}

function nextField({ next }: LoginPage): string {
  return next === undefined
    ? ''
    : `<input type="hidden" name="next" value="${escapeHtml(next)}">\n`;
}

function strategyChoice({ strategies, strategy }: LoginPage): string {
  if (strategies.length < 2) return '';
  const options = strategies
    .map((name) => `<option${name === strategy ? ' selected' : ''}>${escapeHtml(name)}</option>`)
    .join('');
  return (
    '<label for="strategy">Sign in with</label>\n' +
    `<select id="strategy" name="strategy"><option value="">any</option>${options}</select>\n`
  );
}
