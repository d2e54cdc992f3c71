import type { Context } from 'koa';
import type { SignInMethod } from '../http/access.js';
import { builtAssets } from '../http/assets.js';
import { escapeHtml, sendPage } from '../http/page.js';
import { filled, type Messages } from './messages.js';
import type { DownStrategy } from './strategies/health.js';

/** What every page of a login has. */
interface Frame {
  title: string;
  /** URL of an image that replaces the default logo. */
  logo: string | undefined;
  /** Prefix of the mount as the browser sees it. */
  prefix: string;
  messages: Messages;
}

/** The content of the login page. */
export interface LoginPage extends Frame {
  /** The ways to sign in. Without one with a password, there is no form. */
  methods: readonly SignInMethod[];
  /** The strategies that do not answer. */
  down?: readonly DownStrategy[] | undefined;
  /** The strategy with which this browser last signed in. */
  lastUsed?: string | undefined;
  /** Address of a page that helps with a forgotten password. */
  passwordHelp?: string | undefined;
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
  /** A link below the message. */
  link?: Link | undefined;
}

interface Link {
  href: string;
  text: string;
}

/** Sends the login page: a form and links that also work without JavaScript. */
export function sendLoginPage(ctx: Context, page: LoginPage): void {
  const { messages, methods, lastUsed } = page;
  const providers = methods.filter(({ kind }) => kind === 'redirect');
  const form = methods.length > providers.length ? formOf(page) : '';
  const links = providers.map((provider) => providerLink(page, provider)).join('\n');
  const or = form && links ? `<p class="or">${escapeHtml(messages.or)}</p>` : '';
  const isProviderFirst = providers.some(({ name }) => name === lastUsed);
  const parts = isProviderFirst ? [links, or, form] : [form, or, links];
  sendFrame(ctx, page, {
    title: `${page.message ? `${messages.error}: ` : ''}${messages.signIn} · ${page.title}`,
    script: form !== '',
    content: [messagesOf(page), ...parts].filter((part) => part !== '').join('\n'),
  });
}

/** A page without a form: a text, and an address to which the browser continues. */
export interface NoticePage extends Frame {
  heading: string;
  text: string | undefined;
  link: Link;
  /** Whether the browser opens the link by itself. */
  isAutomatic: boolean;
  /** Whether the page tells other tabs that the user has signed in, and closes itself. */
  isSignedIn?: boolean | undefined;
}

/** Sends a page with one text and one link. */
export function sendNoticePage(ctx: Context, page: NoticePage): void {
  const { heading, text, link, isAutomatic, isSignedIn } = page;
  sendFrame(ctx, page, {
    title: `${heading} · ${page.title}`,
    head: isAutomatic
      ? `<meta http-equiv="refresh" content="0; url=${escapeHtml(link.href)}">`
      : '',
    script: isSignedIn,
    content:
      (text === undefined
        ? ''
        : `<p role="status"${isSignedIn ? ' id="signed-in"' : ''}>${escapeHtml(text)}</p>\n`) +
      linkOf(link),
  });
}

interface FrameContent {
  title: string;
  head?: string;
  /** Whether the page loads the script. Default `false`. */
  script?: boolean | undefined;
  content: string;
}

function sendFrame(
  ctx: Context,
  { prefix, title: site, logo, messages }: Frame,
  { title, head = '', script = false, content }: FrameContent,
): void {
  const { file } = builtAssets();
  const asset = (name: Parameters<typeof file>[0]): string =>
    escapeHtml(`${prefix}/auth/assets/${file(name)}`);
  sendPage(ctx, {
    title,
    language: messages.language,
    head:
      `<link rel="icon" href="${asset('icon.svg')}">` +
      `<link rel="stylesheet" href="${asset('login.css')}">${head}` +
      (script ? `<script type="module" src="${asset('login.js')}"></script>` : ''),
    body: `<main>
<h1><img src="${logo === undefined ? asset('icon.svg') : escapeHtml(logo)}" alt=""
  width="28" height="28"> ${escapeHtml(site)}</h1>
${content}
</main>`,
  });
}

