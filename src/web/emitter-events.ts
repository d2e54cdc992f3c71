import { wrongType } from '../options.js';
import { Broadcast } from './broadcast.js';
import type { StreamEvent } from './event.js';
import type { StreamClient } from './sse-stream.js';

/** What an EventEmitter has, that of Node or another. */
export interface Emitter {
  on(name: string, listener: (data: unknown) => void): unknown;
  off(name: string, listener: (data: unknown) => void): unknown;
}

/**
 * The events of an emitter, for {@link sseStream}: each under its own name, with its first argument as data. They are listened
 * to while anybody reads, and serialised once for all who do.
 *
 * @param names The events to be told, such as `['price', 'trade']`; any other stays within the app.
 * @throws TypeError for what is no emitter, or no list of names.
 * @example
 * ```ts
 * router.get('/prices', requireAuth('401'), sseStream(emitterEvents(prices, ['price']), { access: auth }));
 * ```
 */
export function emitterEvents(
  emitter: Emitter,
  names: readonly string[],
): (client: StreamClient) => AsyncIterable<StreamEvent> {
  if (typeof emitter?.on !== 'function' || typeof emitter.off !== 'function')
    throw wrongType('emitter', emitter, 'an EventEmitter');
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
      // Those that were added before the error would be added twice for the next client.
      leave();
      throw error;
    }
    return leave;
  });
  return ({ signal }) => broadcast.subscribe(signal);
}

/** Calls for each of them, also after a call that threw. Throws the first error at the end. */
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
