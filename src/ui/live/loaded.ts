import { type Signal, signal } from '@preact/signals';
import { isSignedOut } from '../kit/notices.js';
import type { Source } from '../kit/states.js';
import { paused } from '../state/preferences.js';
import { listen } from './connection.js';

/** Data that is loaded from the server and kept up to date. */
export interface Loaded<T> extends Source<T> {
  loading: Signal<boolean>;
  /** Starts to load the data again when tasks change. The first `load` also does this. */
  watch(): void;
}

/** Minimum number of milliseconds between two loads while tasks change. */
const pause = 5000;

interface Options<T> {
  /** The value before the first load. */
  first?: T | undefined;
  /**
   * Whether the value can change without a change of tasks. It is then loaded again every five
   * seconds.
   */
  changesAlone?(value: T): boolean;
}

/**
 * Loads data with `ask` whenever `load` is called. While `isShown` returns true, it also loads when
 * tasks have changed, at most every five seconds. So an idle page sends no requests.
 */
export function loaded<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  isShown: () => boolean,
  { first, changesAlone }: Options<T> = {},
): Loaded<T> {
  const value = signal<T | undefined>(first);
  const loading = signal(false);
  const error = signal<unknown>(undefined);
  let request = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const load = async (): Promise<void> => {
    watch();
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
    watchAlone();
  };

  const loadSoon = (): void => {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      if (!isShown()) return;
      // A paused page must not change, and the user does not see a hidden page.
      if (paused.peek() || document.hidden) loadSoon();
      else void load();
    }, pause);
  };

  const watchAlone = (): void => {
    const current = value.peek();
    if (current !== undefined && changesAlone?.(current)) loadSoon();
  };
  let isWatched = false;
  const watch = (): void => {
    if (isWatched) return;
    isWatched = true;
    watchAlone();
    listen({
      tasks() {
        if (isShown()) loadSoon();
      },
      reload() {
        if (isShown()) void load();
      },
    });
  };
  return { value, loading, error, load, watch };
}
