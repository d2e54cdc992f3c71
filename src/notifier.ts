/** Wakes all waiting callers when a repeated event happens, such as a commit. */
export class Notifier {
  readonly #waiting = new Set<() => void>();
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  get hasListeners(): boolean {
    return this.#waiting.size > 0;
  }

  /** Wakes all callers that wait now. */
  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Notifies for the last time. Later calls of `wait` resolve immediately. */
  close(): void {
    this.#closed = true;
    this.notify();
  }

  /** Resolves at the next notification, or when the signal aborts. */
  wait(signal?: AbortSignal): Promise<void> {
    if (this.#closed || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      signal?.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}
