/** Limits for attempts that wait. Each waiting attempt keeps a connection open. */
export interface WaitingLimits {
  /** Maximum number of milliseconds that an attempt waits. */
  timeout: number;
  /** Maximum number of attempts in one line. */
  perLine: number;
  /** Maximum number of attempts in all lines. */
  total: number;
}

/**
 * Milliseconds after which the first attempt in line retries without a signal, because attempts of
 * other processes send none.
 */
const retryAfter = 100;

interface Line {
  /** Callbacks of the attempts that wait to reach the front, in order. */
  queue: (() => void)[];
  /** Wakes the attempt at the front. */
  wake: () => void;
  /** Whether a signal arrived that the attempt at the front has not handled yet. */
  signalled: boolean;
  /** Number of attempts in the line, including the one at the front. */
  length: number;
}

/**
 * Attempts that were refused wait in lines while other attempts are in progress, because a success
 * frees capacity. Only the first attempt of a line retries: after each signal, and every 100 ms
 * because other processes send no signal.
 */
export class WaitingLines {
  readonly #lines = new Map<string, Line>();
  readonly #limits: WaitingLimits;
  #total = 0;

  constructor(limits: WaitingLimits) {
    this.#limits = limits;
  }

  /** Wakes the first attempt in the line of `key`. */
  signal(key: string): void {
    const line = this.#lines.get(key);
    if (!line) return;
    line.signalled = true;
    line.wake();
  }

  /**
   * Waits in the line of `key` and calls `again` until `isFinal` accepts its answer or the time is
   * over. Resolves to the last answer. Resolves to `refused` if the line is full or `again` was
   * never called.
   */
  async wait<T>(
    key: string,
    refused: T,
    again: () => Promise<T>,
    isFinal: (answer: T) => boolean,
  ): Promise<T> {
    const line = this.#lines.get(key) ?? { queue: [], wake: () => {}, signalled: false, length: 0 };
    if (line.length >= this.#limits.perLine || this.#total >= this.#limits.total) return refused;
    this.#lines.set(key, line);
    line.length += 1;
    this.#total += 1;
    let over = false;
    let expire = (): void => {};
    const expired = new Promise<void>((resolve) => {
      expire = resolve;
    });
    const timer = setTimeout(() => {
      over = true;
      expire();
    }, this.#limits.timeout).unref();
    let mine = (): void => {};
    try {
      if (line.length > 1) {
        const front = new Promise<void>((resolve) => {
          mine = resolve;
        });
        line.queue.push(mine);
        await Promise.race([front, expired]);
      }
      let answer = refused;
      while (!over) {
        line.signalled = false;
        answer = await again();
        if (isFinal(answer)) break;
        await nextSignal(line, expired);
      }
      return answer;
    } finally {
      clearTimeout(timer);
      this.#leave(key, line, mine);
    }
  }

  #leave(key: string, line: Line, mine: () => void): void {
    this.#total -= 1;
    line.length -= 1;
    const place = line.queue.indexOf(mine);
    if (place >= 0) line.queue.splice(place, 1);
    else line.queue.shift()?.();
    if (line.length === 0) this.#lines.delete(key);
  }
}

async function nextSignal(line: Line, expired: Promise<void>): Promise<void> {
  if (line.signalled) return;
  let timer: NodeJS.Timeout | undefined;
  const signal = new Promise<void>((resolve) => {
    line.wake = resolve;
    timer = setTimeout(resolve, retryAfter).unref();
  });
  await Promise.race([signal, expired]);
  clearTimeout(timer);
}
