import { TaskflowError } from '../../errors.js';
import { LogLimit } from '../log-limit.js';

/*
 * Anyone can send messages to the route of a provider. Each costs a check of its signature, and
 * while the provider or the store is slow, it waits for them. So few messages are checked at the
 * same time, and the others wait. Networks take turns, and if too many messages wait, the network
 * with the most waiting ones loses its last one. A flood from one network does not delay the
 * messages of another.
 */

/** Maximum number of messages that are checked at the same time. */
const maxRunning = 16;
/** Maximum number of messages that wait. Each keeps up to 16 KiB and a connection. */
const maxWaiting = 1000;
/** Milliseconds that a message waits. */
const timeout = 5000;
/** Seconds after which a provider should send a message again that could not be checked. */
export const retryAfter = 5;

interface Waiting {
  start(): void;
  refuse(): void;
}

/**
 * Called for refused messages: at most once a minute, with the number of refusals since the last
 * call.
 */
type OnRefused = (refused: number) => void;

/** The messages of a provider that are being checked or wait for it. */
export class MessageQueue {
  /** The waiting messages of each network. The first network is the next. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #lines = new LogLimit();
  #length = 0;
  #running = 0;
  #refused = 0;

  /**
   * Runs a check when it is the turn of its network.
   *
   * @throws TaskflowError with status 503 if too many messages wait, or if the turn does not come
   * within 5 seconds.
   */
  async run<T>(network: string, check: () => Promise<T>, onRefused: OnRefused): Promise<T> {
    if (this.#running < maxRunning) this.#running += 1;
    else if (!(await this.#turn(network))) throw this.#refusal(onRefused);
    try {
      return await check();
    } finally {
      this.#next();
    }
  }

  /** Resolves to `true` when a check may start, and to `false` if it must not. */
  #turn(network: string): Promise<boolean> {
    if (this.#length >= maxWaiting && !this.#makeRoom(network)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (mayStart: boolean): void => {
        clearTimeout(timer);
        this.#length -= 1;
        resolve(mayStart);
      };
      const entry: Waiting = { start: () => settle(true), refuse: () => settle(false) };
      const timer = setTimeout(() => {
        this.#remove(network, entry);
        entry.refuse();
      }, timeout);
      this.#waiting.set(network, [...(this.#waiting.get(network) ?? []), entry]);
      this.#length += 1;
    });
  }

  /** Refuses a message of the network with the most, unless it is this network. */
  #makeRoom(network: string): boolean {
    const own = this.#waiting.get(network)?.length ?? 0;
    let longest: [string, Waiting[]] | undefined;
    for (const each of this.#waiting)
      if (each[1].length > (longest?.[1].length ?? own + 1)) longest = each;
    const last = longest?.[1].at(-1);
    if (!longest || !last) return false;
    this.#remove(longest[0], last);
    last.refuse();
    return true;
  }

  #remove(network: string, entry: Waiting): void {
    const left = (this.#waiting.get(network) ?? []).filter((each) => each !== entry);
    if (left.length > 0) this.#waiting.set(network, left);
    else this.#waiting.delete(network);
  }

  /** Passes the place of a check that has ended to the next network. */
  #next(): void {
    const [network, [entry, ...others] = []] = this.#waiting.entries().next().value ?? [];
    if (network === undefined || !entry) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(network);
    if (others.length > 0) this.#waiting.set(network, others);
    entry.start();
  }

  #refusal(onRefused: OnRefused): TaskflowError {
    this.#refused += 1;
    if (this.#lines.isDue('refused')) {
      onRefused(this.#refused);
      this.#refused = 0;
    }
    return new TaskflowError('THROTTLED', 'too many messages of providers are being checked', {
      status: 503,
      headers: { 'Retry-After': String(retryAfter) },
      detail: `Too many messages are being checked. Send it again in ${retryAfter} seconds.`,
      reported: true,
    });
  }
}
