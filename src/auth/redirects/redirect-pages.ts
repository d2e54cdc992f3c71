import type { Context } from 'koa';
import type { LoginPages } from '../login-pages.js';
import { filled } from '../messages.js';
import type { Attempt } from './attempts.js';

/** The parts that show the pages of a sign-in at a provider. */
export interface RedirectPagesDeps {
  pages: LoginPages;
}

/** Sends the login page with 503, because the provider or the strategy does not answer. */
export function unavailable(ctx: Context, attempt: Attempt, { pages }: RedirectPagesDeps): void {
  const { messages, labelOf } = pages;
  const { strategy, next } = attempt;
  ctx.status = 503;
  pages.login(ctx, { next, message: filled(messages.unavailable, { method: labelOf(strategy) }) });
}

/** Sends a page from which the browser continues. */
export function goOn(ctx: Context, href: string, { pages }: RedirectPagesDeps): void {
  const { goOn: text } = pages.messages;
  pages.notice(ctx, { heading: text, text: undefined, link: { href, text }, isAutomatic: true });
}
