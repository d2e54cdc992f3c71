import { signal } from '@preact/signals';

/*
 * A command that the server refuses with 401 waits here until the user has signed in, and is then
 * sent again. The dialog `shell/sign-in.tsx` signs the user in. If another user signs in, nothing
 * is sent, and the dialog reloads the page.
 */

/**
 * Why the user must sign in: the session has ended, or it is too old for a command. `undefined` if
 * the user does not have to sign in. Each reason is a new object.
 */
export const signInReason = signal<{ readonly isOld: boolean } | undefined>(undefined);

/** The commands that wait for the sign-in. */
const waiting = new Set<(isSignedIn: boolean) => void>();

/** Whether commands wait for the sign-in. */
export function isWaiting(): boolean {
  return waiting.size > 0;
}

/** Asks the user to sign in, because the session has ended, or because it is too old (`isOld`). */
export function askToSignIn(isOld = false): void {
  if (signInReason.peek()?.isOld !== false) signInReason.value = { isOld };
}

/** Sends the waiting commands, or refuses them if the user did not sign in. */
export function endSignIn(isSignedIn: boolean): void {
  signInReason.value = undefined;
  const commands = [...waiting];
  waiting.clear();
  for (const go of commands) go(isSignedIn);
}

/**
 * Whether a command can change many tasks. Such a command is not sent again automatically: the user
 * must confirm it again.
 */
const isBulk = (url: string): boolean => /\/(bulk|bulk-retry|retry-failed|history)(\?|$)/.test(url);

/** Sends a request. A command that needs a sign-in waits for it, and is sent again. */
export async function send(url: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  const { method = 'GET' } = init;
  for (;;) {
    const response = await fetch(url, init);
    if (response.status !== 401 || method === 'GET' || isBulk(String(url))) return response;
    const challenge = response.headers.get('WWW-Authenticate') ?? '';
    const isOld = challenge.includes('insufficient_user_authentication');
    const isSignedIn = await new Promise<boolean>((resolve) => {
      waiting.add(resolve);
      askToSignIn(isOld);
    });
    if (!isSignedIn) throw new Error('Nothing was done, because you did not sign in.');
  }
}