function formOf(page: LoginPage): string {
  const { messages, prefix, passwordHelp } = page;
  // If the name is already filled in, the password gets the focus.
  const focus = page.username ? 'password' : 'username';
  const autofocus = (field: string): string => (field === focus ? ' autofocus' : '');
  // The error describes the focused field, because some screen readers do not announce an alert on
  // a new page. An error of a provider does not concern the fields.
  const described = (field: string): string =>
    page.message && page.username && field === focus
      ? ' aria-describedby="message" aria-invalid="true"'
      : '';
  const help =
    passwordHelp === undefined
      ? ''
      : `<p class="help">${linkOf({ href: passwordHelp, text: messages.passwordHelp })}</p>\n`;
  return `<form method="post" action="${escapeHtml(`${prefix}/auth/login`)}">
<label for="username">${escapeHtml(messages.username)}</label>
<input id="username" name="username" value="${escapeHtml(page.username ?? '')}"
  autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false"
  maxlength="256" required${autofocus('username')}${described('username')}>
<label for="password">${escapeHtml(messages.password)}</label>
<input id="password" name="password" type="password" autocomplete="current-password"
  maxlength="1024" required${autofocus('password')}${described('password')}>
${strategyChoice(page)}${nextField(page)}\
<button type="submit">${escapeHtml(messages.signIn)}</button>
${help}</form>`;
}

function messagesOf(page: LoginPage): string {
  const { message, notice, retryAfter, link } = page;
  const wait = retryAfter ? ` data-retry-after="${escapeHtml(retryAfter)}"` : '';
  const error = message
    ? `<p id="message" class="error" role="alert"${wait}>${escapeHtml(message)}</p>`
    : '';
  const info = notice ? `<p class="notice" role="status">${escapeHtml(notice)}</p>` : '';
  return error + info + notesOf(page) + (link ? `<p>${linkOf(link)}</p>` : '');
}

/** Says which ways to sign in do not answer, before the user tries them. */
function notesOf({ down = [], methods, messages }: LoginPage): string {
  return methods
    .flatMap(({ name, label }) => {
      const since = down.find((each) => each.name === name)?.since;
      if (!since) return [];
      const text = filled(messages.notAnswering, { method: label, time: timeOf(since) });
      return [`<p class="notice" role="status">${escapeHtml(text)}</p>`];
    })
    .join('');
}

/** Returns a time in UTC, without the date if that is today. */
function timeOf(at: Date): string {
  const [date = '', time = ''] = at.toISOString().split('T');
  const isToday = new Date().toISOString().startsWith(date);
  return `${isToday ? '' : `${date} `}${time.slice(0, 5)} UTC`;
}

function nextField({ next }: LoginPage): string {
  return next === undefined
    ? ''
    : `<input type="hidden" name="next" value="${escapeHtml(next)}">\n`;
}

function strategyChoice({ methods, strategy, lastUsed, messages }: LoginPage): string {
  const passwords = methods.filter(({ kind }) => kind === 'password');
  if (passwords.length < 2) return '';
  const chosen = strategy ?? lastUsed;
  const options = passwords
    .map(
      ({ name, label }) =>
        `<option value="${escapeHtml(name)}"${name === chosen ? ' selected' : ''}>` +
        `${escapeHtml(label)}</option>`,
    )
    .join('');
  return (
    `<label for="strategy">${escapeHtml(messages.strategy)}</label>\n` +
    `<select id="strategy" name="strategy"><option value="">` +
    `${escapeHtml(messages.anyStrategy)}</option>${options}</select>\n`
  );
}

function providerLink(
  { prefix, next, messages }: LoginPage,
  { name, label }: SignInMethod,
): string {
  const query = next === undefined ? '' : `?next=${encodeURIComponent(next)}`;
  const href = `${prefix}/auth/start/${encodeURIComponent(name)}${query}`;
  const text = filled(messages.signInWith, { method: label });
  return `<a class="provider" href="${escapeHtml(href)}">${escapeHtml(text)}</a>`;
}

function linkOf({ href, text }: Link): string {
  return `<a href="${escapeHtml(href)}">${escapeHtml(text)}</a>`;
}
