import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';

/** A message to the user: an outcome, or a failure. Screen readers announce failures at once. */
export interface Notice {
  text: string;
  failed: boolean;
  /** Reverts the action. */
  undo?: (() => Promise<void>) | undefined;
  /** Link to the result. */
  link?: { text: string; href: string } | undefined;
}

/** The notice that is shown at present. */
export const notice = signal<Notice | undefined>(undefined);

/** Shows an outcome. */
export function notify(text: string, more: Pick<Notice, 'undo' | 'link'> = {}): void {
  notice.value = { text, failed: false, ...more };
}

/**
 * Returns the text of an error. If the server caused the error, the text contains the request id,
 * which is also in the log.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof ProblemError))
    return error instanceof Error ? error.message : String(error);
  const { status, message, code, requestId } = error;
  if (status === 401) return 'Your session ended before this was done. Try again.';
  if (status === 403) return `${message} Your role does not allow it.`;
  return status >= 500 ? `${message} (${code}, request ${requestId ?? 'unknown'})` : message;
}

/** Shows why an action of the user failed. */
export function showError(error: unknown): void {
  observe(error);
  notice.value = { text: describeError(error), failed: true };
}

const observers = new Set<(error: unknown) => void>();

/**
 * Registers a function that receives the error of each failed request, so that it can detect an
 * outage or the end of the session.
 */
export function observeErrors(observer: (error: unknown) => void): void {
  observers.add(observer);
}

/** Passes an error to the observers. */
export function observe(error: unknown): void {
  for (const observer of observers) observer(error);
}

/** Passes an error to the observers. Returns whether it means that the session has ended. */
export function isSignedOut(error: unknown): boolean {
  observe(error);
  return error instanceof ProblemError && error.status === 401;
}
