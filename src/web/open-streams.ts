import type { ServerResponse } from 'node:http';
import type { Server } from 'node:net';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';

/** Milliseconds between two looks whether the servers still listen. */
const lookInterval = 500;

/** The open streams of a middleware: counted by user and in all, and ended when their server is being closed. */
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

  /** @throws TaskflowError TOO_MANY_STREAMS where the user, or everybody together, has too many open. */
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
      setInterval(() => this.#endWhereClosing(), lookInterval).unref(),
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
      // A connection that is kept for another request would be waited for as well; one of HTTP/2 is shared, and closes by itself.
      res.end(() => res.req.httpVersionMajor < 2 && socket?.destroySoon());
    }
  }
}
