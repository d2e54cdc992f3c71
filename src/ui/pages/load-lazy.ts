import { signal } from '@preact/signals';
import type * as Later from './lazy.js';

/** The rest of the dashboard, once it is there. */
export const later = signal<typeof Later | undefined>(undefined);
/** Why it did not come: mostly because the server has another version by now. */
export const laterError = signal<unknown>(undefined);

/** Loads the rest. */
export async function loadLater(): Promise<typeof Later | undefined> {
  try {
    later.value ??= await import('./lazy.js');
    laterError.value = undefined;
  } catch (error) {
    laterError.value = error;
  }
  return later.value;
}
