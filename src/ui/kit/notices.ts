import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';
import { signedOut } from '../live/connection.js';
import { noteEngine } from '../live/outage.js';

/** Something said to the person: politely (an outcome) or at once (a failure). */
export interface Notice {
  text: string;
  failed: boolean;
  /** Takes back what was done. */
  undo?: (() => Promise<void>) | undefined;
  /** Where to see it. */
  link?: { text: string; href: string } | undefined;
}

export const notice = signal<Notice | undefined>(undefined);

export function tell(text: string, more: Pick<Notice, 'undo' | 'link'> = {}): void {
  notice.value = { text, failed: false, ...more };
}

/** What went wrong, in words: with the name of the request, by which the log has it, where the server is at fault. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof ProblemError)) return error instanceof Error ? error.message : String(error);
  if (error.status === 403) return `${error.message} Your role does not allow it.`;
  return error.status >= 500 ? `${error.message} (${error.code}, request ${error.requestId ?? 'unknown'})` : error.message;
}

/** Tells the person what went wrong; without a session there is only one thing left to do. */
export function complain(error: unknown): void {
  if (isSignedOut(error)) return;
  notice.value = { text: wordsOf(error), failed: true };
}

/** Whether an error is the end of the session, which the page then shows, as it does that the engine cannot be reached. */
export function isSignedOut(error: unknown): boolean {
  noteEngine(error);
  const ended = error instanceof ProblemError && error.status === 401;
  if (ended) signedOut.value = true;
  return ended;
}
