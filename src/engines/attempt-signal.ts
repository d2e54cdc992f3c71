import { AsyncResource } from 'node:async_hooks';
import { catchListenerErrors } from '../caught-listeners.js';

/** The abort signal of one attempt. */
export class AttemptSignal {
  #signal: AbortSignal | undefined;
  #abort: ((reason: unknown) => void) | undefined;
  #reason: { value: unknown } | undefined;
  readonly #attempt: { listenerFailed(err: unknown): void };

  /** @param attempt Receives the errors that listeners of the signal throw. */
  constructor(attempt: { listenerFailed(err: unknown): void }) {
    this.#attempt = attempt;
  }

  /**
   * Created when the handler reads it, because a signal for every attempt would cost more than the
   * rest of the attempt. Its listeners run in the async context in which the handler read it, not
   * in that of the request that cancels the task.
   */
  get signal(): AbortSignal {
    return this.#signal ?? this.#create();
  }

  #create(): AbortSignal {
    const controller = new AbortController();
    this.#signal = catchListenerErrors(controller.signal, (err) =>
      this.#attempt.listenerFailed(err),
    );
    this.#abort = AsyncResource.bind((reason: unknown) => controller.abort(reason));
    if (this.#reason) this.#abort(this.#reason.value);
    return controller.signal;
  }

  /** Aborts the signal, even if it is created later. Only the first reason counts. Never throws. */
  abort(reason: unknown): void {
    this.#reason ??= { value: reason };
    this.#abort?.(this.#reason.value);
  }
}
