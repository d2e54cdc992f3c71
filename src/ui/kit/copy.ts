import { tell } from './notices.js';

/** Copies a text, and says so. Only a page over HTTPS, or of this machine, may. */
export function copy(text: string, what: string): void {
  const shown = `${what}: ${text.slice(0, 200)}`;
  if (!navigator.clipboard) tell(shown);
  else
    void navigator.clipboard.writeText(text).then(
      () => tell(`${what} copied.`),
      () => tell(`The browser did not let the page copy. ${shown}`),
    );
}
