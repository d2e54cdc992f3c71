import { type Signal, signal } from '@preact/signals';
import { isSignedOut } from '../shell/notices.js';
import { listen } from './connection.js';

/** Something that is loaded from the server, and how that went. */
export interface Loaded<T> {
  value: Signal<T | undefined>;
  loading: Signal<boolean>;
  /** What went wrong last; the value before it stays. */
  error: Signal<unknown>;
  /** Loads it anew, in place of a load under way. */
  load(): Promise<void>;
}

/** Milliseconds between two loads of what changes with the tasks. */
const pause = 5000;

/**
 * Loads something by `ask` whenever it is told to, and while `isShown` also when the tasks have changed, every five seconds at
 * most: an idle page asks for nothing.
 */
export function loaded<T>(ask: (signal: AbortSignal) => Promise<T>, isShown: () => boolean, first?: T): Loaded<T> {
  const value = signal<T | undefined>(first);
  const loading = signal(false);
  const error = signal<unknown>(undefined);
  let request = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const load = async (): Promise<void> => {
    request.abort();
    request = new AbortController();
    const { signal: aborted } = request;
    loading.value = true;
    try {
      const answer = await ask(aborted);
      if (aborted.aborted) return;
      value.value = answer;
      error.value = undefined;
    } catch (reason) {
      if (aborted.aborted) return;
      if (!isSignedOut(reason)) error.value = reason;
    }
    loading.value = false;
  };

  listen({
    tasks() {
      if (!isShown() || timer !== undefined) return;
      timer = setTimeout(() => {
        timer = undefined;
        if (isShown()) void load();
      }, pause);
    },
    reload() {
      if (isShown()) void load();
    },
  });
  return { value, loading, error, load };
}
