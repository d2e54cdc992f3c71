import { notify } from './notices.js';

/**
 * Copies a text to the clipboard and notifies the user. Browsers allow this only over HTTPS and on
 * localhost.
 */
export function copy(text: string, what: string): void {
  const shown = `${what}: ${text.slice(0, 200)}`;
  if (!navigator.clipboard) notify(shown);
  else
    void navigator.clipboard.writeText(text).then(
      () => notify(`${what} copied.`),
      () => notify(`The browser did not allow copying. ${shown}`),
    );
}
