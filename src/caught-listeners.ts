/*
 * The product aborts the signals that it gives to code of the app: in timers, on a cancellation,
 * when a client has gone. Node does not pass on what an abort listener throws to the caller of
 * abort(). It raises an uncaught exception, which ends the process. Listeners of these signals are
 * therefore wrapped. A signal that the app derives with AbortSignal.any() is its own.
 */

type Listener = EventListener | EventListenerObject;

/**
 * Hands what the abort listeners of a signal throw or reject with to `failed`, instead of to the
 * process. Returns the signal. Listeners are called, compared and removed as before.
 */
export function catchListenerErrors(
  signal: AbortSignal,
  failed: (err: unknown) => void,
): AbortSignal {
  const wrappers = new WeakMap<Listener, EventListener>();
  // One wrapper for each listener, so that a listener that is added twice is called once.
  const wrapped = (listener: unknown): unknown => {
    if (!isListener(listener)) return listener;
    const wrapper = wrappers.get(listener) ?? wrap(listener, failed);
    wrappers.set(listener, wrapper);
    return wrapper;
  };
  const replace = (name: 'addEventListener' | 'removeEventListener'): void => {
    const original = signal[name] as (type: string, listener: unknown, options?: unknown) => void;
    const value = (type: string, listener: unknown, options?: unknown): void =>
      original.call(signal, type, wrapped(listener), options);
    Object.defineProperty(signal, name, { value, configurable: true, writable: true });
  };
  replace('addEventListener');
  replace('removeEventListener');
  return signal;
}

function isListener(value: unknown): value is Listener {
  return typeof value === 'function' || (typeof value === 'object' && value !== null);
}

function wrap(listener: Listener, failed: (err: unknown) => void): EventListener {
  return function (this: unknown, event) {
    try {
      const done: unknown =
        typeof listener === 'function' ? listener.call(this, event) : listener.handleEvent(event);
      // Also thenables of the app: Node would raise their rejection as an uncaught exception.
      if (typeof done === 'object' && done !== null) Promise.resolve(done).catch(failed);
    } catch (err) {
      failed(err);
    }
  };
}
