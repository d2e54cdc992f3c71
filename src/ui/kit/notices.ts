import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';

/** A message to the user: an outcome, or a failure that screen readers announce at once. */
export interface Notice {
  text: string;
  failed: boolean;
  /** Reverts what was done. */
  undo?: (() => Promise<void>) | undefined;
  /** Where to see the result. */
  link?: { text: string; href: string } | undefined;
}

/** The notice that is shown now. */
export const notice = signal<Notice | undefined>(undefined);

/** Shows an outcome. */
export function notify(text: string, more: Pick<Notice, 'undo' | 'link'> = {}): void {
  notice.value = { text, failed: false, ...more };
}

/**
 * Returns the text of an error. If the server is at fault, it names the request, as the log does.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof ProblemError))
    return error instanceof Error ? error.message : String(error);
  const { status, message, code, requestId } = error;
  if (status === 403) return `${message} Your role does not allow it.`;
  return status >= 500 ? `${message} (${code}, request ${requestId ?? 'unknown'})` : message;
}

/** Shows a failure, unless the session has ended: the page then asks the user to sign in. */
export function showError(error: unknown): void {
  if (isSignedOut(error)) return;
  notice.value = { text: describeError(error), failed: true };
}

const observers = new Set<(error: unknown) => void>();

/**
 * Calls a function with each error of a request, so that it can note an outage or the end of the
 * session.
 */
export function observeErrors(observer: (error: unknown) => void): void {
  observers.add(observer);
}

/** Reports an error to the observers. Returns whether it means that the session has ended. */
export function isSignedOut(error: unknown): boolean {
  for (const observe of observers) observe(error);
  return error instanceof ProblemError && error.status === 401;
}
