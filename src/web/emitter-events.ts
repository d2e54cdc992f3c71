import { wrongKind, wrongType } from '../options.js';
import { Broadcast } from './broadcast.js';
import type { StreamEvent } from './event.js';
import type { StreamClient } from './sse-stream.js';

/** An EventEmitter of Node, or another object with these methods. */
export interface Emitter {
  on(name: string, listener: (data: unknown) => void): unknown;
  off(name: string, listener: (data: unknown) => void): unknown;
}

/**
 * Returns the events of an emitter, for {@link sseStream}: each under its own name, with its first
 * argument as data. It listens while a client is connected, and serialises each event once for all
 * clients.
 *
 * @param names The events to send, such as `['price', 'trade']`. All others stay within the app.
 * @throws TypeError for a value that is not an emitter, or not a list of names.
 * @example
 * ```ts
 * const events = emitterEvents(prices, ['price']);
 * router.get('/prices', requireAuth('401'), sseStream(events, { access: auth }));
 * ```
 */
export function emitterEvents(
  emitter: Emitter,
  names: readonly string[],
): (client: StreamClient) => AsyncIterable<StreamEvent> {
  if (typeof emitter?.on !== 'function' || typeof emitter.off !== 'function')
    throw wrongKind('emitter', emitter, 'an EventEmitter');
  if (!Array.isArray(names) || names.length === 0 || names.some((name) => typeof name !== 'string'))
    throw wrongType('names', names, 'a list of event names');
  const broadcast = new Broadcast<StreamEvent>((all) => {
    const listeners = names.map(
      (event) => [event, (data: unknown): void => all.send({ event, data: data ?? null })] as const,
    );
    const leave = (): void =>
      callEach(listeners, ([event, listener]) => emitter.off(event, listener));
    try {
      for (const [event, listener] of listeners) emitter.on(event, listener);
    } catch (error) {
      // Otherwise the listeners added before the error would be added twice for the next client.
      leave();
      throw error;
    }
    return leave;
  });
  return ({ signal }) => broadcast.subscribe(signal);
}

/** Calls a function for each item, also after a call that threw. Then throws the first error. */
function callEach<T>(all: readonly T[], call: (one: T) => unknown): void {
  const errors: unknown[] = [];
  for (const one of all) {
    try {
      call(one);
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
