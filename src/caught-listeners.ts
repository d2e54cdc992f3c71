/*
 * The suite aborts signals that the app's code receives: in timers, on a cancellation, on a client
 * disconnect. If an abort listener throws, Node does not pass the error to the caller of abort().
 * It raises an uncaught exception, which ends the process. Listeners of these signals are therefore
 * wrapped. A signal that the app derives with AbortSignal.any() is not covered.
 */

type Listener = EventListener | EventListenerObject;

/**
 * Passes errors of a signal's abort listeners to `failed`, so that they do not end the process.
 * Returns the signal. Listeners are called, compared and removed as before.
 */
export function catchListenerErrors(
  signal: AbortSignal,
  failed: (err: unknown) => void,
): AbortSignal {
  const wrappers = new WeakMap<Listener, EventListener>();
  // Each listener has one wrapper, so that a listener that is added twice is called once.
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
    // An async function also covers thenables of the app. Node would raise their rejection as an
    // uncaught exception.
    const call = async (): Promise<unknown> =>
      typeof listener === 'function' ? listener.call(this, event) : listener.handleEvent(event);
    call().catch(failed);
  };
}
