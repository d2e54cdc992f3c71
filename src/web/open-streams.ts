import type { ServerResponse } from 'node:http';
import type { Server } from 'node:net';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';

/** Milliseconds between two checks whether the servers still listen. */
const checkInterval = 500;

/** The open streams of a middleware. It counts them by user and in total, and ends them when their
 * server closes. */
export class OpenStreams {
  readonly #perUser: number;
  readonly #total: number;
  readonly #byUser = new Map<string, number>();
  readonly #open = new Set<ServerResponse>();
  #timer: NodeJS.Timeout | undefined;

  constructor(perUser: number, total: number) {
    this.#perUser = perUser;
    this.#total = total;
  }

  /**
   * @throws TaskflowError TOO_MANY_STREAMS if the user, or the middleware, has too many streams.
   */
  check(user: string): void {
    if (this.#open.size < this.#total && (this.#byUser.get(user) ?? 0) < this.#perUser) return;
    throw new TaskflowError(
      'TOO_MANY_STREAMS',
      'Too many streams are open; close one, or try again later.',
      {
        headers: { 'Retry-After': '10' },
      },
    );
  }

  add(user: string, res: ServerResponse): void {
    this.#open.add(res);
    this.#byUser.set(user, (this.#byUser.get(user) ?? 0) + 1);
    this.#timer ??= runInEmptyContext(() =>
      setInterval(() => this.#endWhereClosing(), checkInterval).unref(),
    );
    res.once('close', () => {
      this.#open.delete(res);
      const left = (this.#byUser.get(user) ?? 1) - 1;
      if (left > 0) this.#byUser.set(user, left);
      else this.#byUser.delete(user);
      if (this.#open.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
  }

  /** `server.close()` waits for every answer to end, and a stream does not end by itself. */
  #endWhereClosing(): void {
    for (const res of this.#open) {
      const { socket } = res;
      const { server } = (socket ?? {}) as { server?: Server };
      if (!server || server.listening) continue;
      // The server would also wait for a connection that is kept alive. A connection of HTTP/2 is
      // shared and closes by itself.
      res.end(() => res.req.httpVersionMajor < 2 && socket?.destroySoon());
    }
  }
}
