import type { Redis } from 'ioredis';
import { TaskflowError } from '../../errors.js';
import { isAnswer, isUnsent } from './connections.js';
import type { RedisHealth } from './health.js';
import { whenReady, withinTime } from './redis-connection.js';

/** What the error of a call says about its effect. */
export interface Effect {
  /** If it may have happened: the command was sent, and its answer did not arrive. */
  maybe: string;
  /** If it has not happened. */
  none?: string;
}

/** The effect of storing tasks. */
export const storing: Effect = {
  maybe: 'The tasks may have been stored all the same; if they have an idempotencyKey, it is safe to enqueue them again.',
  none: 'Nothing was stored.',
};

/** The effect of a command of a user. */
export const commanding: Effect = { maybe: 'The command may have been carried out all the same.' };

/**
 * Asks Redis within the time that one call may take. A call that has an effect calls `sending` just before it sends the first
 * command of that effect; this throws if the caller was given an error meanwhile, so that nothing happens behind its back.
 */
export type Ask = <T>(call: (sending: () => void) => Promise<T>, effect?: Effect) => Promise<T>;

/** Milliseconds that Redis is waited for. */
const patience = { connect: 700, answer: 5000 };

/** The calls of the users of an engine to Redis. */
export class RedisCalls {
  readonly #redis: Redis;
  readonly #health: RedisHealth;
  readonly #open = new Set<Promise<unknown>>();
  #closed = false;

  constructor(redis: Redis, health: RedisHealth) {
    this.#redis = redis;
    this.#health = health;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Refuses calls from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Waits for the calls under way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#open);
  }

  /** Calls. A failure of Redis is no fault of the caller: it rejects with ENGINE_UNAVAILABLE. */
  readonly ask: Ask = async (call, effect) => {
    if (this.#closed) throw hasStopped();
    let [isSent, isOver] = [false, false];
    const sending = (): void => {
      if (isOver) throw hasStopped();
      isSent = true;
    };
    try {
      await whenReady(this.#redis, patience.connect);
      const answer = withinTime(call(sending), patience.answer);
      this.#open.add(answer);
      return await answer.finally(() => this.#open.delete(answer));
    } catch (error) {
      isOver = true;
      const maybeDone = isSent && !isAnswer(error) && !isUnsent(error);
      throw this.#health.unavailable(error, { maybeDone, effect: maybeDone ? effect?.maybe : effect?.none });
    }
  };
}

/** The error of a call after the stop. */
export function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped', {
    detail: 'This process is stopping. Try again in a moment.',
  });
}
