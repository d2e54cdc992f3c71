import { signal } from '@preact/signals';
import type * as Lazy from './lazy.js';

/** The second script of the dashboard, once it is loaded. */
export const lazy = signal<typeof Lazy | undefined>(undefined);
/** The error if the script could not be loaded. Usually, the server has been updated. */
export const lazyError = signal<unknown>(undefined);

/** Loads the second script. */
export async function loadLazy(): Promise<typeof Lazy | undefined> {
  try {
    lazy.value ??= await import('./lazy.js');
    lazyError.value = undefined;
  } catch (error) {
    lazyError.value = error;
  }
  return lazy.value;
}
